"""`python -m benchmarks.speed`: prints a line a case, and writes JSON where it is asked to."""

import argparse
import json
from pathlib import Path

import shiftable
import torch

from benchmarks.speed import blur_downsample, max_blur_downsample, take_windows
from benchmarks.speed.harness import Line, as_json, measure, text

OPS = {
    "blur_downsample": blur_downsample.cases,
    "max_blur_downsample": max_blur_downsample.cases,
    "take_windows": take_windows.cases,
}


def main() -> None:
    """Parses, measures, prints, writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument(
        "--op", choices=OPS, action="append", help="may be repeated; all by default"
    )
    parser.add_argument("--quick", action="store_true", help="headline cases only")
    parser.add_argument("--rounds", type=int, default=15, help="timed turns of each candidate")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--tune-allocator", action="store_true", help="see shiftable.tune_allocator"
    )
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--compare", type=Path, help="older results to compare with")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    reason = shiftable.tune_allocator() if arguments.tune_allocator else None
    if reason is not None:
        parser.error(f"cannot tune the allocator: {reason}")
    before = _old(arguments.compare)
    lines: list[Line] = []
    for op in arguments.op or OPS:
        for case in OPS[op](arguments.quick):
            line = measure(case, arguments.rounds)
            lines.append(line)
            print(text(line) + _change(line, before), flush=True)
    if arguments.json is not None:
        result = as_json(lines, allocator="tuned" if arguments.tune_allocator else "default")
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def _key(line: dict) -> tuple:
    return line["op"], line["name"], tuple(line["shape"]), line["dtype"], line["layout"]


def _old(path: Path | None) -> dict[tuple, float]:
    if path is None:
        return {}
    return {_key(line): line["share_of_floor"] for line in json.loads(path.read_text())["lines"]}


def _change(line: Line, before: dict[tuple, float]) -> str:
    old = before.get(_key(vars(line)))
    return "" if old is None else f"  [was {old:.2f} of the floor]"


main()
