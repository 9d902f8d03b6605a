"""Others' layers under their own names, beside the installed ones: numbers, sizes, state dicts.

composer is not installed (it brings a whole trainer along): its formulas stand here in plain torch.
"""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from cases import channels_last
from operators import assert_format, values_and_gradient
from peers import peer
from shiftable import compat
from shiftable.compat import antialiased_cnns, composer, kornia, timm
from shiftable.filters import binomial
from shiftable.functional import blur_downsample
from torch.testing import assert_close

SIZES = [(17, 12), (7, 7), (4, 9)]
STRIDES = [1, 2, 3]
FILTERS = range(1, 8)


def assert_same(ours, theirs, *shapes):
    """Values and gradients, on maps of each size."""
    for shape in shapes:
        image = torch.randn(2, 3, *shape)
        got, want = values_and_gradient(ours, image), values_and_gradient(theirs, image)
        assert_close(got, want, rtol=1e-6, atol=2e-6)


def layers():
    """One of each, for maps of 3 channels, with what it wants to be called."""
    return {
        "antialiased_cnns.BlurPool": antialiased_cnns.BlurPool(3),
        "antialiased_cnns.BlurPool, 15 taps": antialiased_cnns.BlurPool(3, filt_size=15),
        "kornia.BlurPool2D": kornia.BlurPool2D(3),
        "kornia.MaxBlurPool2D": kornia.MaxBlurPool2D(4, max_pool_size=1),
        "timm.BlurPool2d": timm.BlurPool2d(3),
        "composer.BlurPool2d": composer.BlurPool2d(3),
        "composer.BlurMaxPool2d": composer.BlurMaxPool2d(3, 2, 1),
        "composer.BlurConv2d": composer.BlurConv2d(3, 3, 3, 2, 1),
        "composer.BlurConv2d, blur last": composer.BlurConv2d(3, 3, 3, 2, 1, blur_first=False),
    }


KEPT = {
    "BlurPool": (lambda: antialiased_cnns.BlurPool(3), "filt"),
    "BlurPool1D": (lambda: antialiased_cnns.BlurPool1D(3), "filt"),
    "BlurPool2d": (lambda: composer.BlurPool2d(3), "blur_filter"),
    "BlurConv2d": (lambda: composer.BlurConv2d(3, 4, 3), "blur_filter"),
}


# -- antialiased-cnns ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", FILTERS)
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("pad_type", ["refl", "reflect", "repl", "replicate", "zero"])
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_antialiased_cnns(size, stride, pad_type, offset):
    arguments = (3, pad_type, size, stride, offset)
    ours, theirs = (
        antialiased_cnns.BlurPool(*arguments),
        peer("antialiased_cnns").BlurPool(*arguments),
    )
    assert_same(ours, theirs, (17, 12), (7, 7), (6, 9))
    assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("size", FILTERS)
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("pad_type", ["reflect", "replicate", "zero"])
@pytest.mark.parametrize("offset", [0, 1])
def test_antialiased_cnns_1d(size, stride, pad_type, offset):
    arguments = (3, pad_type, size, stride, offset)
    ours = antialiased_cnns.BlurPool1D(*arguments)
    theirs = peer("antialiased_cnns.blurpool").BlurPool1D(*arguments)
    assert_same(ours, theirs, (17,), (8,), (6,))
    assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["BlurPool", "BlurPool1D"])
def test_antialiased_cnns_defaults(name):
    theirs = getattr(peer("antialiased_cnns.blurpool"), name)(3)
    assert_same(getattr(antialiased_cnns, name)(3), theirs, (9,) if "1D" in name else (9, 9))


@pytest.mark.parametrize("pad_type", ["replicate", "zero"])
@pytest.mark.parametrize("size", [2, 3, 7])
def test_antialiased_cnns_on_maps_smaller_than_its_filter(pad_type, size):
    """With these two borders the peer can."""
    arguments = (3, pad_type, size)
    ours, theirs = (
        antialiased_cnns.BlurPool(*arguments),
        peer("antialiased_cnns").BlurPool(*arguments),
    )
    assert_same(ours, theirs, (1, 1), (1, 5), (2, 3))


def test_antialiased_cnns_beyond_the_peer():
    """More than 7 taps, two strides, one pixel."""
    image = torch.randn(2, 3, 9, 12)
    layer = antialiased_cnns.BlurPool(3, filt_size=9, stride=(1, 3))
    assert torch.equal(layer(image), blur_downsample(image, binomial(9), (1, 3)))
    pixel = torch.randn(2, 3, 1, 1)
    assert_close(antialiased_cnns.BlurPool(3)(pixel), pixel)
    assert_close(antialiased_cnns.BlurPool1D(3)(pixel[..., 0]), pixel[..., 0])


def swapped(network):
    """Puts ours in the place of the peer's layers, made from their arguments."""
    theirs = peer("antialiased_cnns").BlurPool
    for module in network.modules():
        for name, child in module.named_children():
            if type(child) is theirs:
                ours = antialiased_cnns.BlurPool(child.channels, "reflect", child.filt_size, child.stride)  # fmt: skip
                setattr(module, name, ours)
    return network


def test_a_network_of_antialiased_cnns_keeps_its_weights_and_answers():
    theirs = peer("antialiased_cnns").resnet18(pretrained=False).eval()
    ours = swapped(peer("antialiased_cnns").resnet18(pretrained=False)).eval()
    assert ours.load_state_dict(theirs.state_dict()) == ([], [])
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert_close(ours(image), theirs(image), rtol=1e-4, atol=1e-5)
    assert theirs.load_state_dict(ours.state_dict()) == ([], [])


# -- kornia ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [*FILTERS, (5, 5), 11])
@pytest.mark.parametrize("stride", STRIDES)
def test_kornia(size, stride):
    filters = peer("kornia").filters
    shapes = (*SIZES, (1, 1), (2, 3))
    assert_same(kornia.BlurPool2D(size, stride), filters.BlurPool2D(size, stride), *shapes)
    assert_same(
        lambda image: kornia.blur_pool2d(image, size, stride),
        lambda image: filters.blur_pool2d(image, size, stride),
        *shapes,
    )


@pytest.mark.parametrize("size", FILTERS)
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("window", [1, 2, 3])
def test_kornia_max(size, stride, window):
    filters = peer("kornia").filters
    arguments = (size, stride, window)
    shapes = (*SIZES, (window, window))
    assert_same(kornia.MaxBlurPool2D(*arguments), filters.MaxBlurPool2D(*arguments), *shapes)
    assert_same(
        lambda image: kornia.max_blur_pool2d(image, *arguments),
        lambda image: filters.max_blur_pool2d(image, *arguments),
        *shapes,
    )


def test_kornia_defaults():
    filters = peer("kornia").filters
    assert_same(kornia.BlurPool2D(4), filters.BlurPool2D(4), *SIZES)
    assert_same(kornia.MaxBlurPool2D(4), filters.MaxBlurPool2D(4), *SIZES)


@pytest.mark.parametrize("size", FILTERS)
@pytest.mark.parametrize("stride", STRIDES)
def test_kornia_before_0_9(size, stride):
    """Its padding was the same on both sides, which takes a pixel from even filters."""
    pad = (size - 1) // 2

    def theirs(image):
        return zero_padded(image, (size, size), stride, (pad, pad))

    assert_same(kornia.BlurPool2D(size, stride, symmetric_pad=True), theirs, *SIZES)
    assert_same(
        lambda image: kornia.blur_pool2d(image, size, stride, symmetric_pad=True), theirs, *SIZES
    )
    assert_same(
        kornia.MaxBlurPool2D(size, stride, 3, symmetric_pad=True),
        lambda image: theirs(F.max_pool2d(image, 3, 1)),
        (17, 12), (9, 10),
    )  # fmt: skip
    assert_same(
        lambda image: kornia.max_blur_pool2d(image, size, stride, 3, symmetric_pad=True),
        lambda image: theirs(F.max_pool2d(image, 3, 1)),
        (17, 12), (9, 10),
    )  # fmt: skip


def zero_padded(image, size, stride, pad):
    """A binomial filter over zeros, in torch alone."""
    vertical, horizontal = (torch.tensor(binomial(k), dtype=image.dtype) for k in size)
    weight = vertical.outer(horizontal).expand(image.shape[1], 1, *size)
    return F.conv2d(image, weight, stride=stride, padding=pad, groups=image.shape[1])


def test_kornia_takes_two_sizes_and_two_strides():
    def theirs(image):
        return zero_padded(image, (3, 5), (1, 2), (1, 2))

    assert_same(kornia.BlurPool2D((3, 5), (1, 2)), theirs, *SIZES)
    assert_same(kornia.BlurPool2D((3, 5), (1, 2), symmetric_pad=True), theirs, *SIZES)


@pytest.mark.parametrize("image", [torch.ones(1, 1, 4, 4, dtype=torch.int32), torch.ones(4, 4)])
def test_kornia_refuses_integers_and_wrong_ranks(image):
    for call in (kornia.BlurPool2D(3), kornia.MaxBlurPool2D(3)):
        with pytest.raises(ValueError, match="expected"):
            call(image)
    with pytest.raises(ValueError, match="expected"):
        kornia.blur_pool2d(image, 3)
    with pytest.raises(ValueError, match="expected"):
        kornia.max_blur_pool2d(image, 3)


# -- timm ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(2, 8))
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("pad_mode", ["reflect", "replicate", "constant", "circular"])
def test_timm(size, stride, pad_mode):
    theirs = peer("timm.layers").BlurPool2d(3, size, stride, pad_mode)
    assert_same(timm.BlurPool2d(3, size, stride, pad_mode), theirs, (17, 12), (7, 7), (6, 9))
    if pad_mode in ("replicate", "constant") and not (size % 2 == 0 and stride == 1):
        assert_same(timm.BlurPool2d(3, size, stride, pad_mode), theirs, (1, 1), (1, 5), (2, 3))


def test_timm_defaults_and_beyond():
    assert_same(timm.BlurPool2d(), peer("timm.layers").BlurPool2d(3), *SIZES)
    image = torch.randn(2, 3, 9, 12)
    assert torch.equal(timm.BlurPool2d(None, 1)(image), image[..., ::2, ::2])
    want = blur_downsample(image, binomial(4), (1, 2), pad=(2, 2, 1, 1))
    assert torch.equal(timm.BlurPool2d(None, 4, (1, 2))(image), want)
    assert timm.BlurPool2d(8, device="meta", dtype=torch.float16).state_dict() == {}


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0"])
def test_timm_networks_take_the_layer(name):
    create, blur = peer("timm").create_model, peer("timm.layers").BlurPool2d
    theirs = create(name, aa_layer=blur).eval()
    ours = create(name, aa_layer=timm.BlurPool2d).eval()
    assert any(isinstance(module, timm.BlurPool2d) for module in ours.modules())
    assert ours.load_state_dict(theirs.state_dict()) == ([], [])
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert_close(ours(image), theirs(image), rtol=1e-4, atol=1e-5)


# -- composer --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [*STRIDES, (1, 2)])
@pytest.mark.parametrize("channels", [0, 3])
def test_composer(stride, channels):
    def theirs(image):
        return zero_padded(image, (3, 3), stride, 1)

    layer = composer.BlurPool2d(channels, stride, padding=7)  # what it says is not heard
    assert_same(layer, theirs, *SIZES, (1, 1), (1, 5), (2, 2))
    assert {key: tuple(value.shape) for key, value in layer.state_dict().items()} == {
        "blur_filter": (max(channels, 1), 1, 3, 3)
    }


@pytest.mark.parametrize(
    ("kernel_size", "padding", "dilation"), [(2, 0, 1), (3, 1, 1), (3, 1, 2), ((2, 3), (1, 0), 1)]
)
@pytest.mark.parametrize("stride", [None, *STRIDES])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_composer_max(kernel_size, padding, dilation, stride, ceil_mode):
    def theirs(image):
        highest = F.max_pool2d(image, kernel_size, 1, padding, dilation, ceil_mode)
        return zero_padded(highest, (3, 3), kernel_size if stride is None else stride, 1)

    layer = composer.BlurMaxPool2d(kernel_size, stride, padding, dilation, ceil_mode)
    assert_same(layer, theirs, (17, 12), (7, 7), (4, 9))
    want = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]).div(16).expand(1, 1, 3, 3)
    assert_close(layer.state_dict(), {"filt2d": want}, check_stride=False)


@pytest.mark.parametrize("blur_first", [True, False])
@pytest.mark.parametrize("stride", [*STRIDES, (1, 2)])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"padding": 1}, {"dilation": 2, "padding": "valid"}, {"groups": 3, "bias": False}],
)
def test_composer_convolution(blur_first, stride, arguments):
    layer = composer.BlurConv2d(3, 6, 3, stride, **arguments, blur_first=blur_first)
    plain = torch.nn.Conv2d(3, 6, 3, stride if blur_first else 1, **arguments)
    plain.load_state_dict(layer.conv.state_dict())

    def theirs(image):
        if blur_first:
            return plain(zero_padded(image, (3, 3), 1, 1))
        return zero_padded(plain(image), (3, 3), stride, 1)

    assert_same(layer, theirs, (17, 12), (7, 7))
    bias = [] if layer.conv.bias is None else ["conv.bias"]
    assert sorted(layer.state_dict()) == ["blur_filter", *bias, "conv.weight"]
    assert layer.blur_filter.shape == (3 if blur_first else 6, 1, 3, 3)


def test_composer_convolution_without_a_stride():
    """Where the blur comes last it is the kernel's size, as in composer, which refuses the other."""
    image = torch.randn(1, 3, 9, 9)
    assert composer.BlurConv2d(3, 6, 3, padding=1)(image).shape == (1, 6, 9, 9)
    assert composer.BlurConv2d(3, 6, 3, padding=1, blur_first=False)(image).shape == (1, 6, 3, 3)


@pytest.mark.parametrize("blur_first", [True, False])
def test_composer_convolution_in_place_of_another(blur_first):
    """Its padding mode too, which the peer drops."""
    plain = torch.nn.Conv2d(4, 6, 3, 2, 1, groups=2, padding_mode="circular", dtype=torch.float64)
    layer = composer.BlurConv2d.from_conv2d(plain, blur_first=blur_first)
    image = torch.randn(2, 4, 9, 12, dtype=torch.float64)
    if blur_first:
        want = plain(zero_padded(image, (3, 3), 1, 1))
    else:
        dense = F.conv2d(F.pad(image, (1,) * 4, "circular"), plain.weight, plain.bias, groups=2)
        want = zero_padded(dense, (3, 3), 2, 1)
    assert_close(layer(image), want)
    assert plain.stride == (2, 2)
    assert layer.conv.weight is not plain.weight


def test_composer_max_pool_in_place_of_another():
    layer = composer.BlurMaxPool2d.from_maxpool2d(torch.nn.MaxPool2d(3, 2, 1, 1, ceil_mode=True))
    assert repr(layer) == "BlurMaxPool2d(kernel_size=3, stride=2, padding=1, dilation=1)"


# -- state dicts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["BlurPool", "BlurPool1D"])
@pytest.mark.parametrize("size", FILTERS)
def test_state_moves_both_ways(name, size):
    ours = getattr(antialiased_cnns, name)(3, filt_size=size)
    theirs = getattr(peer("antialiased_cnns.blurpool"), name)(3, filt_size=size)
    taps = ours.taps
    assert ours.load_state_dict(theirs.state_dict()) == ([], [])
    assert ours.taps == taps  # exactly
    assert theirs.load_state_dict(ours.state_dict()) == ([], [])


@pytest.mark.parametrize("assign", [False, True])
def test_loaded_taps_are_used(assign):
    """Another separable filter, neither binomial nor symmetric, as the peer would apply it."""
    vertical, horizontal = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([1.3, -0.5, 0.1])
    state = {"filt": torch.outer(vertical, horizontal).repeat(3, 1, 1, 1)}
    ours = antialiased_cnns.BlurPool(3, filt_size=3)
    theirs = peer("antialiased_cnns").BlurPool(3, filt_size=3)
    ours.load_state_dict(state, assign=assign)
    theirs.load_state_dict(state)
    assert_same(ours, theirs, (7, 8))
    assert_close(ours.state_dict(), theirs.state_dict())
    signal = antialiased_cnns.BlurPool1D(3)
    signal.load_state_dict({"filt": horizontal.repeat(3, 1, 1)})
    assert_close(signal.taps, ((1.0,), (1.3, -0.5, 0.1)), check_dtype=False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("size", [4, 15])
def test_taps_survive_a_checkpoint_of_another_precision(dtype, size):
    layer, fresh = (antialiased_cnns.BlurPool(3, filt_size=size) for _ in range(2))
    fresh.load_state_dict(layer.to(dtype).state_dict())
    assert fresh.taps == (binomial(size), binomial(size))


@pytest.mark.parametrize("name", KEPT)
def test_filters_that_taps_cannot_say_are_refused(name):
    make, key = KEPT[name]
    layer = make()
    good = layer.state_dict()
    kept = good[key]
    taps = layer.taps
    varied = kept.clone()
    varied[1] *= 2
    nothing = torch.zeros_like(kept)
    bad = {"for all channels": varied, "product of vertical and horizontal": nothing}
    if kept.dim() == 4:
        corner = kept.clone()
        corner[..., 0, 0] += 0.1
        bad["whose sum"] = corner
    for reason, filters in bad.items():
        nested = torch.nn.Sequential(layer)
        with pytest.raises(RuntimeError, match=rf"0\.{key}: expected .*{reason}"):
            nested.load_state_dict({f"0.{k}": v for k, v in {**good, key: filters}.items()})
        assert layer.taps == taps
        assert torch.equal(getattr(layer, key), kept)
    with pytest.raises(RuntimeError, match="size mismatch"):
        layer.load_state_dict({**good, key: kept[:1].repeat(5, *[1] * (kept.dim() - 1))})
    with pytest.raises(RuntimeError, match="Missing key"):
        layer.load_state_dict({})


def test_a_layer_made_without_memory_loads():
    with torch.device("meta"):
        layer = antialiased_cnns.BlurPool(3)
    layer.load_state_dict(layer.state_dict(), assign=True)  # no values, no taps
    layer.load_state_dict(antialiased_cnns.BlurPool(3).state_dict(), assign=True)
    assert layer.taps == (binomial(4), binomial(4))


# -- what every one of them must do ----------------------------------------------------------------


@pytest.mark.parametrize("name", layers())
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_rounds_the_image_alone(name, dtype):
    layer = layers()[name]
    image = torch.randn(2, 3, 9, 8).to(dtype)
    if "Conv" in name:  # its weights are rounded, its taps are not
        assert layer.to(dtype)(image).dtype == dtype
        return
    want = layer(image.float()).to(dtype)
    assert torch.equal(layer(image), want)
    assert torch.equal(layer.to(dtype)(image), want)
    fine = image.double()
    assert torch.equal(layer.double()(fine), layers()[name](fine))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_beside_the_peers(dtype):
    image = torch.randn(2, 3, 9, 8).to(dtype)
    for ours, theirs in (
        (antialiased_cnns.BlurPool(3), peer("antialiased_cnns").BlurPool(3).to(dtype)),
        (kornia.BlurPool2D(3), peer("kornia").filters.BlurPool2D(3)),
        (kornia.MaxBlurPool2D(3), peer("kornia").filters.MaxBlurPool2D(3)),
        (timm.BlurPool2d(3), peer("timm.layers").BlurPool2d(3).to(dtype)),
    ):
        assert_close(ours(image), theirs(image))


@pytest.mark.parametrize("name", layers())
def test_one_pixel(name):
    image = torch.randn(2, 3, 1, 1)
    result = layers()[name](image)
    assert result.shape == image.shape
    if name == "timm.BlurPool2d":  # reflected, a pixel is its own surroundings
        assert_close(result, image)
    if name == "composer.BlurPool2d":  # zeros around it
        assert_close(result, image / 4)


@pytest.mark.parametrize("name", layers())
def test_memory_format_is_kept(name):
    layer, image = layers()[name], torch.randn(2, 3, 9, 8)
    result = layer(channels_last(image))
    assert_close(result, layer(image))
    assert_format(result, torch.channels_last)


@pytest.mark.parametrize("name", layers())
def test_compiles_whole(name):
    layer = layers()[name]
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True, dynamic=True)
    for size in (8, 9):
        image = torch.randn(2, 3, size, size)
        assert_close(values_and_gradient(compiled, image), values_and_gradient(layer, image))


@pytest.mark.parametrize("name", layers())
def test_graphs_hold_them(name):
    layer, image = layers()[name].eval(), torch.randn(2, 3, 9, 8)
    exported = torch.export.export(layer, (image,)).module()
    for graph in (torch.fx.symbolic_trace(layer), exported):
        assert torch.equal(graph(image), layer(image))


@pytest.mark.parametrize("name", layers())
def test_autocast(name):
    layer, image = layers()[name], torch.randn(2, 3, 9, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(layer(image).float(), layer(image.bfloat16()).float(), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("name", layers())
def test_copies_and_pickles(name):
    layer, image = layers()[name], torch.randn(2, 3, 9, 8)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert repr(twin) == repr(layer)
        assert torch.equal(twin(image), layer(image))


def test_layers_show_their_arguments():
    assert repr(antialiased_cnns.BlurPool(8, "refl")) == (
        "BlurPool(8, pad_type='refl', filt_size=4, stride=2, pad_off=0)"
    )
    assert repr(kornia.MaxBlurPool2D(3)) == (
        "MaxBlurPool2D(kernel_size=3, stride=2, symmetric_pad=False, max_pool_size=2)"
    )
    assert repr(timm.BlurPool2d(8)) == "BlurPool2d(filt_size=3, stride=2, pad_mode='reflect')"
    assert repr(composer.BlurPool2d(8)) == "BlurPool2d(channels=8, stride=2)"
    assert "blur_first=True, blur_stride=1" in repr(composer.BlurConv2d(3, 6, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: antialiased_cnns.BlurPool(3, "mirror"), "unknown pad_type 'mirror'; known: refl"),
        (lambda: antialiased_cnns.BlurPool(3, filt_size=0), "expected size >= 1, got 0"),
        (lambda: kornia.BlurPool2D(0), "expected size >= 1, got 0"),
        (lambda: kornia.BlurPool2D(3, 0)(torch.ones(1, 1, 4, 4)), "expected stride"),
        (lambda: kornia.MaxBlurPool2D(3)(torch.ones(1, 1, 1, 1)), "expected a max window of 2"),
        (lambda: timm.BlurPool2d(3, 0), "expected size >= 1, got 0"),
        (lambda: timm.BlurPool2d(3, 3, 2, "mirror")(torch.ones(1, 1, 4, 4)), "unknown border"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_package_names_its_peers():
    assert compat.__all__ == ["antialiased_cnns", "composer", "kornia", "timm"]
