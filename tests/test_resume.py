"""Runs that are killed, and runs that several processes share, end with the same bytes.

`SHIFTABLE_KILLS=20` kills twenty times rather than four, every fourth time inside a write.
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.commands import files
from tests.interrupted import OPTIONS

HERE = Path(__file__).parent
KILLS = int(os.environ.get("SHIFTABLE_KILLS", "4"))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with 16 photographs and a run that was never interrupted."""
    folder = tmp_path_factory.mktemp("resume")
    (folder / "photos").mkdir()
    make = torch.Generator().manual_seed(0)
    for number in range(16):
        pixels = torch.randint(0, 256, (20, 20, 3), dtype=torch.uint8, generator=make)
        Image.fromarray(pixels.numpy()).save(folder / "photos" / f"{number:02}.png")
    process = started(folder, "whole")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return folder


def started(folder, run, *rest, **environment):
    """The sweep, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, str(HERE / "interrupted.py"), run, *rest],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(HERE), **environment},
    )  # fmt: skip


def wait_for(condition):
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("waited for a minute")


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_killed_run_ends_with_the_same_bytes(place, kill):
    run = place / f"killed-{kill}"
    if kill % 4 == 0:  # inside a write
        (place / "stalled").unlink(missing_ok=True)
        process = started(place, run.name, "stall")
        wait_for((place / "stalled").exists)
    else:  # at any moment, from before there is a run until it is nearly done
        process = started(place, run.name)
        moment = random.Random(kill).random()
        if moment < 0.15:
            time.sleep(10 * moment)
        else:
            parts = int(moment * 14)
            wait_for(lambda: len(list(run.glob("*/*.parquet"))) >= parts)
            time.sleep(random.Random(-kill).random() / 20)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    left = files(run) if run.exists() else {}
    whole = files(place / "whole")
    assert left != whole
    if kill % 4 == 0:
        assert [name for name in left if name.endswith(".partial")]
    again = started(place, run.name)
    _, errors = again.communicate()
    assert again.returncode == 0, errors
    assert files(run) == whole


def port():
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def ranks(place, run, count):
    """Processes that share a run, over the loopback."""
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port()), "GLOO_SOCKET_IFNAME": "lo"}
    return [
        started(place, run, WORLD_SIZE=str(count), RANK=str(rank), LOCAL_RANK=str(rank), **where)
        for rank in range(count)
    ]


@pytest.mark.parametrize("count", [2, 3])
def test_ranks_give_the_same_run_as_one_process(place, count):
    processes = ranks(place, f"ranks-{count}", count)
    told = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * count, told
    assert files(place / f"ranks-{count}") == files(place / "whole")
    assert "stored in" in told[0][0]
    assert [out for out, _ in told[1:]] == [""] * (count - 1)


def test_a_rank_that_dies_leaves_a_run_that_goes_on(place):
    run = place / "lost"
    processes = ranks(place, run.name, 3)
    wait_for(lambda: len(list(run.glob("*/*.parquet"))) >= 2)
    processes[2].send_signal(signal.SIGKILL)
    told = [process.communicate(timeout=60) for process in processes]
    for rank in (0, 1):
        assert processes[rank].returncode == 2
        (line,) = [text for text in told[rank][1].splitlines() if text.startswith("shiftable: ")]
        assert "another rank has stopped; what is stored stays" in line
    assert 2 <= len(list(run.glob("*/*.parquet"))) < 16
    for process in ranks(place, run.name, 2):  # of another number, too
        process.communicate()
    assert files(run) == files(place / "whole")


def test_a_mistake_is_told_on_every_rank(place):
    (place / "taken").mkdir()
    (place / "taken" / "precious").touch()
    processes = ranks(place, "taken", 2)
    told = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [2, 2]
    for _, errors in told:
        assert "taken exists and is no run" in errors


def test_ranks_with_other_images_are_refused(place):
    """As copies of a folder on two machines may differ."""
    (place / "elsewhere").mkdir()
    (place / "elsewhere" / "photos").mkdir()
    for path in (place / "photos").iterdir():
        Image.new("RGB", (20, 20)).save(place / "elsewhere" / "photos" / path.name)
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port()), "GLOO_SOCKET_IFNAME": "lo"}
    processes = [
        started(folder, str(place / "mixed"), WORLD_SIZE="2", RANK=str(rank), **where)
        for rank, folder in enumerate((place, place / "elsewhere"))
    ]
    told = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [2, 2]
    assert "rank 1: another network, images or version here: " in told[0][1]
    assert not list((place / "mixed").glob("*/*.parquet"))


def test_a_mistake_on_one_rank_stops_all(place):
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port()), "GLOO_SOCKET_IFNAME": "lo"}
    empty = place / "empty"
    empty.mkdir()
    processes = [
        started(folder, str(place / "never"), WORLD_SIZE="2", RANK=str(rank), **where)
        for rank, folder in enumerate((place, empty))
    ]
    told = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [2, 2]
    assert "rank 1: no image or folder at photos" in told[0][1]


def test_torchrun(place):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
        "--master-addr", "127.0.0.1", "--master-port", str(port()), "-m", "shiftable",
        *OPTIONS, "--out", "torchrun", "--quiet",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(HERE), "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert files(place / "torchrun") == files(place / "whole")
