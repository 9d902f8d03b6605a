"""`python -m benchmarks.speed`: prints a line a case, and writes JSON where it is asked to."""

import argparse
import json
import time
from functools import partial
from pathlib import Path

import shiftable
import torch
from shiftable import _C

from benchmarks.speed import (
    blur_downsample,
    gpu,
    gpu_networks,
    max_blur_downsample,
    networks,
    overhead,
    polyphase,
    take_windows,
)
from benchmarks.speed.harness import Line, as_json, key, measure, text

OPS = {
    "blur_downsample": blur_downsample.cases,
    "max_blur_downsample": max_blur_downsample.cases,
    "polyphase_downsample": polyphase.cases,
    "take_windows": take_windows.cases,
    "overhead": overhead.cases,
    "networks": networks.cases,
}

GPU_OPS = {
    "blur_downsample": gpu.blur_cases,
    "max_blur_downsample": gpu.max_cases,
    "take_windows": gpu.window_cases,
    "networks": gpu_networks.cases,
}


def parsed() -> argparse.Namespace:
    """Returns the arguments."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument(
        "--op", choices=OPS, action="append", help="may be repeated; all by default"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--minutes", type=float, help="begin no case after so many")
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
    if arguments.device == "cuda":
        _check_gpu(parser, arguments)
    arguments.allocator = "tuned" if arguments.tune_allocator else "default"
    if arguments.json is not None and arguments.json.exists():
        stored = json.loads(arguments.json.read_text())
        there = stored["allocator"], stored["machine"]["threads"], stored["machine"].get("gpu")
        name = torch.cuda.get_device_name() if arguments.device == "cuda" else None
        if there != (arguments.allocator, arguments.threads, name):
            parser.error(
                f"{arguments.json} was measured with allocator and threads and GPU {there}: "
                "name another"
            )
    return arguments


def _check_gpu(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU here")
    if not _C.build_info()["cuda"]:
        parser.error("--device cuda: shiftable was built without CUDA; see docs/cuda.md")
    if any(op not in GPU_OPS for op in arguments.op or ()):
        parser.error(f"--device cuda: --op is one of {', '.join(GPU_OPS)}")


def _operators(device: str) -> dict:
    """What yields the cases of each operator, given `quick`."""
    if device == "cpu":
        return OPS
    place = torch.device("cuda")
    return {name: partial(cases, device=place) for name, cases in GPU_OPS.items()}


def _write(path: Path, lines: list[Line], arguments: argparse.Namespace) -> None:
    """Replaces the file at once: a run may be stopped at any time."""
    result = as_json(lines, arguments.device, allocator=arguments.allocator)
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(result, indent=1) + "\n")
    new.replace(path)


def main() -> None:
    """Parses, measures, prints; writes after every line, so that a run can be taken up again."""
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    before = {key(line): line["share_of_floor"] for line in _lines(arguments.compare)}
    lines = [Line(**line) for line in _lines(arguments.json)]
    known = {key(vars(line)) for line in lines}
    words = arguments.only.split()
    operators = _operators(arguments.device)
    begun = time.monotonic()
    for op in arguments.op or operators:
        for case in operators[op](arguments.quick):
            if arguments.minutes and time.monotonic() - begun > arguments.minutes * 60:
                return
            what = " ".join(map(str, key(vars(case))))
            if key(vars(case)) in known or not all(word in what for word in words):
                continue
            line = measure(case, arguments.rounds)
            lines.append(line)
            old = before.get(key(vars(line)))
            print(text(line) + (f"  [was {old:.2f} of the floor]" if old else ""), flush=True)
            if arguments.json is not None:
                _write(arguments.json, lines, arguments)


def _lines(path: Path | None) -> list[dict]:
    return [] if path is None or not path.exists() else json.loads(path.read_text())["lines"]


main()
