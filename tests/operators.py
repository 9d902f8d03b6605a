"""What must be true of every operator: its values, its gradients, how torch knows it."""

import torch
from cases import assert_matches, channels_last, strided
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

# The dense layouts of an image in memory, and one that repeats the first along the first axis.
LAYOUTS = {
    "contiguous": torch.Tensor.contiguous,
    "channels_last": channels_last,
    "expanded": lambda image: image[:1].expand_as(image),
}


def layouts(image):
    """The image in every layout; an expanded one has other values."""
    yield from (layout(image) for layout in LAYOUTS.values())
    yield from strided(image)


def strides(tensor):
    """The strides that mean anything: those of axes that are longer than one."""
    return [stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size != 1]


def assert_format(result, memory_format):
    """Dense, in this format."""
    assert result.stride() == torch.empty_like(result, memory_format=memory_format).stride()


def registered(name):
    """The operator and all that belongs to it, by name, as torch knows them."""
    return sorted(
        found.removeprefix("shiftable::")
        for found in torch._C._dispatch_get_all_op_names()
        if found.startswith(f"shiftable::{name}")
    )


def assert_adjoint(image, transposed, result, grad):
    """<A x, y> = <x, transpose(A) y>."""
    assert_close((result * grad).sum(), (image * transposed).sum())


def assert_fake_agrees(operator, tensors, *arguments):
    """The fake kernel promises the shape, strides and dtype that the real one gives."""
    real = operator(*tensors, *arguments)
    with FakeTensorMode() as mode:
        fake = operator(*map(mode.from_tensor, tensors), *arguments)
    assert (fake.shape, strides(fake), fake.dtype) == (real.shape, strides(real), real.dtype)


def values_and_gradient(function, image):
    """The result, and the gradient of a random combination of its values: always the same one."""
    image = image.detach().requires_grad_()
    result = function(image)
    weights = torch.randn(result.shape, generator=torch.Generator().manual_seed(1))
    return result, *torch.autograd.grad(result, image, torch.empty_like(result).copy_(weights))


def assert_formats_agree(function, image):
    """NCHW and channels_last give the same bits, in values and gradients."""
    found = (values_and_gradient(function, given) for given in (image, channels_last(image)))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def assert_compiles_once(function, images):
    """Compiled at the first image, it serves all the others, and equals what is not compiled."""
    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for image in images:
            got, want = (values_and_gradient(f, image) for f in (compiled, function))
            assert_close(got, want, rtol=0, atol=0)
            assert [strides(t) for t in got] == [strides(t) for t in want]


def assert_exports(function, image, other):
    """Exported at one size, it runs at another."""

    class Layer(torch.nn.Module):
        def forward(self, image):
            return function(image)

    dynamic = {"image": dict.fromkeys(range(image.dim()), torch.export.Dim.AUTO)}
    exported = torch.export.export(Layer(), (image,), dynamic_shapes=dynamic)
    assert torch.equal(exported.module()(other), function(other))


def assert_ignores_threads(threads, function, image):
    """Bit for bit the same for any number of threads."""
    found = []
    for count in (1, 2, 3):
        threads(count)
        found.append(values_and_gradient(function, image))
    assert_close(found[1], found[0], rtol=0, atol=0)
    assert_close(found[2], found[0], rtol=0, atol=0)


def assert_cpu_and_cuda_agree(cuda, function, image):
    """In values, gradients and strides."""
    on_cpu, on_cuda = (values_and_gradient(function, image.to(d)) for d in ("cpu", cuda))
    for want, got in zip(on_cpu, on_cuda, strict=True):
        assert got.is_cuda
        assert strides(got) == strides(want)
        assert_matches(got, want.double())
