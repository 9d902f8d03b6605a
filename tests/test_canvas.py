"""What is done to an image before windows are cut: continued, resized, shifted whole."""

import numpy as np
import pytest
import torch
from PIL import Image
from shiftable.canvas import fourier_shifted, grown, inpainted, resized


def inpainted_by_hand(image, room):
    """The iterated normalised blur by np.convolve, for (C, H, W) arrays."""
    left, right, top, bottom = room
    taps = np.ones(1)
    for _ in range(10):
        taps = np.convolve(taps, [0.5, 0.5])

    def blur(plane):
        rows = np.apply_along_axis(np.convolve, 0, plane, taps, mode="full")[5 : 5 + len(plane)]
        return np.apply_along_axis(np.convolve, 1, rows, taps, mode="full")[
            :, 5 : 5 + len(plane[0])
        ]

    pads = ((top, bottom), (left, right))
    original = np.stack([np.pad(plane, pads) for plane in image])
    inside = np.pad(np.ones_like(image[0]), pads) > 0
    known, filled = inside.copy(), original.copy()
    while not known.all():
        weight = blur(known.astype(float))
        filled = np.stack(
            [np.where(inside, o, blur(f * known) / np.where(weight > 1e-15, weight, 1))
             for o, f in zip(original, filled, strict=True)]
        )  # fmt: skip
        known = known | (weight > 1e-15)
    return filled


@pytest.mark.parametrize("room", [(0, 0, 0, 0), (3, 0, 0, 1), (1, 9, 12, 4), (0, 23, 17, 0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inpainting_by_hand(room, dtype):
    image = torch.rand(2, 7, 9, dtype=dtype)
    found = inpainted(image, room)
    wanted = inpainted_by_hand(image.double().numpy(), room)
    np.testing.assert_allclose(
        found.numpy(), wanted, atol=1e-5 if dtype == torch.float32 else 1e-12
    )
    assert found.dtype == dtype
    inside = found[:, room[2] : room[2] + 7, room[0] : room[0] + 9]
    assert torch.equal(inside, image)


def test_inpainting_rounds_uint8_and_stays_in_range():
    image = torch.randint(0, 256, (3, 6, 5), dtype=torch.uint8)
    found = inpainted(image, (4, 4, 4, 4))
    assert found.dtype == torch.uint8
    wanted = inpainted_by_hand(image.double().numpy(), (4, 4, 4, 4))
    assert np.abs(found.numpy() - wanted).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
def test_inpainting_keeps_a_constant(dtype):
    found = inpainted(torch.full((1, 3, 2), 200, dtype=dtype), (40, 0, 7, 23))
    assert found.shape == (1, 33, 42)
    torch.testing.assert_close(found, torch.full_like(found, 200))


def test_inpainting_of_two_pixels_by_hand():
    # One new pixel beside 8 and 4, one round: its taps are the filter's centre and two after it,
    # 252 (unknown), 210 and 120 of 1024; the vertical filter cancels out.
    found = inpainted(torch.tensor([[[8.0, 4.0]]]), (1, 0, 0, 0))
    torch.testing.assert_close(found, torch.tensor([[[(210 * 8 + 120 * 4) / 330, 8.0, 4.0]]]))


def test_inpainting_knows_no_direction():
    # (Moved along the canvas it would not be the same: the canvas's own edge has a say.)
    image = torch.rand(2, 7, 9, dtype=torch.float64)
    found = inpainted(image, (3, 12, 8, 1))
    mirrored = inpainted(image.flip(2), (12, 3, 8, 1)).flip(2)
    turned = inpainted(image.mT, (8, 1, 3, 12)).mT
    torch.testing.assert_close(mirrored, found)
    torch.testing.assert_close(turned, found)


def test_inpainting_does_not_mix_channels():
    image = torch.rand(3, 5, 4)
    each = torch.cat([inpainted(channel[None], (6, 1, 0, 7)) for channel in image])
    torch.testing.assert_close(inpainted(image, (6, 1, 0, 7)), each)


@pytest.mark.parametrize(
    ("size", "pixels", "wanted"),
    [
        ((100, 100), 1, (101, 101)),
        ((100, 150), 1, (101, 152)),  # 151.5 goes up
        ((150, 100), -1, (149, 99)),  # 148.5 goes up
        ((3, 5), -2, (1, 2)),  # 1.67
        ((3, 4), 1, (4, 5)),  # 5.33
        ((1, 9), 2, (3, 27)),
        ((4, 10**17 + 2), -2, (2, 5 * 10**16 + 1)),  # more digits than a float has
        ((7, 7), 0, (7, 7)),
    ],
)
def test_grown(size, pixels, wanted):
    assert grown(size, pixels) == wanted


@pytest.mark.parametrize("size", [(20, 30), (50, 41), (24, 24)])
def test_resizing_is_as_pillow_does_it(size):
    # Within the range: Pillow cuts off what goes beyond it after each of two passes.
    image = torch.randint(80, 170, (3, 36, 31), dtype=torch.uint8)
    photo = Image.fromarray(image.permute(1, 2, 0).numpy())
    wanted = np.asarray(photo.resize(size[::-1], Image.Resampling.BICUBIC)).astype(int)
    found = resized(image, size).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(found - wanted).max() <= 1


def test_resizing_to_the_same_size_is_nothing():
    image = torch.rand(1, 5, 4)
    assert resized(image, (5, 4)) is image


def test_resizing_keeps_the_dtype_and_computes_in_it():
    image = torch.rand(1, 5, 4, dtype=torch.float64)
    found = resized(image, (3, 7))
    wanted = torch.nn.functional.interpolate(image[None], (3, 7), mode="bicubic", antialias=True)
    torch.testing.assert_close(found, wanted[0], atol=1e-14, rtol=0)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        assert resized(image.to(dtype), (3, 7)).dtype == dtype


def test_resizing_cuts_off_what_uint8_cannot_hold():
    # A bicubic filter goes past both sides of an edge.
    image = torch.zeros(1, 4, 8, dtype=torch.uint8)
    image[..., 4:] = 255
    exact = resized(image.double(), (4, 20))
    assert exact.min() < -1
    assert exact.max() > 256
    assert torch.equal(resized(image, (4, 20)), exact.clamp(0, 255).round().byte())


SIZES = [(1, 1), (1, 4), (5, 1), (6, 6), (7, 5), (8, 3)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_whole_fourier_shifts_are_rolls(size, dtype):
    image = (torch.rand(2, *size) * 200).to(dtype)
    shifts = torch.tensor([[0, 0], [1, 0], [-2, 3], [9, -11]])
    found = fourier_shifted(image, shifts)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    for (dy, dx), window in zip(shifts.tolist(), found, strict=True):
        wanted = torch.roll(image, (dy, dx), (1, 2)).to(window.dtype)
        torch.testing.assert_close(window, wanted, atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_fourier_shifts_by_a_matrix(size):
    """Against each axis's interpolation matrix, from the definition of the band-limited function."""

    def matrix(n, shift):
        # Of an even size the highest frequency is a cosine: its two ends count by half.
        found = np.zeros((n, n))
        for k in range(-(n // 2), n // 2 + 1):
            weight = 0.5 if n % 2 == 0 and abs(k) == n // 2 else 1.0
            phase = 2 * np.pi * k * (np.arange(n)[:, None] - shift - np.arange(n)) / n
            found += weight * np.cos(phase) / n
        return found

    image = torch.rand(2, *size, dtype=torch.float64)
    for dy, dx in ((0.5, 0.0), (0.25, -1.3), (-0.5, 0.5)):
        (found,) = fourier_shifted(image, torch.tensor([[dy, dx]], dtype=torch.float64))
        wanted = matrix(size[0], dy) @ image.numpy() @ matrix(size[1], dx).T
        np.testing.assert_allclose(found.numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (12, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fourier_shifts_of_waves_are_moved_waves(size, dtype):
    """Below the highest frequency the shift is that of the wave between pixels."""
    height, width = size
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in size), indexing="ij")

    def wave(dy, dx):
        turns = 2 * (y - dy) / height - (x - dx) / width
        return torch.cos(2 * torch.pi * turns + 0.4) + torch.sin(4 * torch.pi * (x - dx) / width)

    shifts = torch.tensor([[0.5, 0.0], [0.0, -0.25], [1.75, 3.125], [-20.5, 0.5]])
    found = fourier_shifted(wave(0, 0).to(dtype)[None], shifts)
    wanted = torch.stack([wave(*shift)[None] for shift in shifts.tolist()])
    exact = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(found, wanted.to(dtype), atol=exact, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_fourier_shifts_keep_the_mean(size):
    image = torch.rand(2, *size, dtype=torch.float64)
    found = fourier_shifted(image, torch.randn(5, 2) * 9)
    torch.testing.assert_close(found.mean((2, 3)), image.mean((1, 2)).expand(5, 2))


def test_no_fourier_shifts_are_no_images():
    assert fourier_shifted(torch.rand(2, 4, 3), torch.zeros(0, 2)).shape == (0, 2, 4, 3)


@pytest.mark.parametrize("size", [(7, 9), (5, 1), (1, 3)])
def test_half_a_pixel_twice_is_a_pixel(size):
    image = torch.rand(1, *size, dtype=torch.float64)
    half = torch.tensor([[0.5, 0.5]])
    twice = fourier_shifted(fourier_shifted(image, half)[0], half)[0]
    torch.testing.assert_close(twice, torch.roll(image, (1, 1), (1, 2)))


def test_fourier_shifts_of_odd_sizes_add_up():
    image = torch.rand(1, 7, 9, dtype=torch.float64)
    first, second = torch.tensor([[0.3, -1.6], [1.1, 0.25]], dtype=torch.float64)
    twice = fourier_shifted(fourier_shifted(image, first[None])[0], second[None])
    torch.testing.assert_close(twice, fourier_shifted(image, (first + second)[None]))


PLAIN = torch.zeros(1, 3, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: inpainted(PLAIN[0], (0, 0, 0, 0)), r"expected an image \(C, H, W\)"),
        (lambda: inpainted(PLAIN[:, :0], (1, 1, 1, 1)), "expected an image"),
        (lambda: inpainted(PLAIN.int(), (1, 1, 1, 1)), "uint8 or floating, got torch.int32"),
        (lambda: inpainted(PLAIN, (0, -1, 0, 0)), ">= 0, got"),
        (lambda: inpainted(PLAIN, (1, 1)), r"expected \(left, right, top, bottom\)"),
        (lambda: resized(PLAIN[None], (3, 3)), "expected an image"),
        (lambda: resized(PLAIN.short(), (4, 4)), "uint8 or floating, got torch.int16"),
        (lambda: resized(PLAIN, (0, 3)), r"expected a size \(H, W\) >= 1, got \(0, 3\)"),
        (lambda: resized(PLAIN, (3,)), r"expected a size \(H, W\) >= 1, got \(3,\)"),
        (lambda: grown((4, 9), -4), "at least one pixel to be left of a 4x9 image"),
        (lambda: grown((0, 9), 4), r"\(H, W\) >= 1 pixels, got \(0, 9\)"),
        (lambda: grown((3, 4, 9), 4), r"\(H, W\) >= 1 pixels, got \(3, 4, 9\)"),
        (lambda: fourier_shifted(PLAIN[0], torch.zeros(1, 2)), "expected an image"),
        (lambda: fourier_shifted(PLAIN, torch.zeros(2)), r"shifts \(S, 2\), got \(2,\)"),
        (lambda: fourier_shifted(PLAIN, torch.zeros(4, 3)), r"shifts \(S, 2\), got \(4, 3\)"),
        (
            lambda: fourier_shifted(PLAIN, torch.tensor([[0, 0], [0, torch.nan]])),
            r"finite shifts, got \[0.0, nan\]",
        ),
        (lambda: fourier_shifted(PLAIN, torch.full((1, 2), -torch.inf)), "finite shifts, got"),
    ],
)
def test_rejects_bad_arguments_in_a_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
