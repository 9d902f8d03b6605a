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
    np.testing.assert_allclose(found.numpy(), wanted, atol=2e-5 if dtype == torch.float32 else 1e-9)
    assert found.dtype == dtype
    inside = found[:, room[2] : room[2] + 7, room[0] : room[0] + 9]
    assert torch.equal(inside, image)


def test_inpainting_rounds_uint8_and_stays_in_range():
    image = torch.randint(0, 256, (3, 6, 5), dtype=torch.uint8)
    found = inpainted(image, (4, 4, 4, 4))
    assert found.dtype == torch.uint8
    wanted = inpainted_by_hand(image.double().numpy(), (4, 4, 4, 4))
    assert np.abs(found.numpy() - wanted).max() <= 0.5 + 1e-3
    constant = inpainted(torch.full((1, 3, 3), 200, dtype=torch.uint8), (40, 0, 0, 40))
    assert (constant == 200).all()


@pytest.mark.parametrize(
    ("size", "pixels", "wanted"),
    [
        ((100, 100), 1, (101, 101)),
        ((100, 150), 1, (101, 152)),  # 151.5 goes up
        ((150, 100), -1, (149, 99)),  # 148.5 goes up
        ((3, 5), -2, (1, 2)),  # 1.67
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
    assert resized(image.half(), (3, 3)).dtype == torch.float16


SIZES = [(1, 1), (1, 4), (5, 1), (6, 6), (7, 5), (8, 3)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_whole_fourier_shifts_are_rolls(size, dtype):
    image = (torch.rand(2, *size) * 200).to(dtype)
    shifts = torch.tensor([[0, 0], [1, 0], [-2, 3], [9, -11]])
    found = fourier_shifted(image, shifts)
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


def test_fourier_shifts_of_odd_sizes_add_up():
    image = torch.rand(1, 7, 9, dtype=torch.float64)
    once = fourier_shifted(image, torch.tensor([[0.3, 0.5]]))[0]
    twice = fourier_shifted(once, torch.tensor([[0.7, 0.5]]))[0]
    torch.testing.assert_close(twice, torch.roll(image, (1, 1), (1, 2)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: inpainted(torch.zeros(3, 3), (0, 0, 0, 0)), r"expected an image \(C, H, W\)"),
        (lambda: inpainted(torch.zeros(1, 3, 3), (0, -1, 0, 0)), ">= 0, got"),
        (lambda: inpainted(torch.zeros(1, 0, 3), (1, 1, 1, 1)), "expected an image"),
        (lambda: resized(torch.zeros(1, 3, 3), (0, 3)), "expected a size >= 1"),
        (lambda: grown((4, 9), -4), "at least one pixel to be left of a 4x9 image"),
        (lambda: fourier_shifted(torch.zeros(1, 3, 3), torch.zeros(2)), r"shifts \(S, 2\)"),
        (lambda: fourier_shifted(torch.zeros(1, 3, 3), torch.full((1, 2), torch.nan)), "finite"),
    ],
)
def test_rejects_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
