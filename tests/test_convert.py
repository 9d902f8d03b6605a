"""Finding what lowers a network's resolution, and blurring it."""

import copy
import io
import pickle
from functools import partial

import pytest
import torch
from peers import peer
from shiftable import antialias, filters, models, strided_operations, undo_antialias
from shiftable.functional import blur_downsample
from shiftable.nn import BlurPool2d, MaxBlurPool2d
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.testing import assert_close

from tests.toys import Residual, ready

SIDE = 64


def image(*shape):
    return torch.rand(*(shape or (2, 3, 21, 24)))


def outputs(model, x):
    with torch.no_grad():
        return model(x)


# -- finding ---------------------------------------------------------------------------------------


def test_every_way_to_lower_resolution_is_found():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.depthwise = nn.Conv2d(4, 4, 3, (2, 1), 1, groups=4)
            self.patches = nn.Conv2d(4, 4, 2, 2)
            self.average = nn.AvgPool2d(2)

        def forward(self, x):
            x = F.max_pool2d(self.depthwise(x), 2)
            x = self.average(self.patches(x))
            x = F.interpolate(x, scale_factor=0.5)
            x = F.adaptive_avg_pool2d(x, 4)
            x = F.pixel_unshuffle(x[:, :, ::2], 2)
            return x.mean((2, 3))

    found = strided_operations(Net().eval(), image(1, 4, 256, 128))
    assert [(o.name, o.kind, o.stride, o.size, o.to, o.channels) for o in found] == [
        ("depthwise", "depthwise convolution", (2, 1), (256, 128), (128, 128), 4),
        ("", "max pool", (2, 2), (128, 128), (64, 64), 4),
        ("patches", "patchify convolution", (2, 2), (64, 64), (32, 32), 4),
        ("average", "average pool", (2, 2), (32, 32), (16, 16), 4),
        ("", "interpolation", (2, 2), (16, 16), (8, 8), 4),
        ("", "adaptive pool", (2, 2), (8, 8), (4, 4), 4),
        ("", "strided slice", (2, 1), (4, 4), (2, 4), 4),
        ("", "pixel unshuffle", (2, 2), (2, 4), (1, 2), 4),
    ]
    assert not any(o.blurred for o in found)


def test_calls_of_one_module_are_told_apart():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = nn.MaxPool2d(2)

        def forward(self, x):
            return self.pool(self.pool(x))

    assert [(o.name, o.call) for o in strided_operations(Twice(), image())] == [
        ("pool", 0),
        ("pool", 1),
    ]


def test_global_pools_are_none():
    """Nothing strides after them, whatever their stride is called."""
    heads = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d((19, 22)))
    assert strided_operations(heads, image()) == []


def test_the_aliasing_share_is_of_the_map_before_the_stride():
    wave = torch.cos(torch.arange(64) * 2 * torch.pi * 0.4).expand(1, 1, 64, 64)
    plain = nn.Conv2d(1, 1, 1, 2, bias=False)
    nn.init.ones_(plain.weight)
    (found,) = strided_operations(plain, wave)
    assert found.aliasing_share == pytest.approx(1, abs=1e-6)
    low = nn.Sequential(BlurPool2d(filter_size=7, stride=1), plain)  # 0.4 cycles/pixel is gone
    mixed = wave + torch.cos(torch.arange(64) * 2 * torch.pi * 0.1)
    assert strided_operations(low, mixed)[0].aliasing_share < 1e-3
    assert strided_operations(low, mixed)[0].blurred
    (pooled,) = strided_operations(BlurPool2d(filter_size=7), mixed)
    assert pooled.aliasing_share == pytest.approx(
        strided_operations(low, mixed)[0].aliasing_share, rel=1e-4
    )


def test_maps_too_small_for_a_spectrum_have_no_share():
    """The window's main lobe is wider than what a stride leaves: any map would seem to alias whole."""
    model = torch.nn.Sequential(torch.nn.MaxPool2d(2, 2), torch.nn.MaxPool2d(2, 2))
    large, small = strided_operations(model, image(1, 1, 20, 20))
    assert large.aliasing_share > 0
    assert small.aliasing_share is None


def test_more_images_than_fit_at_once_are_averaged():
    model, x = Residual().eval(), image(6, 3, 32, 32)
    apart = [strided_operations(model, one[None]) for one in x]
    for operation, own in zip(strided_operations(model, x), zip(*apart, strict=True), strict=True):
        mean = sum(o.aliasing_share for o in own) / len(own)
        assert operation.aliasing_share == pytest.approx(mean, rel=1e-5)


def test_looking_changes_nothing():
    model = Residual().train()
    model.bn1.eval()
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    x, random = image(), torch.get_rng_state()
    strided_operations(model, x)
    antialias(model, dry_run=True)
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert model.conv1.stride == (2, 2)
    assert not model.conv1._forward_hooks


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda: peer("antialiased_cnns").BlurPool(3), True),
        (lambda: peer("kornia").filters.BlurPool2D(3), True),
        (lambda: peer("timm").layers.BlurPool2d(3), True),
        (lambda: nn.Conv2d(3, 3, 3, 2, groups=3), False),
    ],
)
def test_blurs_of_other_libraries_are_known(make, wanted):
    assert [o.blurred for o in strided_operations(make(), image())] == [wanted]


# -- mending ---------------------------------------------------------------------------------------


def test_a_convolution_is_blurred_behind_its_activation():
    model = ready(nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()))
    x = image()
    dense = F.conv2d(x, model[0].weight, model[0].bias, 1, 1)
    want = blur_downsample(model[2](model[1](dense)), (0.25, 0.5, 0.25))
    report = antialias(model, x)
    assert [change.place for change in report.changed] == ["after 2"]
    assert_close(outputs(model, x), want)


def test_an_activation_that_serves_twice_is_passed_by_way_of_its_reader():
    model, x = ready(Residual()), image()
    report = antialias(model, x)
    assert [(c.operation.name, c.place) for c in report.changed] == [
        ("conv1", "before conv2"),
        ("shortcut", "before shortcut"),
        ("pool", "in its place"),
    ]
    taps = (0.25, 0.5, 0.25)
    y = F.conv2d(x, model.conv1.weight, None, 1, 1)
    y = model.conv2.forward(blur_downsample(model.bn1(y).relu(), taps))
    z = F.conv2d(blur_downsample(x, taps), model.shortcut.weight, model.shortcut.bias)
    z = MaxBlurPool2d(3, 3, max_pad=1)((y + z).relu())
    assert_close(outputs(model, x), model.head(z.mean((2, 3))))


def test_a_value_that_goes_two_ways_is_blurred_behind_the_convolution():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, 2, 1)

        def forward(self, x):
            y = self.conv(x).relu()
            return y + y.mean()

    report = antialias(Net(), image())
    assert report.changed[0].place == (
        "after conv (no one module makes its activation's result, or takes it)"
    )


def test_before_keeps_the_convolution():
    model, x = ready(Residual()), image()
    want = F.conv2d(blur_downsample(x, (0.25, 0.5, 0.25), 1), model.conv1.weight, None, 2, 1)
    antialias(model, x, order="before")
    assert model.conv1.stride == (2, 2)
    assert_close(outputs(model.conv1, x), want)
    assert not antialias(model, x, order="before").changed


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("size", [(12, 13), (15, 16)])
def test_average_pools_keep_their_windows(ceil_mode, padding, size):
    pool = nn.AvgPool2d(3, 2, padding, ceil_mode, count_include_pad=False)
    model, x = nn.Sequential(pool), image(1, 2, *size)
    want = outputs(pool, x)
    antialias(model, x, filter=(1.0,))  # one tap: only the stride is taken apart
    got = outputs(model, x)
    assert got.shape == want.shape
    inside = (slice(None), slice(None), slice(0, 5), slice(0, 5))
    assert_close(got[inside], want[inside])


@pytest.mark.parametrize("stride", [(2, 1), (1, 3), (4, 4)])
@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect"])
def test_strides_groups_dilation_and_padding_stay(stride, mode):
    convolution = nn.Conv2d(4, 4, 3, stride, 2, 2, groups=2, padding_mode=mode)
    model, x = nn.Sequential(convolution, nn.Identity()), image(1, 4, 20, 21)
    want = outputs(convolution, x)
    report = antialias(model, x, filter=(1.0,))
    assert [change.operation.stride for change in report.changed] == [stride]
    assert_close(outputs(model, x), want)
    assert (convolution.groups, convolution.dilation, convolution.padding_mode) == (2, (2, 2), mode)


def test_filters_grow_with_the_stride():
    model = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 4, 3, (2, 1)))
    report = antialias(model, image(1, 3, 64, 64), filter_size=3)
    assert [change.taps for change in report.changed] == [(9, 9), (3, 1)]


def test_padding_by_the_stride_keeps_its_alignment():
    """TensorFlow's `same` pads less at stride 1 in front: the blur starts a pixel later."""

    class Same(nn.Conv2d):
        def forward(self, x):
            pads = []
            for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size, self.stride, strict=True):  # fmt: skip
                total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
                pads += [total // 2, total - total // 2]
            return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride)

    for size in (16, 17):
        model, x = nn.Sequential(Same(3, 4, 3, 2)), image(1, 3, size, size)
        want = outputs(model, x)
        report = antialias(model, x, filter=(1.0,))
        assert len(report.changed) == 1
        assert_close(outputs(model, x), want)


def test_hooks_modes_and_parameters_are_kept():
    model = Residual().train()
    model.bn1.eval()
    called = []
    handle = model.pool.register_forward_hook(lambda *_: called.append("pool"))
    model.conv1.register_forward_hook(lambda *_: called.append("conv1"))
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    modes = {name: module.training for name, module in model.named_modules()}
    antialias(model, image())
    called.clear()
    model(image()).sum().backward()
    assert called == ["conv1", "pool"]
    handle.remove()
    model(image())
    assert called == ["conv1", "pool", "conv1"]
    assert all(new is old for new, old in zip(model.parameters(), parameters, strict=True))
    assert all(model.get_submodule(name).training == mode for name, mode in modes.items())
    before = model.conv1.weight.detach().clone()
    optimizer.step()
    assert not torch.equal(model.conv1.weight, before)


def test_copies_and_pickles_are_mended_too_and_can_be_undone():
    model, x = ready(Residual()), image()
    untouched = outputs(model, x)
    antialias(model, x)
    mended = outputs(model, x)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(outputs(again, x), mended)
        assert undo_antialias(again) == 3
        assert torch.equal(outputs(again, x), untouched)
    assert torch.equal(outputs(model, x), mended)
    stored = io.BytesIO()
    torch.save(model.state_dict(), stored)
    stored.seek(0)
    plain = ready(Residual())
    plain.load_state_dict(torch.load(stored, weights_only=True))
    assert torch.equal(outputs(plain, x), untouched)


def test_a_copy_is_mended_where_it_is_asked_for():
    model, x = ready(Residual()), image()
    untouched = outputs(model, x)
    report = antialias(model, x, inplace=False)
    assert report.model is not model
    assert torch.equal(outputs(model, x), untouched)
    assert not torch.equal(outputs(report.model, x), untouched)
    dry = antialias(model, x, dry_run=True)
    assert dry.model is model
    assert str(dry) == str(report)
    assert dry.macs_after > dry.macs_before
    assert torch.equal(outputs(model, x), untouched)


def test_names_are_included_and_excluded():
    model = Residual().eval()
    report = antialias(model, image(), include=["conv*", "pool"], exclude="pool")
    assert [change.operation.name for change in report.changed] == ["conv1"]
    assert {left.operation.name: left.reason for left in report.left} == {
        "shortcut": "not asked for",
        "pool": "not asked for",
    }
    assert [c.operation.name for c in antialias(model, image()).changed] == ["shortcut", "pool"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"include": "stem*"}, "'stem\\*' matches no operation .* conv1, shortcut, pool"),
        ({"order": "behind"}, "unknown order 'behind'; known: after, before"),
        ({"filter": "gauss"}, "unknown filter 'gauss'; known: binomial"),
        ({"filter_size": 0}, "expected size >= 1, got 0"),
        ({"example": torch.rand(1, 4, 16, 16)}, r"failed on an example of \(1, 4, 16, 16\)"),
        ({"border": "mirror"}, "unknown border 'mirror'"),
    ],
)
def test_bad_arguments_are_refused_and_leave_the_network(arguments, message):
    model, x = ready(Residual()), image()
    want = outputs(model, x)
    with pytest.raises(ValueError, match=message):
        antialias(model, **{"example": x, **arguments})
    assert torch.equal(outputs(model, x), want)
    assert undo_antialias(model) == 0


def test_what_cannot_be_mended_is_left_with_its_reason():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = nn.MaxPool2d(2, return_indices=True)
            self.narrow = nn.AdaptiveAvgPool2d(4)

        def forward(self, x):
            x, _ = self.pool(x)
            return F.max_pool2d(self.narrow(x)[..., ::2], (2, 1)).mean((2, 3))

    report = antialias(Net(), image(1, 3, 32, 32))
    assert not report.changed
    assert [left.reason.partition(",")[0].partition(";")[0] for left in report.left] == [
        "its indices are asked for",
        "its output size is fixed",
        "an index",
        "Net calls it as a function",
    ]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_and_channels_last(dtype):
    model = ready(Residual()).to(dtype).to(memory_format=torch.channels_last)
    x = image().to(dtype).contiguous(memory_format=torch.channels_last)
    report = antialias(model, x)
    assert len(report.changed) == 3
    assert outputs(model, x).dtype == dtype


# -- what surgery must not do ----------------------------------------------------------------------


def sizes_kept(model, x, kept=()):
    """Mends, with all sizes as they were outside the convolutions; returns where the blurs are."""
    seen = []
    names = [name for name, _ in model.named_modules() if name not in kept]

    def note(*arguments):
        seen.append([tuple(a.shape) for a in (arguments[1][0], arguments[2])])

    hooks = [model.get_submodule(name).register_forward_hook(note) for name in names if name]
    outputs(model, x)
    for hook in hooks:
        hook.remove()
    before, seen[:] = list(seen), []
    report = antialias(model, x)
    hooks = [model.get_submodule(name).register_forward_hook(note) for name in names if name]
    outputs(model, x)
    for hook in hooks:
        hook.remove()
    assert seen == before
    return [change.place for change in report.changed]


def network(layers, run):
    """A network of some layers and a function of it and an image."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            for name, layer in layers.items():
                setattr(self, name, layer)

        def forward(self, x):
            return run(self, x)

    return ready(Net())


def test_a_convolution_that_is_called_twice_is_blurred_both_times():
    model = network(
        {"conv": nn.Conv2d(3, 3, 3, 2, 1), "a": nn.ReLU(), "b": nn.ReLU(), "end": nn.Conv2d(3, 2, 1)},
        lambda net, x: net.end(net.b(net.conv(net.a(net.conv(x))))),
    )  # fmt: skip
    assert sizes_kept(model, image(), ["conv"]) == ["after conv (it is called more than once)"] * 2


def test_two_blurs_do_not_meet_in_one_place():
    model = network(
        {"a": nn.Conv2d(3, 4, 4, 4), "b": nn.Conv2d(4, 5, 1, 2), "end": nn.Conv2d(5, 2, 1)},
        lambda net, x: net.end(F.relu(net.b(F.relu(net.a(x))))),
    )
    places = sizes_kept(model, image(1, 3, 33, 40), ["a", "b"])
    assert places[1] == "before b"
    assert places[0].startswith(("after a", "before b"))
    taps, wide = (0.25, 0.5, 0.25), BlurPool2d(filter_size=9, stride=4)
    x = image(1, 3, 32, 32)
    y = wide(F.conv2d(x, model.a.weight, model.a.bias).relu())
    z = F.conv2d(blur_downsample(y, taps), model.b.weight, model.b.bias).relu()
    if places[0].startswith("before b"):
        assert_close(outputs(model, x), model.end(z))


def test_an_activation_in_place_whose_result_is_dropped():
    def run(net, x):
        y = net.conv(x)
        net.relu(y)
        return net.end(y)

    layers = {"conv": nn.Conv2d(3, 4, 3, 2, 1), "relu": nn.ReLU(inplace=True), "end": nn.Conv2d(4, 2, 1)}  # fmt: skip
    assert sizes_kept(network(layers, run), image(), ["conv", "relu"]) == [
        "after conv (where all else keeps its size)"
    ]


def test_values_that_are_returned_keep_their_size():
    def run(net, x):
        y = F.relu(net.conv(x))
        return {"features": y, "scores": net.end(y).mean((2, 3))}

    layers = {"conv": nn.Conv2d(3, 4, 3, 2, 1), "end": nn.Conv2d(4, 2, 1)}
    model, x = network(layers, run), image()
    before = {key: value.shape for key, value in outputs(model, x).items()}
    assert len(antialias(model, x).changed) == 1
    assert {key: value.shape for key, value in outputs(model, x).items()} == before


def test_a_value_that_is_read_inside_the_module_that_returns_it():
    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            y = F.relu(self.conv(x))
            self.aside = self.head(y)
            return y

    model = network({"inner": Inner(), "end": nn.Conv2d(4, 2, 1)}, lambda net, x: net.end(net.inner(x)))  # fmt: skip
    sizes_kept(model, image(), ["inner.conv", "inner"])


def test_children_are_what_they_were():
    """Networks call and tools look at the children of a module."""
    model = network(
        {"all": nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 4, 3, 2))},
        lambda net, x: net.all[1](F.relu(net.all[0](x))),
    )
    names = [name for name, _ in model.named_modules()]
    antialias(model, image())
    assert [name for name, _ in model.named_modules()] == names


def test_modules_that_are_registered_nowhere_are_their_callers():
    model = network({"conv": nn.Conv2d(3, 4, 3, 2)}, lambda net, x: nn.MaxPool2d(2)(nn.ReLU()(net.conv(x))))  # fmt: skip
    report = antialias(model, image())
    assert [change.operation.name for change in report.changed] == ["conv"]
    assert [left.reason for left in report.left] == [
        "Net calls it as a function; make it a module of torch.nn"
    ]


def test_a_lone_convolution_or_pool_is_mended():
    for layer in (nn.Conv2d(3, 4, 3, 2), nn.MaxPool2d(2), nn.AvgPool2d(2)):
        x = image()
        want = outputs(layer, x)
        assert len(antialias(layer, x).changed) == 1
        assert outputs(layer, x).shape == want.shape
        undo_antialias(layer)
        assert torch.equal(outputs(layer, x), want)


def test_networks_of_several_inputs():
    model = network({"conv": nn.Conv2d(3, 4, 3, 2)}, lambda net, x: None)
    model.forward = lambda x, scale: model.conv(x) * scale
    with pytest.raises(ValueError, match="or a tuple of all its arguments"):
        antialias(model, image())
    assert len(antialias(model, (image(), 2.0)).changed) == 1


def test_a_failing_call_leaves_what_earlier_ones_did(monkeypatch):
    model, x = ready(Residual()), image()
    antialias(model, x, include="conv1")
    once = outputs(model, x)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("shiftable.convert.surgery.Surgeon._disturbed", stop)
    with pytest.raises(KeyboardInterrupt):
        antialias(model, x)
    assert torch.equal(outputs(model, x), once)
    assert undo_antialias(model) == 1


def test_a_strided_blur_is_not_the_next_ones():
    model, x = nn.Sequential(BlurPool2d(), nn.MaxPool2d(2)), image()
    assert [o.blurred for o in strided_operations(model, x)] == [True, False]
    assert len(antialias(model, x).changed) == 1


@pytest.mark.parametrize("pool", [nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2)])
def test_pools_stay_the_objects_they_were(pool):
    model, x, called = nn.Sequential(nn.Conv2d(3, 4, 1), pool), image(), []
    pool.register_buffer("note", torch.ones(1))
    pool.register_full_backward_hook(lambda *_: called.append("backward"))
    keys = list(model.state_dict())
    antialias(model, x)
    assert model[1] is pool
    assert (pool.kernel_size, pool.stride) != (None, None)
    assert list(model.state_dict()) == keys
    assert "blurred by 3 taps" in repr(model)
    model(x).sum().backward()
    assert called == ["backward"]


@pytest.mark.parametrize("kernel", [2, 3, 4])
@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_average_pools_keep_their_size_at_every_size(kernel, stride, ceil_mode):
    if ceil_mode and kernel < stride:
        pytest.skip("torch drops windows that begin past the end")
    pool = nn.AvgPool2d(kernel, stride, ceil_mode=ceil_mode)
    sizes = [image(1, 1, n, n) for n in range(9, 22)]
    want = [outputs(pool, x) for x in sizes]
    assert len(antialias(pool, sizes[0], filter=(1.0,)).changed) == 1
    for x, whole in zip(sizes, want, strict=True):
        got = outputs(pool, x)
        assert got.shape == whole.shape
        inside = (x.shape[-1] - kernel) // stride + 1
        assert_close(got[..., :inside, :inside], whole[..., :inside, :inside])


def test_odd_filters_keep_the_alignment_whatever_the_stride():
    ramp = torch.arange(64.0).expand(1, 1, 64, 64)
    for stride in (2, 3, 4, 5):
        for name in filters.NAMES:
            plain = nn.Conv2d(1, 1, stride, stride, bias=False)
            nn.init.constant_(plain.weight, 1 / stride**2)
            want = outputs(plain, ramp)
            antialias(plain, ramp, filter=name)
            got = outputs(plain, ramp)
            assert_close(got[..., 4:-4, 4:-4], want[..., 4:-4, 4:-4], rtol=1e-4, atol=1e-4)


# -- families --------------------------------------------------------------------------------------

TORCHVISION = (
    "resnet18", "resnet50", "vgg11_bn", "densenet121", "mobilenet_v2", "mobilenet_v3_small",
    "efficientnet_b0", "convnext_tiny", "squeezenet1_1",
)  # fmt: skip
TIMM = (
    "resnet18", "resnet50d", "resnetblur18", "vgg11", "densenet121", "mobilenetv3_small_100",
    "efficientnet_b0", "tf_efficientnet_b0", "convnext_atto",
)  # fmt: skip
FAMILIES = {
    **{f"torchvision {name}": partial(lambda n: peer("torchvision").models.get_model(n), name)
       for name in TORCHVISION},
    **{f"timm {name}": partial(lambda n: peer("timm").create_model(n), name) for name in TIMM},
    "demo efficientnet-lite0": lambda: models.load("demo:efficientnet-lite0").model,
    "demo squeezenet": lambda: models.load("demo:squeezenet").model,
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_families(family):
    model, x = FAMILIES[family]().eval(), image(1, 3, SIDE, SIDE)
    untouched = outputs(model, x)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    structure = repr(model)

    # One tap blurs nothing: what is left is the taking apart of operation and stride.
    antialias(model, x, filter=(1.0,))
    assert_close(outputs(model, x), untouched, rtol=1e-3, atol=1e-4 * float(untouched.abs().max()))
    undo_antialias(model)

    report = antialias(model, x)
    assert len(report.changed) >= 4
    assert not report.left
    found = strided_operations(model, x)
    assert all(operation.blurred for operation in found)
    mended = outputs(model, x)
    assert mended.shape == untouched.shape
    assert not torch.equal(mended, untouched)
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())

    again = antialias(model, x)
    assert not again.changed
    assert again.macs_after == report.macs_after
    assert torch.equal(outputs(model, x), mended)

    undo_antialias(model)
    assert torch.equal(outputs(model, x), untouched)
    assert repr(model) == structure


def test_what_antialiased_cnns_and_timm_leave_is_mended():
    """Their stem's and shortcuts' strided convolutions (pool_only=True, and aa_layer)."""
    theirs = peer("antialiased_cnns").resnet50(pretrained=False).eval()
    report = antialias(theirs, image(1, 3, SIDE, SIDE))
    assert [(c.operation.name, c.operation.kind) for c in report.changed] == [
        ("conv1", "convolution")
    ]
    timms = peer("timm").create_model("resnetblur50").eval()
    report = antialias(timms, image(1, 3, SIDE, SIDE))
    assert [(c.operation.name, c.operation.kind) for c in report.changed] == [
        ("conv1", "convolution"),
        ("layer2.0.downsample.0", "shortcut convolution"),
        ("layer3.0.downsample.0", "shortcut convolution"),
        ("layer4.0.downsample.0", "shortcut convolution"),
    ]
