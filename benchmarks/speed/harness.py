"""Times candidates side by side: equal results first, then rounds in which each takes its turn."""

import gc
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.benchmark import Timer

Candidate = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """One line of the results.

    Args:
        op: the operator.
        name: what is done, e.g. `taps 3, forward`.
        shape: of the input.
        dtype: of the input.
        layout: `nchw` or `channels_last`.
        inputs: several of them, so that the cache is not what is measured.
        bytes_read: that any implementation must read; 0 where the input is small beside the result.
        bytes_written: that any implementation must write; 0 where memory is not what limits.
        candidates: ours first, under the name `shiftable`.
        tolerance: within which all must agree; None where they do not compute the same.
    """

    op: str
    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    layout: str
    inputs: list[Tensor]
    bytes_read: int
    bytes_written: int
    candidates: Mapping[str, Candidate]
    tolerance: float | None = 1e-5


@dataclass
class Line:
    """What was measured for one case; times in milliseconds."""

    op: str
    name: str
    shape: list[int]
    dtype: str
    layout: str
    threads: int
    milliseconds: dict[str, float]
    spread: dict[str, float]
    gigabytes_per_second: float | None  # and below: None where memory is not what limits
    floor_milliseconds: float | None
    share_of_floor: float | None
    ratio: dict[str, float] = field(default_factory=dict)
    unequal: list[str] = field(default_factory=list)


def _time(function: Candidate, image: Tensor, calls: int) -> float:
    threads = torch.get_num_threads()  # a Timer's own default is one
    names = {"function": function, "image": image}
    timer = Timer("function(image)", globals=names, num_threads=threads)
    return timer.timeit(calls).mean * 1e3


def _calls(function: Candidate, image: Tensor) -> int:
    """How often a candidate is called in a turn: one short call says more of the clock than of it."""
    turn = 5.0  # milliseconds
    return max(1, round(turn / _time(function, image, 1)))


def floor_of(case: Case) -> Candidate:
    """The least that can be: a copy of as many bytes, or filling them where little is read."""
    count = (case.bytes_read + case.bytes_written) // (2 if case.bytes_read else 1)
    device = case.inputs[0].device
    target = torch.ones(count, dtype=torch.uint8, device=device)
    if not case.bytes_read:  # a GPU sets memory to zero without a kernel of torch's
        return lambda _: target.fill_(7) if device.type == "cpu" else target.zero_()
    source = torch.randint(1, 255, (count,), dtype=torch.uint8, device=device)
    return lambda _: target.copy_(source)


def differs(got: Tensor, want: Tensor, tolerance: float) -> bool:
    """Whether results are further apart than `tolerance` anywhere; a NaN is."""
    if got.shape != want.shape:
        return True
    return not bool(((got.detach().double() - want).abs() <= tolerance).all())


def measure(case: Case, rounds: int) -> Line:
    """Compares the candidates' results, warms up, then times all of them in every round."""
    # Each case's compiled candidates are compiled for it: past a limit they would run uncompiled.
    torch._dynamo.reset()
    candidates = dict(case.candidates)
    if case.bytes_written:
        candidates["floor"] = floor_of(case)
    ours = next(iter(case.candidates))
    want = case.candidates[ours](case.inputs[0]).detach().double()
    unequal = []
    for name, candidate in case.candidates.items():
        got = candidate(case.inputs[0])
        if case.tolerance is not None and differs(got, want, case.tolerance):
            unequal.append(name)
    del want, got
    calls = {name: _calls(candidate, case.inputs[0]) for name, candidate in candidates.items()}
    times: dict[str, list[float]] = {name: [] for name in candidates}
    gc.disable()
    try:
        for turn in range(rounds + 2):  # the first two warm up
            image = case.inputs[turn % len(case.inputs)]
            for name, candidate in candidates.items():
                spent = _time(candidate, image, calls[name])
                if turn >= 2:
                    times[name].append(spent)
    finally:
        gc.enable()
    median = {name: statistics.median(values) for name, values in times.items()}
    spread = {
        name: statistics.quantiles(values, n=4)[2] - statistics.quantiles(values, n=4)[0]
        for name, values in times.items()
    }
    floor = median.pop("floor", None)
    moved = case.bytes_read + case.bytes_written
    return Line(
        op=case.op,
        name=case.name,
        shape=list(case.shape),
        dtype=str(case.dtype).removeprefix("torch."),
        layout=case.layout,
        threads=torch.get_num_threads(),
        milliseconds=median,
        spread=spread,
        gigabytes_per_second=None if floor is None else moved / median[ours] / 1e6,
        floor_milliseconds=floor,
        share_of_floor=None if floor is None else floor / median[ours],
        ratio={name: value / median[ours] for name, value in median.items() if name != ours},
        unequal=unequal,
    )


def milliseconds(value: float) -> str:
    """A time for people."""
    return f"{value:.3g} ms" if value >= 0.1 else f"{value * 1e3:.3g} us"


def text(line: Line) -> str:
    """One line for people."""
    peers = "  ".join(f"{name} {value:.2f}x" for name, value in line.ratio.items())
    warning = f"  UNEQUAL: {', '.join(line.unequal)}" if line.unequal else ""
    memory = (
        ""
        if line.share_of_floor is None
        else f", {line.gigabytes_per_second:.1f} GB/s, {line.share_of_floor:.2f} of the floor"
    )
    return (
        f"{line.op} {line.name} {'x'.join(map(str, line.shape))} {line.dtype} {line.layout}: "
        f"{milliseconds(next(iter(line.milliseconds.values())))}{memory} | {peers}{warning}"
    )


def machine(device: str = "cpu") -> dict[str, Any]:
    """What the numbers were measured on."""
    names = ("shiftable", "torch", "numpy", "antialiased-cnns", "kornia", "timm")
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    root = Path(__file__).parent.parent.parent
    commit = subprocess.run(
        ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    from shiftable import _C

    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    return {
        **({} if gpu is None else {"gpu": gpu, "torch_cuda": torch.version.cuda}),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "kernels": _C.cpu_variant(),
        "build": _C.build_info(),
        "python": platform.python_version(),
        "versions": versions,
        "commit": commit,
        "load": os.getloadavg()[0],
    }


def as_json(lines: list[Line], device: str = "cpu", **about: Any) -> dict[str, Any]:
    """The results with the machine, ready for JSON."""
    return {"machine": machine(device), **about, "lines": [asdict(line) for line in lines]}


def key(line: Any) -> tuple[Any, ...]:
    """What makes a line another one: of a `Line` or a `Case` as a dictionary."""
    dtype = str(line["dtype"]).removeprefix("torch.")
    return line["op"], line["name"], tuple(line["shape"]), dtype, line["layout"]
