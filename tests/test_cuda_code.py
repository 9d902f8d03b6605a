"""What nvcc made of the CUDA kernels: registers alone, and whole vectors (`python -m tests.cuda_code` shows all of it)."""

import re

import pytest

from tests.cuda_code import CodeUnavailableError, kernels_built

SIZES = {"float": 4, "Half": 2, "BFloat16": 2, "double": 8, "unsigned char": 1}


@pytest.fixture(scope="module")
def kernels():
    try:
        return kernels_built()
    except CodeUnavailableError as reason:
        pytest.skip(str(reason))


def test_nothing_leaves_the_registers(kernels):
    # sin() has a slow way with an array, for angles of thousands; a thread for each window takes the other one.
    kept = [kernel for kernel in kernels if not kernel.name.startswith("aim_windows")]
    assert [k.name for k in kept if k.spills or k.stack or k.local] == []
    assert len(kept) > 700


def vectors(kernels, name):
    """Kernels of that name whose vectors are of 16 bytes: V numbers, the template's fourth argument."""
    found = []
    for kernel in kernels:
        match = re.fullmatch(rf"{name}<([\w ]+), (\d+), (\d+), (\d+), (true|false)>", kernel.name)
        if match and SIZES[match[1]] * int(match[4]) == 16:
            found.append(kernel)
    assert found
    return found


def taps_and_stride(kernel):
    taps, stride = re.findall(r", (\d+)", kernel.name)[:2]
    return int(taps), int(stride)


def test_planes_move_16_bytes_at_once(kernels):
    for kernel in vectors(kernels, "filter_planes"):
        taps, stride = taps_and_stride(kernel)
        if taps >= stride:  # fewer leave pixels out, and the compiler what is not read of a vector
            assert kernel.loads[16] >= 1, kernel
        if stride == 1:  # with others a thread makes fewer results than it reads pixels
            assert kernel.stores[16] == 1, kernel
    for kernel in vectors(kernels, "transpose_planes"):
        assert kernel.stores[16] >= 1, kernel


@pytest.mark.parametrize("name", ["filter_pixels", "transpose_pixels"])
def test_pixels_move_16_bytes_at_once(kernels, name):
    for kernel in vectors(kernels, name):
        assert kernel.loads[16] >= 2, kernel
        assert kernel.stores[16] >= 1, kernel


def test_windows_are_stored_16_bytes_at_once(kernels):
    found = [k for k in kernels if re.fullmatch(r"take<[^>]*, 1, int, \w+>", k.name)]
    assert len(found) == 21  # each type from each, uint8 only from itself
    assert all(kernel.stores[16] == 2 for kernel in found)  # around the cache, or into it


def test_max_and_its_transpose_move_16_bytes_at_once(kernels):
    """Of planes; and of pixels, for up to 5 taps, the filter."""
    filters = [
        k
        for k in kernels
        if re.fullmatch(
            r"filter_map<(Half|BFloat16), \d, \d, 8>|filter_map<float, \d, \d, 4>", k.name
        )
    ]
    pixels = [k for k in kernels if re.fullmatch(r"filter_map_pixels<\w+, [2345], .*", k.name)]
    assert (len(filters), len(pixels)) == (3 * 6 * 2, 3 * 4 * 2)
    assert all(kernel.loads[16] >= 1 for kernel in filters + pixels)
    assert all(kernel.stores[16] >= 1 for kernel in pixels)
    transposes = [k for k in vectors(kernels, "transpose_map") if "true" in k.name]
    assert len(transposes) == 3 * 6 * 2
    assert all(kernel.loads[16] >= 1 and kernel.stores[16] >= 1 for kernel in transposes)
