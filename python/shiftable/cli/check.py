"""`shiftable check`: a gate for continuous integration."""

from pathlib import Path

import click

from shiftable import store, table
from shiftable.check import Limit, verdicts

_HEADLINE = {
    "min_consistency": "consistency",
    "min_accuracy": "accuracy",
    "min_worst_case": "worst_case",
    "max_top1_change": "top1_change",
    "max_mac": "mac",
}


@click.command("check")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--min-consistency", type=float, metavar="SHARE", help="The least consistency.")
@click.option("--min-accuracy", type=float, metavar="SHARE", help="The least accuracy.")
@click.option(
    "--min-worst-case", type=float, metavar="SHARE", help="The least worst-case accuracy."
)
@click.option("--max-top1-change", type=float, metavar="SHARE", help="The most P(top-1 change).")
@click.option("--max-mac", type=float, metavar="VALUE", help="The most mean absolute change.")
@click.option(
    "--min", "least", multiple=True, metavar="METRIC=VALUE", help="The least of any metric."
)
@click.option(
    "--max", "most", multiple=True, metavar="METRIC=VALUE", help="The most of any metric."
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="BASELINE",
    help="Another run of the same shifts and images: the limits are of the difference, RUN minus BASELINE.",
)
@click.option(
    "--sweep", "names", multiple=True, help="Only this sweep of the run; may be repeated."
)
@click.option(
    "--github", is_flag=True, help="Write failures as annotations of GitHub Actions, too."
)
@click.pass_context
def check_command(
    context: click.Context,
    /,
    run: Path,
    least: tuple[str, ...],
    most: tuple[str, ...],
    against: Path | None,
    names: tuple[str, ...],
    github: bool,
    **headline: float | None,
) -> None:
    """Holds a stored run to limits: exit code 1 where one is not kept.

    It is the bound of the metric's 95 % interval that has to keep the limit, so that luck does not
    pass: the lower bound for a least, the upper one for a most. Shares are from 0 to 1.
    """
    limits = [
        Limit(metric, **{"least" if option.startswith("min") else "most": value})
        for option, metric in _HEADLINE.items()
        if (value := headline[option]) is not None
    ]
    limits += [Limit(metric, least=value) for metric, value in map(_metric, least)]
    limits += [Limit(metric, most=value) for metric, value in map(_metric, most)]
    if not limits:
        raise ValueError("expected a limit, got none; give for instance --max-top1-change 0.05")
    stored = store.load(run)
    baseline = None if against is None else store.load(against)
    chosen = names or tuple(stored.sweeps)
    if unknown := [name for name in chosen if name not in stored.sweeps]:
        raise ValueError(f"no sweep '{unknown[0]}' in {run}; it has {', '.join(stored.sweeps)}")
    if baseline is not None:
        for name in chosen:
            if reason := table.unlike(stored, baseline, name):
                raise ValueError(f"{run} and {against} cannot be compared: {reason}")
    found = verdicts(
        {name: stored.sweeps[name].outcomes() for name in chosen},
        limits,
        None if baseline is None else {name: baseline.sweeps[name].outcomes() for name in chosen},
    )
    for verdict in found:
        click.echo(f"{'ok    ' if verdict.kept else 'FAILED'}  {verdict}")
        if github and not verdict.kept:
            told = str(verdict).replace("%", "%25")
            click.echo(f"::error title=shiftable {verdict.limit.metric}::{told}")
    context.exit(0 if all(verdict.kept for verdict in found) else 1)


def _metric(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise ValueError(f"expected METRIC=VALUE, got '{text}'") from error
