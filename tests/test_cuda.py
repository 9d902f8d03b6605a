"""What operators owe a GPU beside right results: its stream, its device, its graphs; and one build for all machines."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from shiftable import _C, filters, nn
from shiftable.functional import (
    blur_downsample,
    max_blur_downsample,
    polyphase_downsample,
    take_windows,
)

TAPS = filters.binomial(4)
LAYOUTS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}


def images(cuda, dtype=torch.float32, layout="nchw", size=32):
    image = torch.randn(3, 16, size, size).to(dtype)
    return image.to(cuda).contiguous(memory_format=LAYOUTS[layout])


def calls(image):
    """Every operator and its transpose, as functions of an image on a GPU."""
    scale = torch.linspace(-1, 1, image.shape[1]).to(image.device)
    corners = torch.tensor([[0, 3], [-2, 5]], device=image.device)

    def gradient(function):
        def both(image):
            leaf = image.detach().requires_grad_()
            return torch.autograd.grad(function(leaf).square().sum(), leaf)[0]

        return both

    forward = {
        "blur": lambda image: blur_downsample(image, TAPS),
        "prologue": lambda image: blur_downsample(
            image, TAPS, prologue_scale=scale, prologue_bias=scale, prologue_relu=True
        ),
        "max": lambda image: max_blur_downsample(image, 3, TAPS, max_pad=1),
        "polyphase": lambda image: polyphase_downsample(image, TAPS)[0],
        "windows": lambda image: take_windows(image, corners, (24, 24), border="circular"),
        "between": lambda image: take_windows(image, corners + 0.25, (24, 24), scale=2.0),
    }
    yield from forward.items()
    for name, function in forward.items():
        yield f"{name}, gradient", gradient(function)


# -- on a GPU ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("size", [32, 28, 27])
def test_equals_the_cpu_bit_for_bit(cuda, dtype, layout, size):
    """Where the CPU fuses multiply and add as a GPU does; but for the sign of zeros."""
    if _C.cpu_variant() == "baseline":
        pytest.skip("this CPU does not fuse multiply and add")
    image = images(cuda, dtype, layout, size)
    on_cpu = image.cpu().contiguous(memory_format=LAYOUTS[layout])
    for (name, function), (_, other) in zip(calls(image), calls(on_cpu), strict=True):
        assert torch.equal(function(image).cpu(), other(on_cpu)), name


def test_runs_on_the_current_stream(cuda):
    """Behind what is there, before what comes: the image is ready only after a long wait."""
    image = images(cuda)
    for name, function in calls(image):
        want = function(image)
        torch.cuda.synchronize()
        late, stream = torch.zeros_like(image), torch.cuda.Stream()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(50_000_000)
            late.copy_(image)
            got = function(late)
        stream.synchronize()
        assert torch.equal(got, want), name


def test_does_not_wait_for_the_gpu(cuda):
    image, corners = images(cuda), torch.tensor([[1, 2], [3, 4]])
    on_the_cpu = ("corners of the CPU", lambda image: take_windows(image, corners, (9, 9)))
    for name, function in [*calls(image), on_the_cpu]:
        function(image)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            function(image)
        except RuntimeError as error:
            pytest.fail(f"{name}: {error}")
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_can_be_captured_in_a_graph(cuda):
    image = images(cuda)
    for name, function in calls(image):
        static = image.clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            function(static)  # kernels are loaded at their first launch
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = function(static)
        for number in (1, 2):
            other = torch.randn_like(image) * number
            static.copy_(other)
            graph.replay()
            torch.cuda.synchronize()
            assert torch.equal(result, function(other)), name


def test_compiles_with_graphs(cuda):
    layer = torch.nn.Sequential(
        torch.nn.ReLU(), nn.BlurPool2d(16, 4), nn.MaxBlurPool2d(3, max_pad=1)
    )
    compiled = torch.compile(layer.to(cuda), mode="reduce-overhead", fullgraph=True)
    image = images(cuda)
    with torch.no_grad():
        for _ in range(4):  # recorded, then replayed
            assert torch.equal(compiled(image), layer(image))


def test_runs_on_the_device_of_the_image(cuda):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    other = torch.device("cuda", 1)
    for name, function in calls(images(other)):
        result = function(images(other))
        assert result.device == other, name
        assert torch.equal(result.cpu(), function(images(other)).cpu()), name


def test_refuses_tensors_of_two_devices(cuda):
    image = images(cuda)
    with pytest.raises(ValueError, match="out on the image's device"):
        blur_downsample(image, TAPS, out=torch.empty(3, 16, 16, 16))
    with pytest.raises(ValueError, match="prologue on the image's device"):
        blur_downsample(image, TAPS, prologue_scale=torch.ones(16))
    with pytest.raises(ValueError, match="phase on the image's device"):
        polyphase_downsample(image, TAPS, phase=torch.tensor(0))


def test_any_corner_of_a_gpu_is_safe(cuda):
    """Nobody looks at them before the kernel does: it must not read outside of the image."""
    far = torch.tensor(
        [[float("nan"), 0], [float("inf"), -float("inf")], [1e300, -1e300], [3e9, 0.5]], device=cuda
    )
    for border in _C.borders():
        windows = take_windows(images(cuda)[:1], far, (8, 8), border=border, fill=2)
        assert bool(windows.isfinite().all())
    torch.cuda.synchronize()


def test_any_phase_of_a_gpu_is_safe(cuda):
    """Likewise: it counts as the nearest."""
    image = images(cuda)
    far, near = (torch.tensor(p, device=cuda) for p in ([-(2**40), 1, 2**40], [0, 1, 3]))
    got, want = (polyphase_downsample(image, TAPS, phase=phase)[0] for phase in (far, near))
    assert torch.equal(got, want)


def test_corners_may_lie_on_the_cpu(cuda):
    corners, image = torch.tensor([[1, 2], [-3, 40]]), images(cuda)
    want = take_windows(image, corners.to(cuda), (8, 8), border="reflect")
    assert torch.equal(take_windows(image, corners, (8, 8), border="reflect"), want)
    with pytest.raises(ValueError, match=r"corners within 2\^40 pixels"):
        take_windows(image, torch.tensor([[2**41, 0]]), (8, 8))


def test_more_than_2_31_numbers(cuda):
    if torch.cuda.get_device_properties(cuda).total_memory < 30 << 30:
        pytest.skip("needs 30 GB")
    image = torch.zeros(1, (1 << 31) // 1024 + 5, 32, 32, dtype=torch.float16, device=cuda)
    image[:, -1] = torch.randn(32, 32)
    assert torch.equal(
        blur_downsample(image, TAPS)[:, -1], blur_downsample(image[:, -1:], TAPS)[:, 0]
    )


def test_works_under_autocast(cuda):
    network = torch.nn.Sequential(torch.nn.Conv2d(16, 8, 3), nn.BlurPool2d(8)).to(cuda)
    with torch.autocast("cuda", torch.float16):
        result = network(images(cuda))
    assert result.dtype == torch.float16
    result.float().sum().backward()
    assert network[0].weight.grad is not None


# -- on every machine -------------------------------------------------------------------------------


def test_both_devices_are_registered():
    """Also in a build without CUDA, which then says so, and beside a torch without it."""
    for name in torch._C._dispatch_get_all_op_names():
        if not name.startswith("shiftable::"):
            continue
        for key in ("CPU", "CUDA"):
            assert torch._C._dispatch_has_kernel_for_dispatch_key(name, key), (name, key)


@pytest.mark.skipif(shutil.which("readelf") is None, reason="needs readelf")
def test_one_build_loads_beside_every_torch():
    """CUDA's runtime is in it; torch's CUDA half is asked for where it is, and not missed where it is not."""
    path = str(Path(_C.__file__))
    needed = subprocess.run(["readelf", "-d", path], capture_output=True, text=True).stdout
    assert "libtorch.so" in needed  # brings a CUDA torch's other libraries along
    assert "libcuda" not in needed
    symbols = subprocess.run(["readelf", "-Ws", path], capture_output=True, text=True).stdout
    (stream,) = {
        line.split()[4]
        for line in symbols.splitlines()
        if "aoti_torch_get_current_cuda_stream" in line
    }
    assert stream == "WEAK"


def test_imports_without_a_driver():
    code = "import torch; from shiftable import _C; print(_C.cuda_device_count())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "0\n", done.stderr
