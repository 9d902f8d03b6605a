"""Every test starts from the same random numbers; a test that asks for a GPU says so by its fixture."""

import os

import pytest
import torch


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
