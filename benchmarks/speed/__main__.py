"""`python -m benchmarks.speed`: prints a line a case, and writes JSON where it is asked to."""

import argparse
import json
from pathlib import Path

import shiftable
import torch

from benchmarks.speed import (
    blur_downsample,
    max_blur_downsample,
    networks,
    overhead,
    take_windows,
)
from benchmarks.speed.harness import Line, as_json, key, measure, text

OPS = {
    "blur_downsample": blur_downsample.cases,
    "max_blur_downsample": max_blur_downsample.cases,
    "take_windows": take_windows.cases,
    "overhead": overhead.cases,
    "networks": networks.cases,
}


def parsed() -> argparse.Namespace:
    """Returns the arguments."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument(
        "--op", choices=OPS, action="append", help="may be repeated; all by default"
    )
    parser.add_argument("--quick", action="store_true", help="headline cases only")
    parser.add_argument("--only", default="", help="cases whose line holds these words")
    parser.add_argument("--rounds", type=int, default=11, help="timed turns of each candidate")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--tune-allocator", action="store_true", help="see shiftable.tune_allocator"
    )
    parser.add_argument(
        "--json", type=Path, help="where results go; cases that are there already are left out"
    )
    parser.add_argument("--compare", type=Path, help="older results to compare with")
    arguments = parser.parse_args()
    reason = shiftable.tune_allocator() if arguments.tune_allocator else None
    if reason is not None:
        parser.error(f"cannot tune the allocator: {reason}")
    arguments.allocator = "tuned" if arguments.tune_allocator else "default"
    if arguments.json is not None and arguments.json.exists():
        stored = json.loads(arguments.json.read_text())
        there = stored["allocator"], stored["machine"]["threads"]
        if there != (arguments.allocator, arguments.threads):
            parser.error(
                f"{arguments.json} was measured with allocator and threads {there}: name another"
            )
    return arguments


def main() -> None:
    """Parses, measures, prints; writes after every line, so that a run can be taken up again."""
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    before = {key(line): line["share_of_floor"] for line in _lines(arguments.compare)}
    lines = [Line(**line) for line in _lines(arguments.json)]
    known = {key(vars(line)) for line in lines}
    words = arguments.only.split()
    for op in arguments.op or OPS:
        for case in OPS[op](arguments.quick):
            what = " ".join(map(str, key(vars(case))))
            if key(vars(case)) in known or not all(word in what for word in words):
                continue
            line = measure(case, arguments.rounds)
            lines.append(line)
            old = before.get(key(vars(line)))
            print(text(line) + (f"  [was {old:.2f} of the floor]" if old else ""), flush=True)
            if arguments.json is not None:
                result = as_json(lines, allocator=arguments.allocator)
                arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def _lines(path: Path | None) -> list[dict]:
    return [] if path is None or not path.exists() else json.loads(path.read_text())["lines"]


main()
