"""Every test starts from the same random numbers; a test that asks for a GPU says so by its fixture."""

import os
import subprocess

import pytest
import torch
from PIL import Image

from tests import cuda_code
from tests.commands import NET


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def cuda():
    """A CUDA device. Without one the test is skipped, or fails where FAIL_WITHOUT_CUDA=1."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if os.environ.get("FAIL_WITHOUT_CUDA") == "1":
        pytest.fail("no CUDA device")
    pytest.skip("no CUDA device")


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    """Each device in turn."""
    return torch.device("cpu") if request.param == "cpu" else request.getfixturevalue("cuda")


@pytest.fixture
def threads():
    """Sets the number of torch's threads, for this test alone."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def place(tmp_path):
    """A folder with a network and two labelled photographs, 8x8, one bright column each."""
    (tmp_path / "toy_net.py").write_text(NET)
    for number, column in enumerate((3, 4)):
        photo = Image.new("RGB", (8, 8))
        photo.paste((255, 255, 255), (column, 0, column + 1, 8))
        (tmp_path / "photos").mkdir(exist_ok=True)
        photo.save(tmp_path / "photos" / f"p{number}_{column % 2}.png")
    return tmp_path


@pytest.fixture
def run(place, monkeypatch, capsys):
    """Runs the command in this process, which spares importing torch each time."""
    monkeypatch.chdir(place)

    def call(*arguments):
        from shiftable.cli import main

        code = main(arguments)
        written = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, written.out, written.err)

    return call


_CUDA_CODE = []  # lines of a table


def pytest_sessionfinish(session):
    """Keeps what nvcc made of the commonest kernels, where a test has read it."""
    if cuda_code.kernels_built.cache_info().currsize:
        _CUDA_CODE.extend(cuda_code.table(cuda_code.headline()))
        if hasattr(session.config, "workeroutput"):  # one of several processes
            session.config.workeroutput["cuda_code"] = _CUDA_CODE


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Takes over what another process kept."""
    _CUDA_CODE.extend(getattr(node, "workeroutput", {}).get("cuda_code", []))


def pytest_terminal_summary(terminalreporter):
    """Shows it."""
    if _CUDA_CODE:
        terminalreporter.section("CUDA code (all of it: python -m tests.cuda_code)")
        for line in _CUDA_CODE:
            terminalreporter.line(line)
