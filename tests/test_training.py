"""Mended networks and layers in what people train with."""

import copy
import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from shiftable import antialias, nn
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from tests.toys import Residual, ready


class Mixed(torch.nn.Module):
    """Every layer, one after the other."""

    def __init__(self):
        super().__init__()
        self.stem = nn.BlurConv2d(3, 8, 3, 2, 1, filter_size=3, activation=torch.nn.ReLU())
        self.pool = nn.MaxBlurPool2d(2, 3)
        self.ideal = nn.IdealDownsample2d((1, 2))
        self.up = nn.BlurUpsample2d()
        self.phases = nn.PolyphaseDownsample2d(3)
        self.blur = nn.BlurPool2d()
        self.head = torch.nn.Linear(8, 5)

    def forward(self, x):
        x = self.phases(self.up(self.ideal(self.pool(self.stem(x)))))
        return self.head(self.blur(x).mean((2, 3)))


def mended():
    model = ready(Residual())
    antialias(model, torch.rand(1, 3, 32, 32))
    return model.train()


MODELS = pytest.mark.parametrize("make", [mended, lambda: Mixed().train()], ids=["mended", "mixed"])


def gradients(model, x):
    model.zero_grad()
    model(x).square().sum().backward()
    return [parameter.grad for parameter in model.parameters()]


@MODELS
def test_autocast(make):
    model, x = make(), torch.rand(4, 3, 32, 32)
    want = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        got = model(x)
    assert got.dtype == torch.bfloat16
    assert_close(got.float(), want, rtol=0.1, atol=0.1)
    assert all(grad.isfinite().all() for grad in gradients(model, x))


@MODELS
def test_compiled_in_one_graph(make):
    model, x = make(), torch.rand(4, 3, 32, 32)
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), model(x))
    assert_close(gradients(compiled, x), gradients(model, x))


@MODELS
def test_exported(make):
    model, x = make().eval(), torch.rand(4, 3, 32, 32)
    program = torch.export.export(model, (x,))
    assert_close(program.module()(x), model(x))


@MODELS
def test_channels_last(make):
    model, x = make(), torch.rand(4, 3, 32, 32)
    want = gradients(model, x)
    model.to(memory_format=torch.channels_last)
    assert_close(gradients(model, x.to(memory_format=torch.channels_last)), want, rtol=1e-4, atol=1e-4)  # fmt: skip


@MODELS
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing(make, reentrant):
    model = make().eval()  # statistics would be gathered twice
    x = torch.rand(4, 3, 32, 32, requires_grad=True)
    want = gradients(model, x)
    model.zero_grad()
    checkpoint(model, x, use_reentrant=reentrant).square().sum().backward()
    assert_close([parameter.grad for parameter in model.parameters()], want)


def _rank(rank, make, x, place, want):
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{place}", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = DistributedDataParallel(make().eval())
    half = x.chunk(2)[rank]
    (model(half).square().sum() * 2).backward()  # the mean over ranks of a sum
    got = [parameter.grad for parameter in model.module.parameters()]
    assert_close(got, want, rtol=1e-4, atol=1e-4)
    dist.destroy_process_group()


def _mixed():
    return Mixed()


@pytest.mark.parametrize("make", [mended, _mixed])
def test_distributed_data_parallel(make, tmp_path):
    torch.manual_seed(0)
    model, x = make().eval(), torch.rand(4, 3, 32, 32)
    want = gradients(model, x)
    mp.spawn(_rank, (make, x, tmp_path / "meeting", want), 2)
