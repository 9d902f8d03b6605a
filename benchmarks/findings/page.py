"""Writes docs/findings.md from the numbers that are stored: each claim of the source, and whether it held.

python -m benchmarks.findings.page [--results FOLDER] [--out PATH]
"""

import argparse
import json
from pathlib import Path

from benchmarks.findings.claims import CLAIMS, Found, table

RESULTS = Path("benchmarks/results/findings")
PAGE = Path("docs/findings.md")


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, default=PAGE)
    given = parser.parse_args()
    given.out.write_text(page(read(given.results)))


def read(folder: Path) -> Found:
    """The stored results."""
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def page(found: Found) -> str:
    """The page."""
    lines = [
        "# Findings",
        "",
        "What Azulay & Weiss ([Why do deep convolutional networks generalize so poorly to small image transformations?](https://jmlr.org/papers/v20/19-519.html),",
        "JMLR 2019) found, or what follows from it: each claim in a sentence, the command that tests it, the numbers found here, and whether",
        "it held. Here are two small networks with ImageNet weights, photographs that install as packages, and networks trained on",
        "Fashion-MNIST: larger ones may differ. In brackets 95 % intervals over images. This page is written from the stored numbers by",
        "`python -m benchmarks.findings.page`, its verdicts too.",
        "",
        *table(
            ["claim", "held?"],
            [[f"[{one.title}](#{_anchor(one.title)})", one.verdict(found)] for one in CLAIMS],
        ),
    ]
    for one in CLAIMS:
        lines += [
            "",
            f"## {one.title}",
            "",
            f"**Claim.** {one.claim}",
            "",
            *_command(one.commands),
            "",
        ]
        if one.figure is not None:
            lines += [f"![{one.figure[1]}]({one.figure[0]})", ""]
        lines += [*one.numbers(found), "", f"**{one.verdict(found)}.**"]
        if one.page is not None:
            lines[-1] += f" More in [{one.page}]({one.page})."
    return "\n".join([*lines, ""])


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-").replace(",", "")


def _command(commands: str) -> list[str]:
    if commands.startswith("the same"):
        return [f"By {commands}."]
    return ["```sh", *commands.splitlines(), "```"]


if __name__ == "__main__":
    main()
