"""`python -m benchmarks.speed.page`: renders benchmarks/results/*.json to docs/speed.md and docs/speed.svg."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.speed import evaluate
from benchmarks.speed.harness import milliseconds

ROOT = Path(__file__).parent.parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SWEEPS = RESULTS / "sweeps"
# The run that the figure shows: what a call costs once memory is there.
FIGURE = "cpu-2-threads-tuned.json"
HEADLINE = (32, 64, 112, 112)
# Candidates that are not others' work, or compute something else: shown, but no ratio to be won.
OWN = (
    "shiftable.nn.BlurPool2d", "torch.ops.shiftable", "shiftable, step by step",
)  # fmt: skip
NEAR = "another filter"

INTRODUCTION = """# Speed

<!-- Rendered by `python -m benchmarks.speed.page` from benchmarks/results; do not edit. -->

How it is measured, and how to repeat it: [benchmarks/README.md](../benchmarks/README.md). A share of 1.00 is as fast as
the memory: a copy of as many bytes as must be read and written, or a fill where little is read, timed in the same rounds.
A ratio is how many times as long the other took: above 1 it was slower than `shiftable`. Medians.

"Default allocator" is what users see who change nothing: on Linux every result above 32 MiB is then new memory, and its
page faults cost more than most arithmetic. "Tuned" is after `shiftable.tune_allocator()`, which the command line calls.

![Share of the memory's speed, and times as long as others took](speed.svg)
"""

NO_GPU = """## On a GPU

Nothing has been measured on a GPU yet, so nothing is claimed. This measures:

```sh
python -m benchmarks.speed --device cuda --quick --json benchmarks/results/cuda-NAME.json
```
"""


def results() -> dict[str, dict[str, Any]]:
    """The committed results by file name."""
    return {path.name: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}


def others(line: dict[str, Any]) -> dict[str, float]:
    """The ratios to others' work that computes the same."""
    if NEAR in line["name"] or line["op"] == "networks":
        return {}
    return {
        name: ratio
        for name, ratio in line["ratio"].items()
        if name not in OWN and name not in line["unequal"]
    }


def losses(stored: dict[str, Any]) -> Iterator[str]:
    """A table row for every case in which another was faster."""
    for line in stored["lines"]:
        ratios = line["ratio"] if NEAR in line["name"] else others(line)
        for name, ratio in ratios.items():
            if ratio < 0.995:
                yield f"| {_case(line)} | {name} | {ratio:.2f} |"


def page(stored: dict[str, dict[str, Any]]) -> str:
    """The whole page as Markdown."""
    parts = [INTRODUCTION]
    for name, run in stored.items():
        parts.append(_section(name, run))
    parts += [
        evaluate.section(json.loads(path.read_text())) for path in sorted(SWEEPS.glob("*.json"))
    ]
    if not any("gpu" in run["machine"] for run in stored.values()):
        parts.append(NO_GPU)
    return "\n".join(parts)


def _case(line: dict[str, Any]) -> str:
    shape = "x".join(map(str, line["shape"]))
    return f"{line['op']} {line['name']}, {shape}, {line['dtype']}, {line['layout']}"


def _section(name: str, run: dict[str, Any]) -> str:
    machine = run["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if v)
    title = f"{machine['threads']} threads, {run['allocator']} allocator"
    place = f"{machine['cpu']}, {machine['cores']} cores, kernels for {machine['kernels']}"
    if "gpu" in machine:
        title, place = machine["gpu"], f"CUDA {machine['torch_cuda']}, beside {machine['cpu']}"
    lines = [f"## {title}", "", f"{place}; {versions}; `{name}`.", ""]
    lost = list(losses(run))
    lines += ["### Where another is faster", ""]
    if lost:
        lines += ["| case | by | ratio |", "|---|---|---|", *lost, ""]
    else:
        lines += ["In none of the cases below.", ""]
    for op in dict.fromkeys(line["op"] for line in run["lines"]):
        lines += [f"### {op}", "", "| case | time | share | ratios |", "|---|---|---|---|"]
        lines += [_row(line) for line in run["lines"] if line["op"] == op]
        lines.append("")
    return "\n".join(lines)


def _row(line: dict[str, Any]) -> str:
    ratios = ", ".join(
        f"{name} {ratio:.2f}" + (" (unequal)" if name in line["unequal"] else "")
        for name, ratio in line["ratio"].items()
    )
    share = "" if line["share_of_floor"] is None else f"{line['share_of_floor']:.2f}"
    case = _case(line).removeprefix(line["op"] + " ")
    return f"| {case} | {milliseconds(line['milliseconds']['shiftable'])} | {share} | {ratios} |"


def _label(line: dict[str, Any]) -> str:
    """A short name for the figure; the shape where it is not the headline's."""
    op = line["op"].removesuffix("_downsample").replace("max_blur", "max + blur")
    shape = tuple(line["shape"])
    usual = shape == HEADLINE or line["op"] == "take_windows"
    size = "" if usual else f" {'x'.join(map(str, shape))}"
    dtype = "" if line["dtype"] == "float32" else f" {line['dtype']}"
    return f"{op} {line['name']}{size}{dtype} {line['layout']}".replace(
        "take_windows ", "windows: "
    )


def _is_drawn(line: dict[str, Any]) -> bool:
    """Headline cases that others compute too, and every case in which another is faster."""
    ratios = others(line)
    if line["share_of_floor"] is None or not ratios:
        return False
    headline = tuple(line["shape"]) == HEADLINE and line["dtype"] == "float32"
    return headline or line["op"] == "take_windows" or min(ratios.values()) < 0.995


def figure(run: dict[str, Any], path: Path) -> None:
    """Draws the share of the floor and the ratio to the fastest other."""
    import matplotlib as mpl
    from matplotlib import pyplot

    mpl.rcParams["svg.hashsalt"] = "shiftable"
    chosen = [line for line in run["lines"] if _is_drawn(line)]
    names = [_label(line) for line in chosen]
    height = 0.2 * len(chosen) + 0.8
    drawing, (left, right) = pyplot.subplots(1, 2, figsize=(11, height), sharey=True)
    rows = range(len(chosen))
    left.barh(rows, [line["share_of_floor"] for line in chosen], color="#4c78a8", height=0.7)
    left.axvline(1, color="black", linewidth=0.8)
    left.set_xlabel("share of the memory's speed", fontsize=8)
    left.set_yticks(rows, names, fontsize=7)
    left.set_ylim(len(chosen) - 0.4, -0.6)
    for row, line in zip(rows, chosen, strict=True):
        ratios = others(line)
        if ratios:
            fastest = min(ratios, key=lambda name: ratios[name])
            ratio = ratios[fastest]
            colour = "#54a24b" if ratio >= 1 else "#e45756"
            right.barh(row, ratio - 1, left=1, color=colour, height=0.7)
            right.annotate(
                f" {ratio:.2f}x {fastest}", (max(ratio, 1), row), fontsize=6.5, va="center"
            )
    right.axvline(1, color="black", linewidth=0.8)
    right.set_xscale("log")
    right.set_xlim(0.5, 250)
    right.set_xticks([0.5, 1, 2, 5, 10, 20, 50], [".5", "1", "2", "5", "10", "20", "50"])
    right.set_xlabel(
        "the fastest other: times as long as shiftable (red: it is faster)", fontsize=8
    )
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="x", labelsize=8)
    drawing.tight_layout()
    drawing.savefig(path, metadata={"Date": None}, facecolor="white")
    pyplot.close(drawing)


def main() -> None:
    """Writes the page and its figure."""
    stored = results()
    (ROOT / "docs" / "speed.md").write_text(page(stored))
    if FIGURE in stored:
        figure(stored[FIGURE], ROOT / "docs" / "speed.svg")


if __name__ == "__main__":
    main()
