"""Blurs in torch's own operators, and what other runtimes make of them."""

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from shiftable import antialias, models, nn, plain_operators
from shiftable.functional import blur_downsample
from torch.testing import assert_close

BORDERS = ("reflect", "replicate", "circular", "constant")


def exported(model, example, path):
    """The operators of an ONNX file, and a function that runs it."""
    with plain_operators(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter, about itself
        torch.onnx.export(model.eval(), (example,), path, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path)
    (given,) = session.get_inputs()
    kinds = {(node.domain, node.op_type) for node in onnx.load(path).graph.node}
    return kinds, lambda x: torch.from_numpy(session.run(None, {given.name: np.asarray(x)})[0])


LAYERS = {
    "blur": nn.BlurPool2d(),
    "wide blur": nn.BlurPool2d(filter_size=7, stride=(3, 1), border="circular"),
    "cropping blur": nn.BlurPool2d(filter_size=3, pad=(0, 2, -1, 1), border="replicate"),
    "max blur": nn.MaxBlurPool2d(3, 3, max_pad=1, ceil_mode=True),
    "blur 3d": nn.BlurPool3d(filter_size=3),
    "convolution": nn.BlurConv2d(3, 4, 3, 2, 1, activation=torch.nn.ReLU()),
    "upsampling": nn.BlurUpsample2d(),
    "ideal": nn.IdealDownsample2d(),
    "polyphase": nn.PolyphaseDownsample2d(3),
}


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("size", [(9, 12), (1, 2), (3, 1)])
def test_plain_blurs_are_the_kernels(border, size):
    """Also where the filter reaches further than torch can pad."""
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    for arguments in ({"filter_size": 3}, {"filter_size": 8, "stride": (1, 2)}):
        layer = nn.BlurPool2d(**arguments, border=border)
        pooled = nn.MaxBlurPool2d(1, **arguments, border=border)
        for one in (layer, pooled):
            want, lone = one(image), one(image[0])
            with plain_operators():
                assert_close(one(image), want)
                assert_close(one(image[0]), lone)
    scale, bias = torch.rand(3), torch.randn(3)
    prologue = {"prologue_scale": scale, "prologue_bias": bias, "prologue_relu": True}
    want = blur_downsample(image.float(), (0.5, 0.5), **prologue)
    with plain_operators():
        assert_close(blur_downsample(image.float(), (0.5, 0.5), **prologue), want)


@pytest.mark.parametrize("name", LAYERS)
def test_plain_layers_are_the_layers(name):
    layer = LAYERS[name]
    image = torch.randn((2, 3, 5, 9, 8) if name == "blur 3d" else (2, 3, 9, 8))
    want = layer(image)
    with plain_operators():
        assert_close(layer(image), want)
    assert torch.equal(layer(image), want)  # the switch is off again


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_plain_polyphase_chooses_the_same(norm):
    layer = nn.PolyphaseDownsample2d(3, (2, 3), norm=norm, return_phase=True)
    for image in (torch.randn(4, 3, 9, 8), torch.randn(3, 7, 5)):
        want, phase = layer(image)
        with plain_operators():
            got, same = layer(image)
        assert torch.equal(phase, same)
        assert_close(got, want)


@pytest.mark.parametrize("name", LAYERS)
def test_onnx_has_every_layer(name, tmp_path):
    layer = LAYERS[name]
    image = torch.randn((2, 3, 6, 10, 8) if name == "blur 3d" else (2, 3, 10, 8))
    kinds, run = exported(layer, image, tmp_path / "layer.onnx")
    assert {domain for domain, _ in kinds} == {""}
    with torch.no_grad():
        assert_close(run(image), layer(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("border", ["reflect", "constant"])
def test_onnx_has_a_mended_network(border, tmp_path):
    network = models.load("demo:squeezenet")
    image = torch.rand(1, 3, 99, 99) * 255 - 110
    antialias(network.model, image, border=border)
    kinds, run = exported(network.model, image, tmp_path / "mended.onnx")
    used = {kind for _, kind in kinds}
    assert used <= {"Concat", "Conv", "MaxPool", "Pad", "ReduceMean", "Relu"}
    assert ("Pad" in used) == (border == "reflect")  # zeros are the convolution's own
    with torch.no_grad():
        assert_close(run(image), network.model(image), rtol=1e-3, atol=1e-4)
