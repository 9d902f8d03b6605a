"""Runs sweeps into a run directory: begins it or goes on with it, alone or with other ranks."""

import hashlib
import json
import platform
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from shiftable import store
from shiftable.choice import choose
from shiftable.distributed import Ranks, device_for
from shiftable.engine import (
    Forward,
    Images,
    MemoryFormat,
    OutOfMemoryError,
    Precision,
    Settings,
)
from shiftable.evaluate import stacked
from shiftable.models import Network
from shiftable.outcome import Outcome
from shiftable.store import Run
from shiftable.stream import answer, differing, read_ahead
from shiftable.sweep import Sweep

# Of a sweep: its name, windows that are stored already, and windows that are to be done here.
Started = Callable[[str, int, int], object]
Progress = Callable[[int, int], object]  # windows and images just done here


class Pictures(Images, Protocol):
    """What a run needs of images; those of `images.load` and `images.from_dataset` have it."""

    @property
    def names(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def labels(self) -> Sequence[int]: ...  # noqa: D102
    @property
    def size(self) -> tuple[int, int] | None: ...  # noqa: D102
    def identity(self) -> str: ...  # noqa: D102
    def image_sizes(self) -> Iterator[tuple[int, int]]: ...  # noqa: D102


@dataclass(frozen=True)
class Job:
    """One sweep of a run.

    Args:
        name: of the sweep in the run, and of its folder there.
        sweep: what is shown.
        images: of what.
    """

    name: str
    sweep: Sweep
    images: Pictures


def run(
    network: Network,
    jobs: Sequence[Job],
    out: Path,
    *,
    batch: int | Literal["auto"] = "auto",
    precision: Precision = "auto",
    memory_format: MemoryFormat = "auto",
    compile: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    part_images: int | None = None,
    verify: bool = False,
    sources: Mapping[str, Any] | None = None,
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    started: Started | None = None,
    progress: Progress | None = None,
) -> Run:
    """Runs sweeps into `out`, or goes on with the run that is there.

    A run that was stopped at any moment, also by SIGKILL or a full disk, is gone on with by the
    same call, and ends with the same bytes as one that never was, on the same device, versions and
    settings. Whatever `auto` chose is frozen in its manifest.

    Args:
        network: from `models.load`.
        jobs: the sweeps, of distinct names.
        out: the run directory.
        batch: as in `evaluate`.
        precision: as in `evaluate`; where it is lower than the network's own, the manifest says
            how many top-1 classes of a sample differ from float32.
        memory_format: as in `evaluate`.
        compile: as in `evaluate`.
        device: where the network runs; `cuda` with several ranks on a machine: a GPU each.
        threads: of torch on the CPU, in each rank; by default those that torch has, which torchrun
            sets to 1.
        part_images: images of a part, which is what a killed run may lose; by default about 16384
            rows, and an eighth of the images at most.
        verify: whether to decode every image first, so that a damaged one is found
            at once; otherwise only the files' headers are looked at, and each image is read once.
        sources: where the images are from, kept in the manifest for whoever wants to see them; no
            part of what a run is told by.
        ranks: this process among those that share the work, which give all the same arguments.
        started: called as a sweep begins here, with its name, its windows that are stored already,
            and those to be done here.
        progress: called with the windows and images just done here.

    Returns:
        The run, complete.

    Raises:
        ValueError: for images or a network that fail, a folder that holds another run, or a fault
            on any rank. What is stored by then stays.
    """
    asked: dict[str, Any] = {
        "batch": batch,
        "precision": precision,
        "memory_format": memory_format,
        "compile": compile,
        "threads": threads,
    }
    own = device_for(device, ranks)
    with ExitStack() as held:
        begun, missing = ranks.share(
            lambda: _begin(
                network, jobs, out, asked, device, own, part_images, verify, sources, held
            )
        )
        ranks.each(lambda: _refuse_another(network, jobs, part_images, begun))
        settings = Settings(**begun.manifest["settings"])
        torch.set_num_threads(settings.threads)
        try:
            fault = None
            try:
                _work(
                    network,
                    jobs,
                    begun,
                    replace(settings, device=own),
                    missing,
                    ranks,
                    started,
                    progress,
                )
            except Exception as error:
                if ranks.count == 1:
                    raise
                fault = str(error)
            ranks.wait(fault)
        except BaseException:
            if ranks.first:
                store.take_back(begun)
            raise
    return begun


def _refuse_another(
    network: Network, jobs: Sequence[Job], part_images: int | None, begun: Run
) -> None:
    """Every rank shows the run's own images to its own network, by its own versions."""
    own = json.loads(json.dumps(_manifest(network, jobs, part_images)))
    there = {key: begun.manifest[key] for key in own}
    if own != there:
        raise ValueError(
            f"another network, images or version here: {store.first_difference(there, own)}"
        )


def _work(
    network: Network,
    jobs: Sequence[Job],
    begun: Run,
    settings: Settings,
    missing: dict[str, list[int]],
    ranks: Ranks,
    started: Started | None,
    progress: Progress | None,
) -> None:
    if not any(missing.values()):
        return
    if isinstance(network.model, torch.nn.Module):
        network.model.to(settings.device)
    forward = Forward(network.model, settings)
    # While the network works, the next images are read, those of the next part too, and the part
    # before is written.
    with ThreadPoolExecutor(1) as writer:
        writing: Future[None] | None = None
        for job in jobs:
            stored = begun.sweeps[job.name]
            parts = missing[job.name][ranks.rank :: ranks.count]
            images = _Hashed(job.images)
            numbers = [number for part in parts for number in stored.images_of(part)]
            if started is not None and parts:
                left = sum(len(stored.images_of(part)) for part in missing[job.name])
                shifts = len(job.sweep.plan)
                started(job.name, (len(stored) - left) * shifts, len(numbers) * shifts)
            with closing(read_ahead(images, numbers, forward.device)) as reader:
                for part in parts:
                    outcome = _part(network, forward, job, stored.images_of(part), reader, progress)
                    pixels = images.digest(stored.images_of(part))
                    if writing is not None:
                        writing.result()
                    writing = writer.submit(stored.add, part, outcome, pixels)
        if writing is not None:
            writing.result()


def _part(
    network: Network,
    forward: Forward,
    job: Job,
    numbers: range,
    reader: Iterator[tuple[int, Tensor]],
    progress: Progress | None,
) -> Outcome:
    """Answers for one part, from its own images alone, so that it does not matter who makes it."""
    found = []
    try:
        for _, answers in answer(
            forward,
            islice(reader, len(numbers)),
            len(numbers),
            job.sweep,
            job.images.labels,
            job.images.names,
            scale=network.scale,
            bias=network.bias,
            split=False,
            progress=None if progress is None else lambda done: progress(done, 0),
        ):
            found.append(answers)
            if progress is not None:
                progress(0, 1)
    except OutOfMemoryError as error:
        raise ValueError(
            f"{str(error).partition(';')[0]}, with which this run was begun; what is stored stays: "
            "free some and run the same command again, or begin a new run with a smaller batch"
        ) from error
    part = slice(numbers.start, numbers.stop)
    labels = np.array(job.images.labels[part], np.int64)
    return stacked(job.sweep, found, job.images.names[part], labels, numbers.start)


class _Hashed:
    """Images whose pixels are hashed as they are read, by number."""

    def __init__(self, images: Pictures) -> None:
        self._images = images
        self._digests: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, number: int) -> Tensor:
        image = self._images[number]
        digest = hashlib.sha256(f"{tuple(image.shape)} {image.dtype}".encode())
        digest.update(image.cpu().contiguous().view(torch.uint8).numpy().data)
        self._digests[number] = digest.digest()
        return image

    def digest(self, numbers: range) -> str:
        """A hash of some images, which are then forgotten."""
        return hashlib.sha256(b"".join(map(self._digests.pop, numbers))).hexdigest()


# -- beginning ------------------------------------------------------------------------------------


def _begin(
    network: Network,
    jobs: Sequence[Job],
    out: Path,
    asked: dict[str, Any],
    device: str,
    own: str,
    part_images: int | None,
    verify: bool,
    sources: Mapping[str, Any] | None,
    held: ExitStack,
) -> tuple[Run, dict[str, list[int]]]:
    """Begins the run, or opens the one that is there; also which of its parts are missing.

    `held` keeps others out of it.
    """
    if len({job.name for job in jobs}) != len(jobs) or not jobs:
        raise ValueError(f"expected sweeps of distinct names, got {[job.name for job in jobs]}")
    if part_images is not None and part_images < 1:
        raise ValueError(f"expected part_images >= 1, got {part_images}")
    for job in jobs:
        for name in job.images.names:
            if not name.isprintable() and name.encode(errors="replace").decode() != name:
                raise ValueError(
                    f"expected names of images in UTF-8, got {name!r}; rename the file"
                )
        if not re.fullmatch(r"\w[\w.-]*", job.name):
            raise ValueError(f"expected a sweep's name of letters, digits, _ . -, got '{job.name}'")
        if not len(job.images):
            raise ValueError(f"expected some images for {job.name}, got none")
        if job.sweep.plan.images not in (None, len(job.images)):
            raise ValueError(
                f"{job.name}: expected {job.sweep.plan.images} images by the plan, got "
                f"{len(job.images)}"
            )
        if verify:
            with ThreadPoolExecutor() as pool:
                for image in pool.map(job.images.__getitem__, range(len(job.images))):
                    job.sweep.check((image.shape[1], image.shape[2]))
    there = store.exists(out)
    manifest = _manifest(network, jobs, part_images)
    if there:
        # What was chosen then stays, whatever would be chosen now; what is asked for has to agree.
        stored = store.load(out).manifest
        settings = {
            **stored["settings"],
            **{k: v for k, v in asked.items() if v not in (None, "auto")},
        }
        manifest |= {"settings": settings, "lower_precision": stored["lower_precision"]}
        manifest["settings"]["device"] = device
    else:
        for job in jobs:
            for size in dict.fromkeys(job.images.image_sizes()):
                job.sweep.check(size)
        manifest |= _settings(network, jobs, asked, device, own)
    if sources is not None:
        manifest["sources"] = sources
    run = store.begin(out, manifest)
    held.enter_context(store.lock(out))
    store.clear(run)
    return run, {name: sweep.missing() for name, sweep in run.sweeps.items()}


def _settings(
    network: Network, jobs: Sequence[Job], asked: dict[str, Any], device: str, own: str
) -> dict[str, Any]:
    """Chooses what is left to choose, by a trial on the longest sweep, and tries lower precision."""
    if asked["threads"] is not None:
        torch.set_num_threads(asked["threads"])
    if isinstance(network.model, torch.nn.Module):
        network.model.to(own)
    longest = max(jobs, key=lambda job: len(job.images) * len(job.sweep.plan))
    settings = choose(
        network.model,
        longest.sweep,
        longest.images[0],
        len(longest.images),
        batch=asked["batch"],
        precision=asked["precision"],
        memory_format=asked["memory_format"],
        compile=asked["compile"],
        device=own,
    )
    lower = None
    if settings.precision in ("bf16", "fp16"):
        differ, seen = differing(
            network.model,
            longest.sweep,
            longest.images,
            settings,
            scale=network.scale,
            bias=network.bias,
        )
        lower = {"sweep": longest.name, "windows": seen, "other_class_than_float32": differ}
    return {"settings": {**asdict(settings), "device": device}, "lower_precision": lower}


def _manifest(network: Network, jobs: Sequence[Job], part: int | None) -> dict[str, Any]:
    return {
        "model": {
            "name": network.name,
            "weights": network.weights,
            "code": network.code,
            "size": network.size,
            "scale": network.scale,
            "bias": network.bias,
        },
        "versions": {
            "shiftable": version("shiftable"),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "pillow": _version("pillow"),
            "pyarrow": _version("pyarrow"),
            "python": platform.python_version(),
        },
        "commit": _commit(),
        "sweeps": [
            {
                "name": job.name,
                "digest": job.sweep.digest,
                "part_images": part or store.part_images(len(job.images), len(job.sweep.plan)),
                "images": {
                    "count": len(job.images),
                    "size": job.images.size,
                    "identity": job.images.identity(),
                },
                "sweep": job.sweep.to_dict(),
            }
            for job in jobs
        ],
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit that this package was checked out at, `+` after it if files differ; or None."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # Installed into somebody's checkout, it is not that checkout's file.
    if git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    commit = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".")
    return commit and f"{commit}{'+' if changed else ''}"
