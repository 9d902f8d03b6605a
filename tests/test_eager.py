"""The short way for plain tensors on the CPU: the same bits as the operators, and out of the way of everything else."""

import os
import subprocess
import sys
import time

import pytest
import torch
from operators import LAYOUTS, values_and_gradient
from shiftable import functional
from shiftable._ops import eager, ops
from shiftable.filters import binomial
from shiftable.functional import blur_downsample, max_blur_downsample
from torch.autograd import gradcheck, gradgradcheck
from torch.func import vmap

TAPS = binomial(3)
LIST = list(TAPS)
BLUR = (LIST, LIST, [2, 2], "reflect", None)

pytestmark = pytest.mark.skipif(eager is None, reason="built for another torch")

SHORT = {
    "blur_downsample": (
        lambda image: blur_downsample(image, TAPS),
        lambda image: ops.blur_downsample(image, *BLUR),
    ),
    "max_blur_downsample": (
        lambda image: max_blur_downsample(image, 2, TAPS, max_pad=1),
        lambda image: ops.max_blur_downsample(image, [2, 2], *BLUR, [1, 1], [1, 1], False),
    ),
}


@pytest.fixture
def calls(monkeypatch):
    """How often the short way was taken."""
    taken = []

    class Counted:
        Filter = eager.Filter

        @staticmethod
        def call(image, arguments):
            result = eager.call(image, arguments)
            taken.append(result is not None)
            return result

    monkeypatch.setattr(functional, "eager", Counted)
    return taken


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(2, 3, 9, 8), (2, 20, 5, 40), (3, 7, 6)], ids=str)
def test_equals_the_operator(name, layout, shape, calls):
    """In values, gradients and strides, bit for bit."""
    short, operator = SHORT[name]
    image = LAYOUTS[layout](torch.randn(shape))
    got, want = values_and_gradient(short, image), values_and_gradient(operator, image)
    assert calls == [True]
    for one, other in zip(got, want, strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()
    with torch.inference_mode():
        assert torch.equal(short(image), want[0])


@pytest.mark.parametrize("name", SHORT)
def test_gradients_of_every_order(name, calls):
    image = torch.randperm(40, dtype=torch.float64).view(2, 1, 5, 4).requires_grad_()
    assert gradcheck(SHORT[name][0], image)
    assert gradgradcheck(SHORT[name][0], image)
    assert all(calls)
    result = SHORT[name][0](image)
    (grad,) = torch.autograd.grad(result.square().sum(), image, create_graph=True)
    assert grad.requires_grad
    assert SHORT[name][0](image.detach()).grad_fn is None
    assert SHORT[name][0](torch.nn.Parameter(image)).requires_grad


class Subclass(torch.Tensor):
    """Keeps its type through torch's functions."""


@pytest.mark.parametrize("name", SHORT)
def test_leaves_other_tensors_to_the_operators(name, calls):
    short, operator = SHORT[name]
    image = torch.randn(2, 3, 9, 8)
    want = operator(image)
    assert isinstance(short(image.as_subclass(Subclass)), Subclass)
    assert calls == []
    assert short(image.to("meta")).device.type == "meta"
    assert torch.equal(vmap(short)(image), torch.stack([operator(part) for part in image]))
    with torch._subclasses.FakeTensorMode() as mode:
        assert isinstance(short(mode.from_tensor(image)), torch._subclasses.FakeTensor)
    graph = torch.fx.experimental.proxy_tensor.make_fx(short)(image)
    assert any(f"shiftable.{name}" in str(node.target) for node in graph.graph.nodes)
    assert not any(calls)
    assert torch.equal(torch.compile(short, fullgraph=True, backend="eager")(image), want)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(short(image), want)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core only")
def test_runs_on_all_of_torchs_threads(threads):
    """Time of the process beyond that of the calling thread."""
    threads(2)
    image = torch.randn(8, 64, 112, 112)
    with torch.inference_mode():
        blur_downsample(image, TAPS)
        before = time.process_time(), time.thread_time()
        for _ in range(20):
            blur_downsample(image, TAPS)
        process, caller = time.process_time() - before[0], time.thread_time() - before[1]
    assert process > 1.5 * caller


def test_wrong_arguments_are_refused_as_by_the_operator(calls):
    for arguments in [{"stride": 0}, {"border": "wrap"}, {"taps": ()}, {"pad": (1, 1)}]:
        with pytest.raises(ValueError, match=r"blur_downsample: (expected|unknown)"):
            blur_downsample(torch.zeros(1, 4, 4), **{"taps": TAPS} | arguments)
    with pytest.raises(ValueError, match="expected dtype float32"):
        blur_downsample(torch.zeros(1, 4, 4).int(), TAPS)
    with pytest.raises(TypeError, match=r"got 2\.0"):
        blur_downsample(torch.zeros(1, 4, 4), TAPS, 2.0)


@pytest.mark.parametrize("kind", [lambda taps: taps, torch.unbind])
def test_arguments_that_can_change_are_not_kept(kind, calls):
    image = torch.randn(1, 8, 8)
    taps = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)
    given = kind(taps)
    before = blur_downsample(image, given)
    taps.mul_(2)
    assert torch.equal(blur_downsample(image, given), 4 * before)
    assert calls == []


def test_can_be_left_out():
    """The package does the same without it."""
    code = """
import torch
from shiftable._ops import eager
from shiftable.functional import blur_downsample, max_blur_downsample
assert eager is None
image = torch.ones(1, 2, 8, 8, requires_grad=True)
blur_downsample(image, (1, 2, 1)).sum().backward()
max_blur_downsample(image, 2, (1, 2, 1)).sum().backward()
"""
    environment = {**os.environ, "SHIFTABLE_EAGER": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
