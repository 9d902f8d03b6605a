"""What each layer does to a shift: known answers, real networks, and nothing left changed."""

import json

import numpy as np
import pytest
import shiftable
import torch
from shiftable import demo
from shiftable.layers import (
    CircularPadding,
    explain,
    layer_equivariance,
    lie_by_layer,
    rows,
    total_stride,
)
from shiftable.layers.found import find_layers
from shiftable.nn import BlurPool2d, IdealDownsample2d, MaxBlurPool2d
from torch import nn
from torch.nn import functional as F  # noqa: N812

from tests import peers
from tests.toys import Residual, ready

SIDE = 40


def wave(*frequencies, side=SIDE):
    """(1, side, side): cosines along each row, cycles/pixel, that fit into it."""
    x = 2 * torch.pi * torch.arange(float(side))
    return sum(torch.cos(f * x + 0.3) for f in frequencies).expand(1, side, side)


def keep(stride):
    """Every so many columns, as they are."""
    net = nn.Sequential(nn.Conv2d(1, 1, 1, stride=(1, stride), bias=False))
    nn.init.ones_(net[0].weight)
    return net


# -- equivariance ----------------------------------------------------------------------------------


def test_circular_networks_of_stride_1_have_no_error():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 1, 1),
        nn.Conv2d(4, 2, 3), nn.AvgPool2d(2, 1), nn.ReflectionPad2d(1), nn.Conv2d(2, 2, 3),
    ).eval()  # fmt: skip
    layers = layer_equivariance(net, list(torch.rand(2, 3, 16, 16)), (16, 16))
    assert [layer.name for layer in layers] == ["0", "1", "2", "3", "4", "6"]  # 5 is larger
    for layer in layers:
        assert layer.on_grid.max() < 1e-6
        assert layer.phases == ()
        assert layer.sub_grid_mean().value is None


@pytest.mark.parametrize(
    ("stride", "frequencies", "errors"),
    [
        # What aliases comes back as a wave that is m / stride cycles/pixel off, for m the nearest
        # whole number to stride * f: by a shift of d it is 2 sin(pi m d / stride) off.
        (2, (0.1,), [0]),
        (2, (0.4,), [2]),
        (2, (0.1, 0.35), [2 * 0.5**0.5]),  # half of the energy aliases
        (4, (0.2,), [2**0.5, 2, 2**0.5]),
        (4, (0.45,), [2, 0, 2]),  # m = 2
        (4, (0.1,), [0, 0, 0]),
        (5, (0.175,), [2 * np.sin(np.pi * d / 5) for d in (1, 2, 4)]),  # 4 phases, of whole pixels
    ],
)
def test_slices_are_off_by_what_is_worked_out_by_hand(stride, frequencies, errors):
    [layer] = layer_equivariance(keep(stride), [wave(*frequencies)], (SIDE, SIDE))
    assert layer.stride == (1, stride)
    assert layer.on_grid.item() < 1e-6
    assert layer.sub_grid[:, 0] == pytest.approx(errors, abs=2e-4)
    assert layer.phases == pytest.approx([d / stride for d in _pixels(stride)])


def _pixels(stride):
    return {2: (1,), 4: (1, 2, 3), 5: (1, 2, 4)}[stride]


@pytest.mark.parametrize("down", [IdealDownsample2d(2), IdealDownsample2d((1, 4))])
def test_ideal_downsampling_is_shiftable(down):
    image = torch.rand(1, 16, 16)
    for layer in layer_equivariance(nn.Sequential(down), [image], (16, 16)):
        assert layer.on_grid.max() < 1e-5
        assert layer.sub_grid.max() < 1e-5
    assert total_stride(nn.Sequential(down, nn.MaxPool2d(2)), (16, 16))[1] == down.stride[1] * 2


def test_blurs_are_nearer_to_it_the_longer_they_are():
    image = torch.rand(1, 64, 64)
    errors = [
        layer_equivariance(nn.Sequential(BlurPool2d(filter_size=n)), [image], (64, 64))[0]
        for n in (1, 3, 7, 15)
    ]
    values = [layer.sub_grid_mean().value for layer in errors]
    assert values == sorted(values, reverse=True)


def test_borders_are_on_the_grid_of_the_own_padding_alone():
    """A filter that reaches from the edge to the middle of the map; one that does not."""
    images = list(torch.rand(3, 1, 34, 34))
    for kernel, borders in ((3, False), (31, True)):
        net = nn.Sequential(nn.Conv2d(1, 1, kernel, padding=kernel // 2))
        [own] = layer_equivariance(net, images, (32, 32), padding="own")
        [circular] = layer_equivariance(net, images, (32, 32), padding="circular")
        assert (own.on_grid_mean().value > 1e-3) == borders
        assert own.on_grid_mean().images == 3
        assert circular.on_grid.max() < 1e-5


def test_own_padding_sees_the_same_aliasing_inside():
    image = wave(0.1, 0.35, side=120)
    [layer] = layer_equivariance(keep(2), [image], (100, 100), padding="own")
    assert layer.sub_grid.item() == pytest.approx(2**0.5, rel=0.1)  # interpolation at the ends
    assert layer.on_grid.item() < 1e-6


def test_images_are_independent_of_the_batch():
    net, images = ready(Residual()), list(torch.rand(5, 3, 40, 40))
    one, two = (layer_equivariance(net, images, (32, 32), batch=b) for b in (2, 5))
    for a, b in zip(one, two, strict=True):
        assert a.sub_grid == pytest.approx(b.sub_grid, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("name", ["squeezenet", "efficientnet_lite0"])
def test_real_networks_have_no_border_left(name):
    """Valid and ceil-mode windows, and paddings that are layers, at sizes that are no multiple."""
    net = getattr(demo, name)().eval()
    layers = layer_equivariance(net, list(torch.rand(1, 3, 80, 80)), (70, 70), phases=2)
    assert len(layers) > 25
    assert {layer.stride for layer in layers} >= {(2, 2), (4, 4), (8, 8), (16, 16)}
    for layer in layers:
        assert layer.on_grid.max() < 1e-3, layer.name  # rounding, after 49 convolutions
        assert layer.sub_grid.min() > 1e-4, layer.name


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenet_v2", "googlenet", "shufflenet_v2_x0_5", "convnext_tiny"]
)
def test_torchvision_families_have_no_border_left(name):
    torchvision = peers.peer("torchvision")
    more = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    net = torchvision.models.get_model(name, weights=None, **more).eval()
    for layer in layer_equivariance(net, [torch.rand(3, 64, 64)], (64, 64), phases=2):
        assert layer.on_grid.max() < 1e-3, layer.name


# -- circular padding ------------------------------------------------------------------------------


def wrapped(image, kernel, stride, before):
    """Padded by hand, so that as many windows fit as the stride leaves pixels."""
    for dim in (2, 3):
        size = image.shape[dim]
        after = -(-size // stride) * stride - stride + kernel - size - before
        at = torch.arange(-before, size + after) % size
        image = image.index_select(dim, at)
    return image


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("before", [0, 1, 2])
def test_windows_wrap_around(kernel, stride, before):
    image, weight = torch.rand(1, 2, 12, 12), torch.rand(3, 2, kernel, kernel)
    pad = min(before, kernel // 2)  # more is refused of a pool
    with torch.no_grad(), CircularPadding():
        convolved = F.conv2d(image, weight, None, stride, before)
        largest = F.max_pool2d(image, kernel, stride, pad, ceil_mode=True)
        mean = F.avg_pool2d(image, kernel, stride, pad, count_include_pad=False)
    by_hand = wrapped(image, kernel, stride, before)
    assert convolved == pytest.approx(F.conv2d(by_hand, weight, None, stride), rel=1e-5)
    by_hand = wrapped(image, kernel, stride, pad)
    assert torch.equal(largest, F.max_pool2d(by_hand, kernel, stride))
    assert mean == pytest.approx(F.avg_pool2d(by_hand, kernel, stride), rel=1e-5)


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(2, 2, 3, 2, 2, dilation=2),
        nn.Conv2d(2, 2, 3, 2, 1, padding_mode="reflect"),
        nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(2, 2, 3, 2)),
        nn.Sequential(nn.ReplicationPad2d(1), nn.MaxPool2d(3, 2)),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.AvgPool2d(3, 2, 1),
        BlurPool2d(filter_size=5),
        BlurPool2d(filter_size=4, pad=(3, 3, 2, 2)),
        BlurPool2d(filter_size=3, border="constant"),
        MaxBlurPool2d(3, max_pad=1),
        MaxBlurPool2d(2),
        shiftable.nn.PolyphaseDownsample2d(filter_size=3, border="reflect"),
        nn.AdaptiveAvgPool2d(1),
        nn.AvgPool2d(12),
    ],
    ids=lambda module: type(module).__name__,
)
def test_whatever_pads_moves_along(module):
    image = torch.rand(1, 2, 12, 12)
    with torch.no_grad(), CircularPadding():
        still, moved = module(image), module(image.roll((2, 4), (2, 3)))
    assert still.shape[2:] in ((12, 12), (6, 6), (1, 1))
    step = 12 // still.shape[2] if still.shape[2] > 1 else 2
    assert moved == pytest.approx(still.roll((2 // step, 4 // step), (2, 3)), abs=1e-6)


def test_what_it_does_not_know_stays_as_it_is():
    image = torch.rand(1, 2, 8, 8)
    up, pad = nn.ConvTranspose2d(2, 2, 2, 2), nn.ZeroPad2d(-1)
    with torch.no_grad():
        before = up(image), pad(image), F.pad(image, (0, 0, 0, 0, 1, 1))
        with CircularPadding():
            within = up(image), pad(image), F.pad(image, (0, 0, 0, 0, 1, 1))
    assert all(map(torch.equal, before, within))


# -- which layers ----------------------------------------------------------------------------------


class Twice(nn.Module):
    """One convolution called twice, an up-sampling, a branch that is thrown away, an identity."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, 2, 1)
        self.same = nn.Identity()
        self.up = nn.Upsample(scale_factor=2)

    def forward(self, x):
        y = self.same(self.conv(self.conv(x)))
        return self.up(y).mean((2, 3))


def test_layers_have_their_stride_and_depth():
    found = find_layers(ready(Twice()), torch.rand(1, 3, 16, 16))
    assert [(f.name, f.call, f.depth, f.reads, f.stride, f.size) for f in found] == [
        ("conv", 0, 1, (1, 1), (2, 2), (8, 8)),
        ("conv", 1, 2, (2, 2), (4, 4), (4, 4)),
        ("up", 0, 2, (4, 4), (2, 2), (8, 8)),
    ]
    assert [f.grid for f in found] == [(2, 2), (4, 4), (4, 4)]
    found = find_layers(ready(Residual()), torch.rand(1, 3, 16, 16))
    assert [(f.name, f.depth, f.stride[0]) for f in found] == [
        ("conv1", 1, 2), ("bn1", 1, 2), ("relu", 1, 2), ("conv2", 2, 2), ("shortcut", 1, 2),
        ("relu", 2, 2), ("pool", 2, 4),
    ]  # fmt: skip


class Split(nn.Module):
    """Half of the channels goes on, as in ShuffleNet; both halves come from a stride of 2."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(2, 2, 3, 2, 1)

    def forward(self, x):
        _, half = self.first(x).chunk(2, 1)
        return self.second(half)


class LastChannels(nn.Module):
    """As ConvNeXt: (N, H, W, C) between two permutations."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 16, 4, 4), nn.LayerNorm(16)
        self.mix, self.down = nn.Linear(16, 16), nn.Conv2d(16, 8, 2, 2)

    def forward(self, x):
        y = self.mix(self.norm(self.conv(x).permute(0, 2, 3, 1)))
        return self.down(y.permute(0, 3, 1, 2))


class Larger(nn.Module):
    """As VGG: an adaptive pool that makes a small map larger."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 4, 8, 8), nn.AdaptiveAvgPool2d(8)

    def forward(self, x):
        return self.pool(self.conv(x))


@pytest.mark.parametrize(
    ("net", "known"),
    [
        (Split(), [("first", (2, 2)), ("second", (4, 4))]),
        (LastChannels(), [("conv", (4, 4)), ("down", (8, 8))]),
        (Larger(), [("conv", (8, 8)), ("pool", (4, 4))]),
        (nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.AdaptiveAvgPool2d(1)), [("0", (2, 2))]),
    ],
)
def test_strides_are_followed(net, known):
    found = find_layers(net.eval(), torch.rand(1, 3, 32, 32))
    assert [(f.name, f.stride) for f in found if min(f.size) > 1] == known
    assert total_stride(net, (32, 32)) == known[-1][1] or isinstance(net, Larger)


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1)),
        nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, padding_mode="circular"), nn.CircularPad2d(1)),
    ],
    ids=["pools larger than the map", "padded circularly"],
)
def test_small_maps_and_circular_networks_have_no_border(net):
    layers = layer_equivariance(net.eval(), [torch.rand(3, 6, 6)], (6, 6))
    assert [layer.name for layer in layers] == [str(n) for n in range(len(layers))]
    assert max(layer.on_grid.max() for layer in layers) < 1e-6


class Through(nn.Module):
    """Down by two, up by four, down by four: maps of half a pixel between."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 4, 3, 2, 1), nn.Upsample(scale_factor=4)
        self.conv, self.pool = nn.Conv2d(4, 4, 3, padding=1), nn.AvgPool2d(4)

    def forward(self, x):
        return self.pool(self.conv(self.up(self.down(x))))


def test_maps_made_larger_are_measured_on_the_grid_that_they_went_through():
    """By two pixels of the image; one would show aliasing as if it were borders."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3))
    for padding in ("own", "circular"):
        layers = layer_equivariance(net, [torch.rand(3, 36, 36)], (32, 32), padding=padding)
        assert [(one.stride[0], one.grid[0], one.phases) for one in layers] == [
            (2, 2, (0.5,)), (1, 2, (0.5,)), (1, 2, (0.5,)),
        ]  # fmt: skip
        assert max(one.on_grid.max() for one in layers) < 1e-5
        assert min(one.sub_grid.min() for one in layers) > 1e-2
    found = find_layers(Through().eval(), torch.rand(1, 3, 32, 32))
    assert [(f.name, f.stride, f.grid) for f in found] == [("down", (2, 2), (2, 2))]


def test_dead_maps_are_null_in_json():
    net = nn.Sequential(nn.Conv2d(3, 2, 3, 2, 1), nn.ReLU())
    nn.init.constant_(net[0].bias, -100.0)
    found = rows(explain(net.eval(), [torch.rand(3, 20, 20)], (16, 16)))
    assert found[1]["aliasing_by_phase"] == {"0.5": None}
    json.dumps(found, allow_nan=False)


def test_modules_of_two_maps_are_the_rest():
    class Add(nn.Module):
        def forward(self, x, y):
            return x + y

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.add, self.conv = Add(), nn.Conv2d(1, 3, 1)

        def forward(self, x):
            return self.conv(self.add(x, x.square())).mean((2, 3))

    found = lie_by_layer(Two().eval(), [torch.rand(1, 8, 8)], (8, 8), probes=2)
    assert [layer.name for layer in found.layers] == ["conv"]
    assert found.rest[0] > 0


def test_blurs_of_mended_networks_are_layers():
    net, images = ready(Residual()), list(torch.rand(2, 3, 40, 40))
    before = {layer.name: layer for layer in layer_equivariance(net, images, (32, 32))}
    shiftable.antialias(net, torch.rand(1, 3, 32, 32))
    after = {layer.name: layer for layer in layer_equivariance(net, images, (32, 32))}
    added = set(after) - set(before)
    assert len(added) == 2
    assert all("blur" in name for name in added)
    assert after["pool"].sub_grid_mean().value < before["pool"].sub_grid_mean().value


def test_networks_stay_as_they_were():
    net = ready(Residual()).train()
    net.bn1.eval()
    modes = [module.training for module in net.modules()]
    explain(net, list(torch.rand(2, 3, 40, 40)), (32, 32), probes=2)
    assert [module.training for module in net.modules()] == modes
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


# -- the Lie derivative ----------------------------------------------------------------------------


def chain():
    return nn.Sequential(
        nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU(inplace=True),
        nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip


def changed(function, at, along):
    """J v, by all of J."""
    jacobian = torch.autograd.functional.jacobian(lambda x: function(x.clone()), at)
    return jacobian.reshape(-1, at.numel()) @ along.flatten()


def test_contributions_are_those_of_the_jacobians():
    """Every vector by automatic differentiation of a part of the network, in double precision."""
    net = ready(chain()).double()
    image = torch.rand(1, 1, 12, 12, dtype=torch.float64)
    found = lie_by_layer(net, [image[0]], (12, 12), probes=800)
    assert [layer.name for layer in found.layers] == ["0", "1", "2", "3", "4", "5"]
    maps = [image]
    for module in net:
        maps.append(module(maps[-1].clone()).detach())
    strides = [1, 1, 1, 2, 2, 4, 4]

    def moving(number):
        """By finite differences of the continuous function through the mirrored pixels."""
        one, size = maps[number], maps[number].shape[-1]
        both = torch.cat([one, one.flip(-1)], -1).numpy()
        k = np.fft.fftfreq(2 * size)
        k[size] = 0
        rate = np.fft.ifft(np.fft.fft(both) * -2j * np.pi * k / strides[number]).real
        return torch.from_numpy(rate[..., :size])

    for number, layer in enumerate(found.layers):
        rest = net[number + 1 :]
        change = changed(net[number], maps[number], moving(number))
        off = change.view_as(maps[number + 1]) - moving(number + 1)
        arrived = changed(lambda x, r=rest: r(x).softmax(1), maps[number + 1], off)
        assert layer.contribution[0] == pytest.approx(arrived.norm().item(), rel=0.1, abs=1e-9)
    # What is pointwise and linear moves along; nothing is between the modules of a chain.
    assert found.layers[0].contribution[0] < 1e-12
    assert found.layers[1].contribution[0] < 1e-12
    assert found.rest[0] < 1e-12
    whole = changed(lambda x: net(x).softmax(1), image, moving(0))
    assert found.whole[0] == pytest.approx(whole.norm().item(), rel=0.1)


def test_activations_that_are_functions_are_the_rest():
    class Functions(nn.Sequential):
        def forward(self, x):
            return super().forward(x).relu().square().mean((2, 3))

    net = ready(Functions(nn.Conv2d(1, 3, 1))).double()
    found = lie_by_layer(net, [torch.randn(1, 12, 12, dtype=torch.float64)], (12, 12), probes=8)
    assert found.layers[0].contribution[0] < 1e-12
    assert found.rest[0] == pytest.approx(found.whole[0])
    assert found.rest[0] > 1e-4


def test_probes_repeat():
    net, images = ready(chain()), list(torch.rand(3, 1, 12, 12))
    one, two, other = (
        lie_by_layer(net, images, (12, 12), probes=3, seed=seed).layers[2].contribution
        for seed in (0, 0, 1)
    )
    assert one.tolist() == two.tolist() != other.tolist()


# -- mistakes and the command ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n, i: layer_equivariance(n, i, (32, 32), padding="zero"), "known: own, circular"),
        (lambda n, i: layer_equivariance(n, i, (32, 32), phases=1), "expected phases >= 2"),
        (lambda n, i: layer_equivariance(n, i, (32, 32), batch=0), "batch >= 1, got 4 and 0"),
        (
            lambda n, i: layer_equivariance(n, [], (32, 32)),
            r"expected images \(C, H, W\), got none",
        ),
        (lambda n, i: layer_equivariance(n, i, (38, 38), padding="own"), "42x42 pixels at least"),
        (lambda n, i: layer_equivariance(nn.Flatten(), i, (32, 32)), "nothing to measure"),
        (lambda n, i: layer_equivariance(n, i, (1, 1)), "nothing to measure|failed"),
        (lambda n, i: lie_by_layer(n, i, (32, 32), axis="x"), "known: horizontal, vertical"),
        (lambda n, i: lie_by_layer(n, i, (32, 32), probes=0), "expected probes >= 1"),
        (lambda n, i: lie_by_layer(n, [], (32, 32)), "expected images .*, got none"),
        (lambda n, i: lie_by_layer(n, i, (50, 50)), "expected images of 50x50"),
        (
            lambda n, i: lie_by_layer(nn.Conv2d(3, 2, 1), i, (8, 8)),
            "expected a network with logits",
        ),
        (lambda n, i: lie_by_layer(nn.Conv2d(1, 2, 1), i, (8, 8)), "the network failed"),
    ],
)
def test_mistakes_are_told(call, message):
    with pytest.raises(ValueError, match=message):
        call(ready(Residual()), list(torch.rand(2, 3, 40, 40)))


HEAD = ["layer", "kind", "depth", "stride", "aliases", "borders", "aliasing", "both"]
LAYERS = ["conv1", "bn1", "relu", "conv2", "shortcut", "relu", "pool"]
NETS = """
import torch
from torch import nn
from torch.nn import functional as F
from tests.toys import Residual, ready

def net(): return ready(Residual())
def other(): return ready(Residual())

class Lenet(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
    def forward(self, x):
        return F.max_pool2d(self.b(F.max_pool2d(self.a(x), 2)), 2).mean((2, 3))

from tests.test_layers import LastChannels as Last
grey = [torch.rand(1, 60, 60) for _ in range(2)]
traced = torch.export.export(nn.Conv2d(3, 2, 3), (torch.rand(1, 3, 32, 32),)).module()
"""


@pytest.fixture
def layers(run, place):
    """The command, of toy networks and photographs of 48 pixels."""
    (place / "nets.py").write_text(NETS)
    torch.manual_seed(0)
    for number in range(2):
        pixels = (torch.rand(48, 48, 3) * 255).byte().numpy()
        from PIL import Image

        (place / "large").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(place / "large" / f"{number}.png")
    return lambda *more: run("layers", "nets:net", "--images", "large", "--size", "32", *more)


def test_command_prints_a_table(layers):
    done = layers("--lie", "--probes", "2", "--quiet")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "nets:net"
    assert lines[1].split()[:8] == HEAD
    assert [line.split()[0] for line in lines[2:5]] == ["conv1", "shortcut", "pool"]
    assert "Means over 2 images" in lines[-1]
    assert not any("left out" in line for line in lines)
    every = layers("--every", "--quiet").stdout.splitlines()
    assert [line.split()[0].strip(",") for line in every[2:9]] == LAYERS
    assert "relu, call 2" in every[7]


def test_command_writes_json_and_draws_several(layers, place):
    done = layers("nets:other", "--json", "--out", "depth.png", "--quiet", "--count", "1")
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert (first["network"], second["network"]) == ("nets:net", "nets:other")
    names = [row["name"] for row in first["layers"]]
    assert names == LAYERS
    pool = first["layers"][-1]
    assert pool["stride"] == [4, 4]
    assert set(pool["aliasing_by_phase"]) == {"0.25", "0.5", "0.75"}
    assert pool["circular_on_grid"]["value"] < 1e-5
    assert 0 < pool["aliasing_share"] < 1
    assert first["images"] == 1
    assert (place / "depth.png").stat().st_size > 10_000


def test_command_says_what_it_leaves_out(run, layers):
    done = run("layers", "nets:Last", "--images", "large", "--size", "32", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "[calls of modules left out: 2, whose maps are no (N, C, H, W)" in done.stdout


def test_functions_and_grey_datasets(run, layers):
    done = run("layers", "nets:Lenet", "--images", "nets:grey", "--size", "48", "--quiet")
    assert done.returncode == 0, done.stderr
    pools = [line.split() for line in done.stdout.splitlines() if "max pool" in line]
    assert [line[:2] for line in pools] == [["in", "the"], ["in", "the"]]
    assert all("%" in line[7] for line in pools)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nets:traced"], "a compiled graph has no layers to look at"),
        (["--out", "depth.pdf"], "expected a .png or .svg to write to"),
        (["--out", "none/depth.png"], "cannot write none/depth.png: there is no folder none"),
        (["--probes", "3"], "--probes are for --lie"),
        (["nets:net"], "expected distinct networks"),
        (["toy_net:maps"], "expected a torch.nn.Module, got a function"),
        (["nets:none"], "cannot find 'none'"),
        (["--phases", "1"], "phases"),
    ],
)
def test_command_tells_mistakes_in_a_line(layers, arguments, message):
    done = layers("--quiet", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


class PaddedConv(nn.Conv2d):
    """As EfficientNet-Lite0's: a convolution with a padding within."""

    def __init__(self):
        super().__init__(3, 4, 3, 2)
        self.pad = nn.ZeroPad2d(1)

    def forward(self, x):
        return super().forward(self.pad(x))


class Block(nn.Module):
    """With a parameter of its own: no layer, its convolution is one."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
        self.conv = PaddedConv()

    def forward(self, x):
        return self.gain * self.conv(x)


def test_no_layer_is_within_another():
    """Or it would count twice in the Lie derivative, and in what is left for the rest."""
    net = nn.Sequential(Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double().eval()
    for blurred in (False, True):
        if blurred:
            shiftable.antialias(net, torch.rand(1, 3, 16, 16).double())
        found = lie_by_layer(net, [torch.rand(3, 16, 16).double()], (16, 16), probes=2)
        names = {layer.name.split(" ")[0] for layer in found.layers}
        assert names <= {"0.conv", "1"}
        assert found.rest[0] < 1e-12 < found.whole[0]
    explained = explain(net, [torch.rand(3, 32, 32).double()], (16, 16))
    shares = {row["name"]: row["aliasing_share"] for row in rows(explained)}
    assert any(share is not None for share in shares.values())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes(dtype):
    net, images = ready(Residual()), list((torch.rand(1, 3, 40, 40) * 255).byte())
    found = {}
    for kind in (torch.float32, dtype):
        found[kind] = explain(net.to(kind), images, (32, 32), probes=4, scale=1 / 255)
    for one, two in zip(*(rows(f) for f in found.values()), strict=True):
        assert two["aliasing"]["value"] == pytest.approx(one["aliasing"]["value"], rel=0.1)
        assert two["lie"]["value"] == pytest.approx(one["lie"]["value"], rel=0.5, abs=1e-3)


def test_cpu_and_cuda_agree(cuda):
    net, images = ready(Residual()), list(torch.rand(2, 3, 40, 40))
    cpu = rows(explain(net, images, (32, 32), probes=2))
    for one, two in zip(cpu, rows(explain(net.to(cuda), images, (32, 32), probes=2)), strict=True):
        for what in ("aliasing", "both", "lie"):
            assert two[what]["value"] == pytest.approx(one[what]["value"], rel=1e-2, abs=1e-5)
