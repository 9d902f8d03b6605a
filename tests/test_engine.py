"""How windows go through a network: batches, memory, precision, layout, compilation."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from shiftable import Sweep, evaluate, grid, line
from shiftable.choice import choose
from shiftable.engine import Forward, OutOfMemoryError, Settings
from shiftable.stream import answer, differing, read_ahead
from torch import nn
from toys import SIDE, answers, bright_pixel

A, B = [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]
SWEEP = Sweep("circular", grid(1), (SIDE, SIDE))
IMAGES = [bright_pixel()] * 3
PLAIN = Settings(4, "auto", "channels_last", False, "cpu", 1)


BATCHES = []  # that a Convolution has seen, copies of it too


@pytest.fixture(autouse=True)
def _no_batches():
    BATCHES.clear()


class Convolution(nn.Module):
    """A small network of random weights; it counts the windows that it sees."""

    def __init__(self, view=False):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.last = nn.Linear(8 * 36 if view else 8, 5)
        self.view = view

    def forward(self, x):
        BATCHES.append(len(x))
        x = self.conv(x).relu()
        x = x.view(len(x), -1) if self.view else x.mean((2, 3))
        return self.last(x)


def photos(count=3):
    return [torch.randint(0, 256, (3, 12, 12), dtype=torch.uint8) for _ in range(count)]


CROP = Sweep("crop", grid(2), (8, 8))


def answered(forward, images, sweep, numbers=None, **how):
    """The answers for some images."""
    count = len(images)
    chosen = range(count) if numbers is None else numbers
    reader = read_ahead(images, chosen, forward.device)
    return answer(forward, reader, len(chosen), sweep, [-1] * count, "abcdef"[:count], **how)


def test_a_batch_that_does_not_fit_is_shown_in_parts():
    seen, tried = [], []
    toy = answers({(1, 1): B}, A)

    def model(windows):
        tried.append(len(windows))
        if len(windows) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate ...")
        seen.append(len(windows))
        return toy(windows)

    found = evaluate(model, IMAGES, SWEEP, batch=14)
    assert tried[:3] == [14, 7, 3]
    assert sum(seen) == 27  # and nothing was lost
    assert max(tried[3:]) <= 3  # it learns
    wanted = evaluate(toy, IMAGES, SWEEP, batch=14)
    assert (found.top == wanted.top).all()
    np.testing.assert_array_equal(found.change, wanted.change)


@pytest.mark.parametrize("message", ["CUDA out of memory", "DefaultCPUAllocator: can't allocate memory: you tried ..."])  # fmt: skip
def test_a_window_that_does_not_fit_is_one_line(message):
    def model(_):
        raise RuntimeError(message)

    with pytest.raises(ValueError, match="out of memory on a single window of 0"):
        evaluate(model, IMAGES, SWEEP)


def test_a_frozen_batch_is_not_split():
    def model(_):
        raise MemoryError

    forward = Forward(model, PLAIN)
    with pytest.raises(OutOfMemoryError):
        list(answered(forward, IMAGES, SWEEP, split=False))


def test_a_network_may_use_the_memory_of_its_answer_again():
    toy, kept = answers({(0, 1): B, (1, 1): B, (-1, 0): B}, A), torch.empty(4, 3)

    def model(windows):
        found = toy(windows)
        return kept[: len(found)].copy_(found)

    found = evaluate(model, IMAGES, SWEEP, batch=4)
    wanted = evaluate(toy, IMAGES, SWEEP, batch=4)
    assert (found.top == wanted.top).all()


def test_batches_are_full_across_images():
    network = Convolution().eval()
    evaluate(network, photos(), CROP, batch=16, memory_format="channels_last")
    assert BATCHES == [16, 16, 16, 16, 11]


def test_auto_batches():
    network = Convolution().eval()
    assert choose(network, CROP, photos()[0], 3).batch == 75  # all there are
    assert choose(network, CROP, photos()[0], 1000).batch == 256
    large = Sweep("crop", line(1), (224, 224))
    image = torch.zeros(3, 256, 256, dtype=torch.uint8)
    assert choose(answers({}, A), large, image, 1000).batch == 16
    assert choose(answers({}, A), large, image, 1000, batch=1000).batch == 1000


def test_auto_precision_is_the_networks_own():
    network = Convolution().eval().to(torch.bfloat16)
    forward = Forward(network, PLAIN)
    assert forward.dtype == torch.bfloat16
    assert forward(torch.zeros(2, 3, 8, 8, dtype=torch.bfloat16)).dtype == torch.float32
    outcome = evaluate(network, photos(), CROP)
    assert outcome.probability.dtype == np.float32
    full = Forward(network, replace(PLAIN, precision="fp32"))
    assert full.dtype == torch.float32
    assert next(network.parameters()).dtype == torch.bfloat16
    settings = choose(network, CROP, photos()[0], 3)
    differ, seen = differing(network, CROP, photos(), settings, scale=1 / 255)
    assert 0 <= differ <= seen == 75


def test_lower_precision_has_to_be_asked_for_and_is_tried():
    network = Convolution().eval()
    images = photos()
    full = evaluate(network, images, CROP, scale=1 / 255)
    low = evaluate(network, images, CROP, scale=1 / 255, precision="bf16")
    assert not np.array_equal(full.probability, low.probability)
    np.testing.assert_allclose(full.probability, low.probability, atol=0.02)
    settings = choose(network, CROP, images[0], 3, precision="bf16")
    differ, seen = differing(network, CROP, images, settings, windows=10_000, scale=1 / 255)
    assert seen == 75
    assert differ == (full.predictions != low.predictions).sum()


def test_the_users_network_stays_as_it_is():
    network = Convolution().eval()
    before = {name: (t.clone(), t.stride()) for name, t in network.state_dict().items()}
    evaluate(network, photos(), CROP, precision="bf16", memory_format="channels_last")
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name][0])
        assert tensor.stride() == before[name][1]
        assert tensor.dtype == torch.float32


def test_auto_layout_is_contiguous_for_networks_that_view():
    network = Convolution(view=True).eval()
    assert choose(network, CROP, photos()[0], 3).memory_format == "contiguous"
    with pytest.raises(ValueError, match="view size is not compatible"):
        evaluate(network, photos(), CROP, memory_format="channels_last")
    assert len(evaluate(network, photos(), CROP)) == 3


def test_auto_layout_is_the_quicker_one(monkeypatch):
    class Slow(Convolution):
        def forward(self, x):
            if x.is_contiguous(memory_format=torch.channels_last):
                time.sleep(0.02)
            return super().forward(x)

    assert choose(Slow().eval(), CROP, photos()[0], 2000).memory_format == "contiguous"
    assert choose(Slow().eval(), CROP, photos()[0], 10).memory_format == "channels_last"


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, of its compiler
def test_compiled_networks_see_one_batch_size():
    network = Convolution().eval()
    images = photos()
    plain = evaluate(network, images, CROP, batch=16, scale=1 / 255)
    BATCHES.clear()
    torch._dynamo.reset()
    compiled = evaluate(
        network, images, CROP, batch=16, scale=1 / 255, compile=True, memory_format="channels_last"
    )
    np.testing.assert_allclose(plain.probability, compiled.probability, atol=1e-5)
    assert set(BATCHES) <= {16}


def test_exported_networks_of_one_batch_size_take_any_plan():
    exported = torch.export.export(Convolution().eval(), (torch.zeros(16, 3, 8, 8),)).module()
    for module in exported.modules():
        module.training = False
    outcome = evaluate(exported, photos(1), CROP, batch=16)
    assert outcome.top.shape == (1, 25, 5)


def test_images_are_read_once_and_ahead():
    class Slow:
        """Reads in another thread, while the network works."""

        def __init__(self):
            self.read, self.threads = [], set()

        def __len__(self):
            return 6

        def __getitem__(self, number):
            self.read.append(number)
            self.threads.add(threading.get_ident())
            return bright_pixel()

    images = Slow()
    forward = Forward(answers({}, A), PLAIN)
    first = next(answered(forward, images, SWEEP))
    assert first[0] == 0
    for _ in range(500):  # the first is done, and more are read without being asked for
        if len(images.read) < 4:
            time.sleep(0.01)
    assert len(images.read) >= 4
    images = Slow()
    list(answered(forward, images, SWEEP))
    assert images.read == [0, 1, 2, 3, 4, 5]
    assert threading.get_ident() not in images.threads


def test_a_fault_in_reading_arrives():
    class Faulty(list):
        def __getitem__(self, number):
            if number == 2:
                raise ValueError("cannot read the third")
            return bright_pixel()

    with pytest.raises(ValueError, match="cannot read the third"):
        evaluate(answers({}, A), Faulty([0, 1, 2]), SWEEP)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"batch": 0}, "batch >= 1"),
        ({"batch": "many"}, "batch >= 1"),
        ({"precision": "int8"}, "unknown precision 'int8'; known: auto, fp32"),
        ({"precision": "fp16"}, "fp16 is for GPUs"),
        ({"memory_format": "nhwc"}, "unknown memory_format 'nhwc'; known: auto"),
    ],
)
def test_rejects_settings(how, message):
    with pytest.raises(ValueError, match=message):
        evaluate(answers({}, A), IMAGES, SWEEP, **how)


def test_part_of_the_images():
    forward = Forward(answers({(0, 1): B}, A), replace(PLAIN, batch=5))
    found = list(answered(forward, IMAGES, SWEEP, numbers=range(1, 3)))
    assert [number for number, _ in found] == [1, 2]


def test_cuda_keeps_up(cuda):
    """On a GPU: the same answers as on the CPU, in auto batches, from pinned memory."""
    network = Convolution().eval()
    images = photos()
    wanted = evaluate(network, images, CROP, scale=1 / 255)
    found = evaluate(network.to(cuda), images, CROP, scale=1 / 255)
    np.testing.assert_allclose(found.probability, wanted.probability, atol=1e-4)
    half = evaluate(network, images, CROP, scale=1 / 255, precision="fp16")
    np.testing.assert_allclose(half.probability, wanted.probability, atol=1e-2)
