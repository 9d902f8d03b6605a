"""Every test starts from the same random numbers; a test that asks for a GPU says so by its fixture."""

import os

import pytest
import torch

from tests import cuda_code


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


def pytest_terminal_summary(terminalreporter):
    """Shows what nvcc made of the commonest kernels, where a test has read it."""
    if cuda_code.kernels_built.cache_info().currsize:
        terminalreporter.section("CUDA code (all of it: python -m tests.cuda_code)")
        for line in cuda_code.table(cuda_code.headline()):
            terminalreporter.line(line)
