"""What sweeping costs beside the network's own forward pass, and beside the loop a user would write.

python -m benchmarks.speed.evaluate [--json PATH] [--device cuda]
"""

import argparse
import contextlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from shiftable import answers, choice, engine, grid, images, models, sweep
from shiftable.allocator import tune_allocator
from shiftable.evaluate import evaluate
from shiftable.models import Network
from shiftable.plan import Plan
from shiftable.sweep import Sweep
from torch import Tensor, nn

from benchmarks.speed import gpu_networks
from benchmarks.speed.harness import machine

NETWORKS = ("demo:efficientnet-lite0", "demo:squeezenet")
RANDOM = "resnet50, random weights"


@dataclass
class Bare:
    """A sweep against as many bare forward passes of the same batch, its windows resident.

    `share` is the bare passes' time over the sweep's: 1 where sweeping costs nothing.
    """

    network: str
    precision: str
    batch: int
    windows: int
    bare_per_second: float
    sweep_per_second: float
    share: float
    shares: list[float]
    profile: dict[str, float]


@dataclass
class Loop:
    """A sweep against the loop that a user would write, each in a process of its own."""

    network: str
    protocol: str
    precision: str
    windows: int
    loop_per_second: float
    sweep_per_second: float
    ratio: float
    ratios: list[float]
    other_class: float


@dataclass
class Rows:
    """Many (image, shift) rows through a tiny network, into a run directory."""

    rows: int
    seconds: float
    rows_per_second: float
    outside_forward: float
    peak_megabytes: float
    megabytes_after_a_tenth: float
    profile: dict[str, float]


# -- against the bare forward pass ----------------------------------------------------------------


def bare(name: str, precision: Any, rounds: int, device: str, photos: int, radius: int) -> Bare:
    """Alternates a sweep with bare forward passes."""
    network, shown = _shown(name, photos)
    model = network.model
    if isinstance(model, nn.Module):
        model.to(device)
    plan = Sweep("crop", grid((-radius, radius + 1)), network.size)  # 256: no small last batch
    settings = choice.choose(model, plan, shown[0], photos, precision=precision, device=device)
    count = photos * len(plan.plan)
    forward = engine.Forward(model, settings)
    resident = _resident(network, plan, shown, settings, forward)
    passes = count / settings.batch

    def bare_passes() -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            for turn in range(int(passes)):
                with forward._autocast():
                    logits = forward._model(resident[turn % len(resident)])
        logits.sum().item()  # waits for a GPU
        return (time.perf_counter() - start) / int(passes) * passes

    def swept() -> float:
        start = time.perf_counter()
        evaluate(
            model, shown, plan, shown.labels, scale=network.scale, bias=network.bias,
            batch=settings.batch, precision=precision, memory_format=settings.memory_format,
            device=device,
        )  # fmt: skip
        return time.perf_counter() - start

    times = [(bare_passes(), swept()) for _ in range(rounds + 1)][1:]  # the first warms up
    with profiled() as profile:
        swept()
    alone, whole = (statistics.median(values) for values in zip(*times, strict=True))
    shares = [one / other for one, other in times]
    return Bare(
        name, precision, settings.batch, count, count / alone, count / whole,
        statistics.median(shares), sorted(shares), profile.shares(),
    )  # fmt: skip


def _shown(name: str, count: int) -> tuple[Network, Any]:
    """A network and what it is shown; one of random weights needs no package, nor photographs."""
    if name == RANDOM:
        model = gpu_networks.resnet50(None).eval()
        return Network(name, model, (224, 224), (1 / 255,) * 3, (0.0,) * 3), _Textures(count, 256)
    network = models.load(name)
    return network, _photographs(network, count)


def _photographs(network: Network, count: int) -> images.Photographs:
    files = images.load("demo:photographs", size=images.size_for("crop", network.size))
    assert isinstance(files, images.FilePhotographs)
    return images.FilePhotographs(
        files.files[:count], files.names[:count], files.labels[:count], files.size
    )


def _resident(
    network: Network,
    plan: Sweep,
    shown: Any,
    settings: engine.Settings,
    forward: engine.Forward,
) -> list[Tensor]:
    """A few batches of the sweep's windows, as many as a network would meet in turn."""
    kept = []
    for _, windows in plan.batches(
        shown, settings.batch, scale=network.scale, bias=network.bias, dtype=forward.dtype,
        memory_format=settings.layout, device=settings.device,
    ):  # fmt: skip
        if len(windows) == settings.batch:
            kept.append(windows.clone())
        if len(kept) == 8:
            break
    return kept


class Profile:
    """Seconds by what they were spent on, on the thread that drives the network."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.start = time.perf_counter()
        self.total = 0.0

    def timing(self, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def timed(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                spent = time.perf_counter() - start
                self.seconds[what] = self.seconds.get(what, 0.0) + spent

        return timed

    def shares(self) -> dict[str, float]:
        """Shares of the whole time, and what is left of it."""
        rest = self.total - sum(self.seconds.values())
        return {what: spent / self.total for what, spent in {**self.seconds, "rest": rest}.items()}


@contextlib.contextmanager
def profiled() -> Iterator[Profile]:
    """Times the parts of a sweep. On a GPU these are the times of launching them."""
    profile = Profile()
    parts = (
        ("forward", engine.Forward, "__call__"),
        ("windows", sweep.Prepared, "windows"),
        ("answers", answers.Answers, "add"),
        ("answers", answers.Answers, "finish"),
    )
    before = [(owner, name, getattr(owner, name)) for _, owner, name in parts]
    try:
        for what, owner, name in parts:
            setattr(owner, name, profile.timing(what, getattr(owner, name)))
        yield profile
    finally:
        profile.total = time.perf_counter() - profile.start
        for owner, name, function in before:
            setattr(owner, name, function)


# -- against the loop that a user would write -----------------------------------------------------


def loop(name: str, protocol: str, precision: str, rounds: int, photos: int, radius: int) -> Loop:
    """Runs both in processes of their own, in turn, and compares the classes they found."""
    found: dict[str, list[Any]] = {"loop": [], "sweep": []}
    for _ in range(rounds):
        for role in found:
            done = subprocess.run(
                [
                    sys.executable, "-m", "benchmarks.speed.evaluate", "--role", role,
                    "--network", name, "--protocol", protocol, "--precision", precision,
                    "--photos", str(photos), "--radius", str(radius),
                ],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            found[role].append(json.loads(done.stdout))
    count = found["loop"][0]["windows"]
    seconds = {role: [one["seconds"] for one in each] for role, each in found.items()}
    ratios = [a / b for a, b in zip(seconds["loop"], seconds["sweep"], strict=True)]
    classes = [np.array(found[role][0]["classes"]) for role in ("loop", "sweep")]
    return Loop(
        name, protocol, precision, count, count / statistics.median(seconds["loop"]),
        count / statistics.median(seconds["sweep"]), statistics.median(ratios), sorted(ratios),
        float((classes[0] != classes[1]).mean()),
    )  # fmt: skip


def role(which: str, name: str, protocol: str, precision: Any, photos: int, radius: int) -> None:
    """One of the two, timed without loading the network; prints what it found."""
    network = models.load(name, memory_format=torch.contiguous_format)
    size = images.size_for("crop" if protocol == "crop" else "circular", network.size)
    files = images.load("demo:photographs", size=size)
    assert isinstance(files, images.FilePhotographs)
    shown = images.FilePhotographs(
        files.files[:photos], files.names[:photos], files.labels[:photos], files.size
    )
    plan = grid(radius)
    if which == "sweep":
        tune_allocator()
        start = time.perf_counter()
        planned = Sweep(protocol, plan, network.size)  # type: ignore[arg-type]
        outcome = evaluate(
            network.model, shown, planned, shown.labels, scale=network.scale, bias=network.bias,
            precision=precision,
        )  # fmt: skip
        classes = outcome.predictions
    else:
        start = time.perf_counter()
        classes = _by_hand(network, shown, protocol, plan)
    seconds = time.perf_counter() - start
    print(
        json.dumps(
            {"seconds": seconds, "windows": classes.size, "classes": classes.flatten().tolist()}
        )
    )


@torch.inference_mode()
def _by_hand(network: Network, shown: images.Photographs, protocol: str, plan: Plan) -> Any:
    """NCHW, float32, 64 at a time, a roll or a crop for each shift, then softmax and argmax."""
    assert isinstance(network.model, nn.Module)
    scale = torch.tensor(network.scale).view(3, 1, 1)
    bias = torch.tensor(network.bias).view(3, 1, 1)
    h, w = network.size
    found = []
    for photo in shown:
        image = photo.float() * scale + bias
        top, left = (image.shape[1] - h) // 2, (image.shape[2] - w) // 2
        windows, predicted = [], []
        for dy, dx in plan.shifts_for(0).tolist():
            if protocol == "circular":
                windows.append(torch.roll(image, (dy, dx), (1, 2)))
            else:
                y, x = top - dy, left - dx
                windows.append(image[:, y : y + h, x : x + w])
            if len(windows) == 64:
                predicted.append(network.model(torch.stack(windows)).softmax(1).argmax(1))
                windows = []
        if windows:
            predicted.append(network.model(torch.stack(windows)).softmax(1).argmax(1))
        found.append(torch.cat(predicted).numpy())
    return np.stack(found)


# -- a million rows -------------------------------------------------------------------------------


class Tiny(nn.Module):
    """The least that is a convolutional classifier, of 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.last = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits (B, 10)."""
        logits: Tensor = self.last(self.conv(x).relu().mean((2, 3)))
        return logits


class _Textures:
    """Images made as they are asked for."""

    def __init__(self, count: int, side: int) -> None:
        self.names = [f"{number:05}" for number in range(count)]
        self.labels = [number % 10 for number in range(count)]
        self.size = (side, side)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int) -> Tensor:
        make = torch.Generator().manual_seed(number)
        return torch.randint(0, 256, (3, *self.size), dtype=torch.uint8, generator=make)

    def identity(self) -> str:
        """Which images."""
        return f"textures {len(self)}"

    def image_sizes(self) -> Iterator[tuple[int, int]]:
        """All alike."""
        return iter([self.size] * len(self))


def rows(count: int) -> Rows:
    """Stores a run of `count` rows, 289 an image."""
    from shiftable.run import Job, run

    network = Network("tiny", Tiny().eval(), (24, 24), (1 / 255,) * 3, (0.0,) * 3)
    textures = _Textures(-(-count // 289), 40)
    job = Job("crop", Sweep("crop", grid(8), (24, 24)), textures)
    done = 0
    early = 0.0

    def progress(windows: int, _: int) -> None:
        nonlocal done, early
        done += windows
        if done <= count // 10:
            early = _megabytes()

    with tempfile.TemporaryDirectory() as place, profiled() as profile:
        start = time.perf_counter()
        run(network, [job], Path(place) / "run", progress=progress)
        seconds = time.perf_counter() - start
    shares = profile.shares()
    return Rows(
        done, seconds, done / seconds, 1 - shares["forward"], _megabytes(), early, shares
    )  # fmt: skip


def _megabytes() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def section(run: dict[str, Any]) -> str:
    """The part of docs/speed.md, from the JSON."""
    about = run["machine"]
    lines = [
        "## Sweeps",
        "",
        f"`python -m benchmarks.speed.evaluate` on {about['cores']} cores of {about['cpu']}, torch "
        f"{about['versions']['torch']}, tuned allocator.",
        "",
        "A sweep (photographs decoded, windows cut, answers compared) against as many forward passes alone, of the",
        "same batch, whose windows are there already, in turn; share 1.00 is a sweep that costs nothing (median, and the",
        "middle half of the turns: this machine is noisy). Then where a sweep's time goes, by the thread that drives the",
        "network, whose forward pass is left after the rest:",
        "",
        "| network | precision | forward passes alone | sweep | share | forward | windows | answers | rest |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for line in run["bare"]:
        quarter = len(line["shares"]) // 4
        middle = f"{line['shares'][quarter]:.2f}-{line['shares'][-1 - quarter]:.2f}"
        parts = [
            f"{line['profile'][what]:.1%}" for what in ("forward", "windows", "answers", "rest")
        ]
        lines.append(
            f"| {line['network'].removeprefix('demo:')} | {line['precision']} | "
            f"{line['bare_per_second']:.0f} /s | {line['sweep_per_second']:.0f} /s | "
            f"{line['share']:.3f} ({middle}) | " + " | ".join(parts) + " |"
        )
    lines += [
        "",
        "Against the loop that a user would write: float32 NCHW, 64 at a time, `torch.roll` or a crop for each shift, the",
        "default allocator; each in a process of its own, in turn:",
        "",
        "| network | protocol | precision of the sweep | loop | sweep | ratio | other class |",
        "|---|---|---|---|---|---|---|",
        *[
            f"| {line['network'].removeprefix('demo:')} | {line['protocol']} | {line['precision']} | "
            f"{line['loop_per_second']:.1f} /s | {line['sweep_per_second']:.1f} /s | "
            f"{line['ratio']:.1f} ({line['ratios'][0]:.1f}-{line['ratios'][-1]:.1f}) | "
            f"{line['other_class']:.2%} |"
            for line in run["loop"]
        ],
        "",
    ]
    for line in run["rows"]:
        lines += [
            f"{line['rows']:,} rows of 24x24 windows through a network of one convolution, stored: "
            f"{line['rows_per_second']:,.0f} rows/s, {line['outside_forward']:.0%} of the time outside the forward "
            f"pass; peak memory {line['peak_megabytes']:.0f} MB, after a tenth of the rows "
            f"{line['megabytes_after_a_tenth']:.0f} MB.",
            "",
        ]
    return "\n".join(lines)


# -- all of it ------------------------------------------------------------------------------------


def main() -> None:
    """Measures all of it and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--photos", type=int, default=2)
    parser.add_argument("--radius", type=int, default=7)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", choices=("bare", "loop", "rows"))
    parser.add_argument("--role", choices=("loop", "sweep"), help=argparse.SUPPRESS)
    parser.add_argument("--network", default=NETWORKS[0], help=argparse.SUPPRESS)
    parser.add_argument("--protocol", default="circular", help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="auto", help=argparse.SUPPRESS)
    given = parser.parse_args()
    size = {"photos": given.photos, "radius": given.radius}
    if given.role:
        role(given.role, given.network, given.protocol, given.precision, **size)
        return
    tune_allocator()
    found: dict[str, Any] = {"machine": machine(given.device), "bare": [], "loop": [], "rows": []}

    def keep(kind: str, line: Any) -> None:
        print(line, flush=True)
        found[kind].append(asdict(line))
        if given.json:
            partial = given.json.with_suffix(".partial")
            partial.write_text(json.dumps(found, indent=1) + "\n")
            partial.replace(given.json)

    if given.only in (None, "rows"):  # first, while the process's peak memory is its own
        keep("rows", rows(given.rows))
    if given.only in (None, "bare"):
        gpu = given.device != "cpu"
        for network in (RANDOM,) if gpu else NETWORKS:
            for precision in ("auto", "bf16", "fp16") if gpu else ("auto", "bf16"):
                keep("bare", bare(network, precision, given.rounds, given.device, **size))
    if given.only in (None, "loop") and given.device == "cpu":
        for protocol in ("circular", "crop"):
            for precision in ("auto", "bf16"):
                keep("loop", loop(NETWORKS[0], protocol, precision, 3, **size))


if __name__ == "__main__":
    main()
