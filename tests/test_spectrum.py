"""Spectra: the share of energy above the limit of Nyquist, and what each step keeps of an image."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from shiftable.nn import BlurPool2d, IdealDownsample2d
from shiftable.spectrum import (
    NAMES,
    aliasing_share,
    downsampled,
    energy_spectrum,
    frequencies,
    log_magnitude,
    radial_average,
)
from torch.nn import functional as F  # noqa: N812


def wave(frequency, size=64, axis=-1):
    """(1, 1, size, size)."""
    row = torch.cos(torch.arange(size) * 2 * torch.pi * frequency + 0.3)
    return (row if axis == -1 else row[:, None]).expand(1, 1, size, size)


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_sinusoids_are_all_above_or_all_below(stride):
    """But for the window's leakage, which is why they keep away from the limit."""
    limit = 1 / (2 * stride)
    assert aliasing_share(wave(limit - 0.08), stride).item() < 1e-4
    assert aliasing_share(wave(limit + 0.08), stride).item() > 1 - 1e-4


def test_it_is_the_formula():
    """Written with numpy: mean taken off, Kaiser window, energies of channels added."""
    maps = torch.randn(3, 4, 15, 20)
    window = np.outer(np.kaiser(17, 8)[1:-1], np.kaiser(22, 8)[1:-1])
    outside = np.logical_or.outer(
        np.abs(np.fft.fftfreq(15)) >= 1 / 4, np.abs(np.fft.fftfreq(20)) >= 1 / 6
    )
    for got, one in zip(aliasing_share(maps, (2, 3)), maps.double().numpy(), strict=True):
        mean = (one * window).sum((1, 2), keepdims=True) / window.sum()
        energy = np.abs(np.fft.fft2((one - mean) * window)) ** 2
        assert got.item() == pytest.approx(energy[:, outside].sum() / energy.sum(), rel=1e-10)


def test_axes_of_stride_1_lose_nothing():
    assert aliasing_share(wave(0.4), (2, 1)).item() < 1e-4
    assert aliasing_share(wave(0.4), (1, 2)).item() > 1 - 1e-4
    assert aliasing_share(wave(0.4, axis=-2), (2, 1)).item() > 1 - 1e-4
    assert aliasing_share(torch.randn(2, 3, 8, 8), 1).tolist() == [0, 0]


def test_other_numbers_of_axes():
    line = torch.cos(torch.arange(64) * 2 * torch.pi * 0.4).expand(2, 3, 64)
    assert (aliasing_share(line, (2,)) > 1 - 1e-4).all()
    assert aliasing_share(torch.randn(1, 2, 4, 6, 8), (1, 2, 2)).shape == (1,)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 1, 9), (0, 3, 8, 8)])
def test_constant_tiny_and_empty_maps(shape):
    assert (aliasing_share(torch.full(shape, 3.0), 2) < 1e-20).all()
    assert aliasing_share(torch.randn(shape), 2).shape == shape[:1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype):
    share = aliasing_share(wave(0.4).to(dtype), 2)
    assert share.dtype == torch.float64
    assert share.item() > 0.99


@pytest.mark.parametrize(("size", "stride"), [(240, 3), (246, 3), (50, 5), (98, 7), (12, 6)])
def test_the_limit_itself_has_no_place_whatever_the_size(size, stride):
    """Where 1 / (2 * stride) is no binary number, too."""
    limit = wave(1 / (2 * stride), size)
    assert downsampled(limit, "ideal", stride).before.abs().max() < 1e-4
    assert downsampled(limit, "slice", stride).aliasing_share.item() > 0.6
    image = torch.rand(1, 1, size, size)
    assert downsampled(image, "ideal", stride).kept == pytest.approx(
        IdealDownsample2d(stride)(image), abs=1e-5
    )


@pytest.mark.parametrize("arguments", [(torch.randn(3, 8, 8), 2), (torch.randn(1, 3, 8, 8), 0)])
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="aliasing_share: expected maps"):
        aliasing_share(*arguments)


# -- spectra ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 64), (63, 40)])
def test_a_wave_is_where_its_frequency_is(size):
    y, x = torch.meshgrid(*(torch.arange(float(n)) for n in size), indexing="ij")
    image = torch.cos(2 * torch.pi * (0.2 * y + 0.1 * x)).expand(1, 3, *size)
    energy = energy_spectrum(image)[0]
    top = energy.flatten().topk(2).indices  # f and -f
    fy, fx = (frequencies(n).tolist() for n in size)
    found = [(fy[i // size[1]], fx[i % size[1]]) for i in top.tolist()]
    assert sorted(map(abs, found[0])) == pytest.approx([0.1, 0.2], abs=0.02)
    assert found[0][0] == pytest.approx(-found[1][0], abs=0.02)
    at, mean = radial_average(energy[None])
    assert at[mean[0].argmax()].item() == pytest.approx(0.05**0.5, abs=0.02)


def test_energies_are_numpys():
    maps = torch.randn(2, 3, 9, 12)
    window = np.outer(np.kaiser(11, 8)[1:-1], np.kaiser(14, 8)[1:-1])
    for got, one in zip(energy_spectrum(maps), maps.double().numpy(), strict=True):
        mean = (one * window).sum((1, 2), keepdims=True) / window.sum()
        wanted = np.abs(np.fft.fft2((one - mean) * window)) ** 2
        assert got.numpy() == pytest.approx(np.fft.fftshift(wanted.sum(0)), rel=1e-9)
    assert frequencies(9).tolist() == pytest.approx(np.fft.fftshift(np.fft.fftfreq(9)).tolist())


def test_rings_hold_every_frequency_up_to_the_limit():
    """By hand, of 4 x 4 frequencies: 1 at 0, 8 about 1/4 (4 of them at 0.354), 3 at 1/2."""
    energy = torch.arange(16.0, dtype=torch.float64).view(1, 4, 4)  # frequency 0 is number 10
    at, mean = radial_average(energy)
    assert at.tolist() == [0, 0.25, 0.5]
    ring = [5, 6, 7, 9, 11, 13, 14, 15]  # around number 10
    edge = [2, 8, 1, 3, 4, 12]  # at distances of 2 and sqrt(5) steps
    assert mean[0].tolist() == [10, np.mean(ring), np.mean(edge)]


def test_nothing_is_drawn_as_the_floor():
    assert log_magnitude(torch.zeros(1, 2, 2)).eq(-80).all()
    assert energy_spectrum(torch.ones(1, 1, 8, 8)).max() < 1e-20


# -- steps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_steps_keep_what_the_layers_of_their_name_give(stride):
    image, more = torch.rand(2, 3, 24, 31), stride + 1
    ones = torch.ones(3, 1, more, more) / more**2
    wanted = {
        "slice": image[..., ::stride, ::stride],
        "max": F.max_pool2d(image, stride),
        "average": F.avg_pool2d(image, stride),
        "convolution": F.conv2d(image, ones, None, stride, groups=3),
        "blur-4": BlurPool2d(filter_size=4, stride=stride)(image),
        "ideal": IdealDownsample2d(stride)(image),
    }
    for name, kept in wanted.items():
        found = downsampled(image, name, stride)
        assert found.kept == pytest.approx(kept, abs=1e-5), name
        assert torch.equal(found.kept, found.before[..., ::stride, ::stride])
        assert torch.equal(found.aliasing_share, aliasing_share(found.before, stride))


@pytest.mark.parametrize("stride", [2, 4])
def test_waves_alias_whole_or_not_at_all(stride):
    limit = 1 / (2 * stride)
    above, below = wave(limit + 0.1), wave(limit - 0.08)
    assert downsampled(above, "slice", stride).aliasing_share.item() > 1 - 1e-4
    for name in NAMES:
        if name != "max":  # of a wave it makes harmonics
            assert downsampled(below, name, stride).aliasing_share.item() < 2e-4, name
    assert downsampled(below, "max", stride).aliasing_share.item() > 1e-3


def test_photographs_alias_less_the_longer_the_blur():
    image = torch.rand(1, 3, 96, 96)
    shares = [downsampled(image, n).aliasing_share for n in ("slice", "blur-3", "blur-9", "ideal")]
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.rand(1, 3, 8, 8), "mean"), "unknown step 'mean'; known: slice, max"),
        ((torch.rand(1, 3, 8, 8), "blur-0"), "unknown step"),
        ((torch.rand(3, 8, 8), "max"), r"expected floating images \(N, C, H, W\)"),
        ((torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "max"), "of torch.uint8"),
        ((torch.rand(1, 3, 4, 8), "max"), "more pixels a side, got 4 and 4x8"),
        ((torch.rand(1, 3, 8, 8), "max", 0), "expected a stride >= 1"),
    ],
)
def test_bad_steps_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        downsampled(*arguments)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (energy_spectrum, (torch.rand(3, 8, 8),)),
        (energy_spectrum, (torch.rand(1, 1, 0, 8),)),
        (radial_average, (torch.rand(8, 8),)),
    ],
)
def test_bad_spectra_are_refused(function, arguments):
    with pytest.raises(ValueError, match=f"{function.__name__}: expected"):
        function(*arguments)


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def stripes(place):
    """Two photographs of 64 pixels: stripes of 0.4 and of 0.05 cycles/pixel."""
    for name, frequency in (("fine", 0.4), ("coarse", 0.05)):
        row = 127.5 + 120 * np.cos(2 * np.pi * frequency * np.arange(64))
        Image.fromarray(np.tile(row, (64, 1)).astype(np.uint8)).save(place / f"{name}.png")


def test_command_tells_what_aliases(run, stripes, place):
    done = run("spectrum", "fine.png", "coarse.png", "--stride", "2", "--size", "64", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    steps = {step["step"]: step for step in found["steps"]}
    assert tuple(steps) == NAMES
    assert (found["stride"], found["drawn"]) == (2, "fine.png")
    curve = steps["slice"]["curve"]
    assert curve == found["original"]
    loudest = curve["decibels"].index(0)
    assert curve["frequency"][loudest] == pytest.approx(0.4, abs=0.02)
    assert steps["slice"]["by_image"]["fine.png"] > 0.999
    assert steps["slice"]["by_image"]["coarse.png"] < 1e-3
    assert steps["slice"]["aliasing_share"]["value"] == pytest.approx(0.5, abs=1e-3)
    table = run("spectrum", "fine.png", "--stride", "2", "--size", "original", "--step", "slice")
    assert table.stdout.splitlines()[1].split() == [
        "slice",
        "strided",
        "slice",
        "100.0",
        "%",
        "[-]",
    ]


def test_floating_images_are_drawn_as_they_are(run, place, monkeypatch):
    """From 0 to 1, which is not divided by 255 once more."""
    (place / "float_images.py").write_text("import torch\nimages = [torch.ones(3, 32, 32) * 0.5]\n")
    shown = []
    monkeypatch.setattr(
        "shiftable.figures.spectrum.spectrum_figure", lambda image, *_, **__: shown.append(image)
    )
    done = run("spectrum", "float_images:images", "--size", "original", "--out", "x.png")
    assert done.returncode == 0, done.stderr
    assert shown[0].eq(0.5).all()


@pytest.mark.parametrize(
    ("more", "kind"),
    [([], "png"), (["--six-panels"], "svg"), (["--step", "max", "--step", "blur-7"], "svg")],
)
def test_command_draws(run, stripes, place, more, kind):
    done = run("spectrum", "fine.png", "--out", f"spectrum.{kind}", *more)
    assert done.returncode == 0, done.stderr
    assert (place / f"spectrum.{kind}").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.png"], "none.png"),
        (["fine.png", "--step", "sinc"], "unknown step 'sinc'"),
        (["fine.png", "--out", "x.jpg"], "expected a .png or .svg to write to"),
        (["fine.png", "--figure", "none/x.png"], "there is no folder none"),
        (["fine.png", "--six-panels"], "give --out, and no --step"),
        (["fine.png", "--stride", "64", "--size", "64"], "more pixels a side"),
        ([], "IMAGE"),
    ],
)
def test_command_tells_mistakes_in_a_line(run, stripes, arguments, message):
    done = run("spectrum", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
