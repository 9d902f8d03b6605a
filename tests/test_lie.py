"""The Lie derivative of classifiers whose derivative is known, and against finite differences."""

import numpy as np
import pytest
import torch
from shiftable.canvas import fourier_shifted
from shiftable.lie import lie_derivative
from shiftable.nn import BlurPool2d
from torch import nn
from torch.nn import functional

IMAGES = torch.rand(3, 2, 9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


class Mixed(nn.Module):
    """Of smooth layers, with a blur of ours between."""

    def __init__(self, blurred):
        super().__init__()
        torch.manual_seed(4)
        self.first = nn.Conv2d(2, 6, 3, dtype=torch.float64)
        self.blur = BlurPool2d(filter_size=3) if blurred else nn.Identity()
        self.last = nn.LazyLinear(4, dtype=torch.float64)

    def forward(self, x):
        return 3 * self.last(self.blur(self.first(x).tanh()).flatten(1))


def made(blurred=False):
    network = Mixed(blurred).eval()
    network(IMAGES)
    return network


@pytest.mark.parametrize("blurred", [False, True])
@pytest.mark.parametrize(("axis", "dim"), [("horizontal", 1), ("vertical", 0)])
def test_against_finite_differences(blurred, axis, dim):
    network, tiny = made(blurred), 1e-4
    found = lie_derivative(network, IMAGES, axis=axis, derivative="fourier")
    shifts = torch.zeros(2, 2, dtype=torch.float64)
    shifts[0, dim], shifts[1, dim] = -tiny, tiny
    for number, image in enumerate(IMAGES):
        with torch.no_grad():
            before, after = network(fourier_shifted(image, shifts)).softmax(1)
        wanted = ((after - before) / (2 * tiny)).abs().mean()
        assert found.per_pixel[number] == pytest.approx(wanted.item(), rel=1e-5)
        assert wanted > 1e-3


def test_in_closed_form():
    """One pixel decides: logits (x, 0), so p' = p (1 - p) x', x' half the neighbours' difference."""
    found = lie_derivative(lambda x: torch.stack([x[:, 0, 0, 3], 0 * x[:, 0, 0, 3]], 1), IMAGES)
    x = IMAGES[:, 0, 0]
    p = x[:, 3].sigmoid()
    # The content moves to the right, so the value becomes that of the left neighbour.
    wanted = (p * (1 - p) * (x[:, 2] - x[:, 4]) / 2).abs()
    np.testing.assert_allclose(found.per_pixel, wanted.numpy(), rtol=1e-6)
    np.testing.assert_allclose(found.per_image, wanted.numpy() * 7 / 2, rtol=1e-6)
    assert found.estimate().value == pytest.approx(wanted.mean().item())
    down = lie_derivative(
        lambda x: torch.stack([x[:, 0, 0, 3], 0 * x[:, 0, 0, 3]], 1), IMAGES, axis="vertical"
    )
    column = IMAGES[:, 0, :, 3]
    wanted = (p * (1 - p) * (column[:, -1] - column[:, 1]) / 2).abs()
    np.testing.assert_allclose(down.per_pixel, wanted.numpy(), rtol=1e-6)
    np.testing.assert_allclose(down.per_image, wanted.numpy() * 8 / 2, rtol=1e-6)


def test_invariant_networks_have_none():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    for derivative in ("central", "fourier"):
        found = lie_derivative(network, IMAGES.float(), derivative=derivative)
        assert found.per_pixel.max() < 1e-6


def test_pixels_are_normalised_as_the_network_wants():
    raw = (255 * IMAGES).round().to(torch.uint8)
    network = made()
    found = lie_derivative(network, raw, scale=1 / 255, bias=(0.1, -0.2), border="reflect")
    shown = raw.double() / 255 + torch.tensor([0.1, -0.2], dtype=torch.float64).view(2, 1, 1)
    wanted = lie_derivative(network, shown, border="reflect")
    np.testing.assert_allclose(found.per_pixel, wanted.per_pixel, rtol=1e-6)


@pytest.mark.parametrize(
    ("border", "fill", "entering"),
    [("reflect", None, 1), ("replicate", None, 0), ("circular", None, 7), ("constant", 0.25, None)],
)
def test_what_enters_by_hand(border, fill, entering):
    """At the left edge the value from beyond it is that of a pixel inside, or the fill."""
    found = lie_derivative(
        lambda x: torch.stack([x[:, 0, 0, 0], 0 * x[:, 0, 0, 0]], 1),
        IMAGES,
        border=border,
        fill=fill,
    )
    x = IMAGES[:, 0, 0]
    p = x[:, 0].sigmoid()
    beyond = fill if entering is None else x[:, entering]
    wanted = (p * (1 - p) * (beyond - x[:, 1]) / 2).abs()
    np.testing.assert_allclose(found.per_pixel, wanted.numpy(), rtol=1e-6)


def test_the_published_unit():
    """Against torch's own sampler on a ramp, whose slope is the same from either side."""
    ramp = (torch.arange(8.0, dtype=torch.float64) / 8).expand(1, 2, 9, 8) * torch.tensor(
        [1.0, -0.5], dtype=torch.float64
    ).view(1, 2, 1, 1)
    weights = torch.randn(2 * 9 * 4, 3, dtype=torch.float64)
    network = lambda x: x[..., 2:6].tanh().flatten(1) @ weights.to(x.dtype)
    tiny, probabilities = 1e-4, []
    for t in (-tiny, tiny):
        by = torch.tensor([[[1, 0, t], [0, 1, 0]]], dtype=torch.float64)
        places = functional.affine_grid(by, ramp.shape, align_corners=True)
        moved = functional.grid_sample(ramp, places, align_corners=True)
        probabilities.append(network(moved).softmax(1))
    wanted = ((probabilities[1] - probabilities[0]) / (2 * tiny)).abs().mean().item()
    found = lie_derivative(network, ramp, border="replicate")
    assert found.per_image[0] == pytest.approx(wanted, rel=1e-4)
    assert found.estimate(per_image=True).value == found.per_image[0]
    assert found.estimate().value == found.per_image[0] / 3.5


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
def test_forward_mode_would_not_do():
    """The reason for two backward passes: our operators have no derivative forward."""
    blur = BlurPool2d(filter_size=3).eval()
    x, by = IMAGES[:1], torch.ones_like(IMAGES[:1])
    try:
        _, forward = torch.func.jvp(blur, (x,), (by,))
    except (NotImplementedError, RuntimeError):
        return
    assert (forward == 0).all()  # once it is right, one pass will do: see _directional


def test_batches_and_sizes_do_not_matter():
    network = nn.Sequential(nn.Conv2d(2, 6, 3, dtype=torch.float64), nn.Tanh(),
                            nn.AdaptiveMaxPool2d(1), nn.Flatten()).eval()  # fmt: skip
    images = [*IMAGES, IMAGES[0, :, :6], IMAGES[1], IMAGES[2, :, :, :5]]
    one = lie_derivative(network, images, batch=1)
    for batch in (2, 5, 64):
        found = lie_derivative(network, images, batch=batch)
        np.testing.assert_allclose(found.per_pixel, one.per_pixel, rtol=1e-10)
        assert found.sides.tolist() == [8, 8, 8, 8, 8, 5]
    assert (one.per_pixel > 0).all()


def test_a_fault_names_the_image():
    images = IMAGES.clone()
    images[1] = torch.nan
    for batch in (1, 2, 3):
        with pytest.raises(ValueError, match="got others for b"):
            lie_derivative(made(), images, batch=batch, names="abc")


def test_within_inference_mode():
    wanted = lie_derivative(made(), IMAGES)
    network = made()
    with torch.inference_mode():
        found = lie_derivative(network, IMAGES.clone())
    np.testing.assert_array_equal(found.per_pixel, wanted.per_pixel)


def test_the_network_stays_as_it_is():
    network = made(True)
    network.first.weight.requires_grad_(False)
    lie_derivative(network, IMAGES)
    assert not network.training
    assert not network.first.weight.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"axis": "diagonal"}, "unknown axis 'diagonal'"),
        ({"derivative": "forward"}, "unknown derivative 'forward'; known: central, fourier"),
        ({"derivative": "fourier", "border": "reflect"}, "wraps around"),
        ({"names": ["a"]}, "as many images as names, got 3 and 1"),
        ({"names": ["a", "b", "a"]}, "distinct names"),
        ({"images": []}, "as many images as names, got 0 and 0"),
        ({"images": IMAGES[0]}, r"images \(C, h, w\), got \(9, 8\)"),
        ({"batch": 0}, "batch >= 1, got 0"),
        ({"border": "mirror"}, "unknown border 'mirror'"),
        ({"fill": 1.0}, "a fill is of border 'constant', got 1.0 for 'circular'"),
        ({"model": lambda x: x @ x}, r"failed on a batch \(3, 2, 9, 8\) of 0"),
        ({"model": lambda x: x.sum((1, 2, 3))}, r"logits \(3, K\) with K >= 2 .*, got \(3,\)"),
        ({"model": lambda x: x[:1, 0, 0]}, r"got \(1, 8\)"),
        ({"model": lambda x: x[:, 0, 0, :1]}, r"got \(3, 1\)"),
        ({"model": lambda x: {"logits": x}}, "got dict"),
        ({"model": nn.Dropout()}, "eval mode"),
        ({"model": lambda x: x.detach()[:, 0, 0]}, "can be differentiated twice"),
        ({"model": lambda x: x[:, 0, 0] * torch.nan}, "finite derivatives"),
    ],
)
def test_rejects_bad_arguments(how, message):
    with pytest.raises(ValueError, match=message):
        lie_derivative(**{"model": made(), "images": IMAGES, **how})
