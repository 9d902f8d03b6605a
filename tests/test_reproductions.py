"""Published measures, written out as the loops that they are, on the same shifts as plans of ours.

Each loop here is the published formula, with the published order of averaging; where ours differs on
purpose, it is said. Networks see one window at a time in both, since a batch may round otherwise.
"""

from itertools import pairwise

import numpy as np
import pytest
import torch
from shiftable import (
    Sweep,
    by_image,
    demo,
    diagonal,
    evaluate,
    grid,
    images,
    line,
    metrics,
    models,
)
from torch import nn

WINDOW, IMAGE, CLASSES, COUNT = 32, 40, 10, 24


class Strided(nn.Module):
    """Three strided convolutions of random weights: it changes its mind often."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(11)
        sizes = (3, 16, 32)
        self.layers = nn.ModuleList(
            nn.Conv2d(inputs, 2 * inputs if inputs > 3 else 16, 3, stride=2, bias=False)
            for inputs in sizes
        )
        self.last = nn.Linear(64 * 9, CLASSES, bias=False)

    def forward(self, x):
        x = x - x.mean((1, 2, 3), keepdim=True)
        for layer in self.layers:
            x = layer(x).relu()
            x = x - x.mean((2, 3), keepdim=True)
        return 400 * self.last(x.flatten(1))


@pytest.fixture(scope="module")
def network():
    return Strided().eval()


@pytest.fixture(scope="module")
def pictures():
    """Smooth random textures, uint8."""
    make = torch.Generator().manual_seed(5)
    coarse = torch.rand(COUNT, 3, 20, 20, generator=make)
    fine = nn.functional.interpolate(coarse, (IMAGE, IMAGE), mode="bicubic").clamp(0, 1)
    return (255 * fine).round().to(torch.uint8)


LABELS = [number % CLASSES for number in range(COUNT)]
SCALE = 1 / 255


@torch.inference_mode()
def probabilities(network, windows):
    """(n, K) of uint8 windows, one at a time."""
    return torch.cat([network(w[None].float() * SCALE).softmax(1) for w in windows]).numpy()


def crop(picture, top, left):
    return picture[:, top : top + WINDOW, left : left + WINDOW]


def swept(network, pictures, protocol, plan, labels=LABELS):
    size = pictures.shape[-1] if protocol == "circular" else WINDOW
    sweep = Sweep(protocol, plan, (size, size))
    return evaluate(
        network, pictures, sweep, labels, scale=SCALE, batch=1, memory_format="contiguous"
    )


ANCHOR = (IMAGE - WINDOW) // 2  # a corner at o is the shift ANCHOR - o


def test_consistency_of_antialiased_cnns(network, pictures):
    """Two offsets a batch, the same for all of its images; agreement weighted by batch; five passes.

    There offsets are unseeded, never reach the largest one, and may coincide; ours are given.
    """
    draw = np.random.default_rng(1)
    batch, passes, reach = 8, 5, IMAGE - WINDOW
    shifts = [[] for _ in range(COUNT)]
    agreement = []
    for _ in range(passes):
        right = total = 0.0
        for first in range(0, COUNT, batch):
            one, two = draw.integers(0, reach, 2), draw.integers(0, reach, 2)
            members = pictures[first : first + batch]
            a, b = (
                probabilities(network, [crop(picture, *at) for picture in members]).argmax(1)
                for at in (one, two)
            )
            right += 100 * (a == b).mean() * len(members)
            total += len(members)
            for number in range(first, first + batch):
                shifts[number] += [tuple(ANCHOR - one), tuple(ANCHOR - two)]
        agreement.append(right / total)
    published = np.mean(agreement)
    outcome = swept(network, pictures, "crop", by_image(shifts))
    ours = 100 * metrics.summary(outcome)["consistency"].value
    assert 0 < published < 100
    assert ours == pytest.approx(published, rel=1e-15)  # five means of three are added here


def test_the_expected_consistency_of_antialiased_cnns(network, pictures):
    """All pairs of offsets, a pair of equal ones among them: what their estimate tends to."""
    reach = 4
    found = []
    for picture in pictures:
        offsets = [(y, x) for y in range(reach) for x in range(reach)]
        predicted = probabilities(network, [crop(picture, *at) for at in offsets]).argmax(1)
        found.append([[a == b for b in predicted] for a in predicted])
    outcome = swept(network, pictures, "crop", grid((ANCHOR - reach + 1, ANCHOR)))
    value = metrics.summary(outcome)["consistency_with_replacement"].value
    assert value == np.mean(found) < 1


def test_the_diagonal_of_antialiased_cnns(network, pictures):
    """Crops at (t, t): 100 p of the true class, 100 p of the best other, right or not, the class."""
    steps = IMAGE - WINDOW
    found = [probabilities(network, [crop(p, t, t) for t in range(steps)]) for p in pictures]
    # Theirs goes down and right with the corner, so ours backwards.
    outcome = swept(network, pictures, "crop", diagonal((ANCHOR - steps + 1, ANCHOR)))
    backwards = slice(None, None, -1)
    for number, (label, own) in enumerate(zip(LABELS, found, strict=True)):
        others = np.delete(own, label, axis=1).max(1)
        predicted = outcome.predictions[number, backwards]
        best_other = np.where(
            predicted == label, outcome.second_probability[number, backwards],
            outcome.probability[number, backwards],
        )  # fmt: skip
        assert (100 * outcome.label_probability[number, backwards] == 100 * own[:, label]).all()
        assert (100 * best_other == 100 * others).all()
        assert (predicted == own.argmax(1)).all()
        assert ((predicted == label) == (own.argmax(1) == label)).all()
    label_probability = np.array([own[:, y] for own, y in zip(found, LABELS, strict=True)])
    classes = np.array([own.argmax(1) for own in found])
    summary = metrics.summary(outcome)
    ranges = np.ptp(label_probability, axis=1).astype(np.float64)
    assert summary["label_range"].value == pytest.approx(ranges.mean(), rel=1e-12)
    deviation = label_probability.astype(np.float64).std(1).mean()
    assert summary["label_deviation"].value == pytest.approx(deviation, rel=1e-12)
    changes = (classes[:, 1:] != classes[:, :-1]).sum(1).mean()
    assert summary["class_changes"].value == changes > 0


def test_circular_consistency_of_aps(network, pictures):
    """Two rolls a batch, from -m to m - 1, of the input; agreement weighted by batch."""
    draw = np.random.default_rng(2)
    inputs, batch, reach = pictures[:, :, :WINDOW, :WINDOW], 5, 8
    shifts, right, total = [], 0.0, 0
    for first in range(0, COUNT, batch):
        one, two = draw.integers(-reach, reach, 2), draw.integers(-reach, reach, 2)
        members = inputs[first : first + batch]
        a, b = (
            probabilities(
                network, [torch.roll(p, tuple(map(int, by)), (1, 2)) for p in members]
            ).argmax(1)
            for by in (one, two)
        )
        right += (a == b).mean() * len(members)
        total += len(members)
        shifts += [[tuple(one), tuple(two)]] * len(members)
    outcome = swept(network, inputs, "circular", by_image(shifts))
    ours = metrics.summary(outcome)["consistency"].value
    assert ours == pytest.approx(right / total, rel=1e-15)
    assert 0 < ours < 1


def test_unshifted_against_one_roll(network, pictures):
    """As alias-free convnets have it, there with one draw for all images, here one for each."""
    draw = np.random.default_rng(3)
    inputs = pictures[:, :, :WINDOW, :WINDOW]
    rolls = [tuple(int(v) for v in draw.integers(-8, 8, 2)) for _ in range(COUNT)]
    plain = probabilities(network, inputs).argmax(1)
    rolled = [torch.roll(p, by, (1, 2)) for p, by in zip(inputs, rolls, strict=True)]
    same = (plain == probabilities(network, rolled).argmax(1)).mean()
    outcome = swept(network, inputs, "circular", by_image([[(0, 0), by] for by in rolls]))
    found = metrics.summary(outcome)
    assert found["consistency"].value == same
    assert found["changed"].value == pytest.approx(1 - same, rel=1e-15)
    accuracy, shifted = (
        (p == np.array(LABELS)).mean() for p in (plain, probabilities(network, rolled).argmax(1))
    )
    assert found["accuracy_unshifted"].value == accuracy
    assert found["accuracy"].value == pytest.approx((accuracy + shifted) / 2, rel=1e-15)


def test_agreement_of_three_and_stability(network, pictures):
    """All of three crops alike (LPS); an image and two shifts of it alike (TIPS), and correct."""
    draw = np.random.default_rng(4)
    offsets = draw.integers(0, IMAGE - WINDOW, (COUNT, 3, 2))
    offsets[:, 0] = ANCHOR  # the first is the middle crop
    classes = np.array(
        [
            probabilities(network, [crop(p, *at) for at in own]).argmax(1)
            for p, own in zip(pictures, offsets, strict=True)
        ]
    )
    same = (classes[:, 0] == classes[:, 1]) & (classes[:, 1] == classes[:, 2])
    shifts = [[tuple(ANCHOR - at) for at in own] for own in offsets]
    outcome = swept(network, pictures, "crop", by_image(shifts, group=3))
    found = metrics.summary(outcome)
    assert found["group_consistency"].value == same.mean()
    assert found["group_correct"].value == (same & (classes[:, 0] == LABELS)).mean()
    assert 0 < same.mean() < 1


@pytest.mark.parametrize("difficulty", [1, 2, 3])
def test_flips_and_ranks_of_imagenet_p(network, pictures, difficulty):
    """Twenty-one frames, each against the one `difficulty` before it: flip, top-5, Zipf.

    Theirs reads frames back from a lossy video; these are the windows themselves.
    """
    inputs = pictures[:, :, :, :]
    frames = range(-4, 5)
    flips, top5, zipf = [], [], []
    rank = np.arange(1, CLASSES + 1)
    steps_up = np.minimum(rank, 6) - 1.0  # cumulative sum of 0, 1, 1, 1, 1, 1, 0, ...
    for picture in inputs:
        own = probabilities(network, [crop(picture, ANCHOR, ANCHOR - dx) for dx in frames])
        order = np.argsort(-own, axis=1, kind="stable")
        assert len(np.unique(own)) == own.size  # no ties
        video = [[], [], []]
        for residue in range(difficulty):
            chain = list(range(residue, len(frames), difficulty))
            for before, after in pairwise(chain):
                # sigma: the rank, after, of the class at each rank before.
                sigma = np.argsort(order[after])[order[before]] + 1
                video[0].append(order[before][0] != order[after][0])
                video[1].append(np.abs(steps_up[:5] - steps_up[sigma - 1][:5]).sum())
                video[2].append((np.abs(1 / rank - 1 / sigma) / rank).sum())
        for all_of_them, one in zip((flips, top5, zipf), video, strict=True):
            all_of_them.append(np.mean(one))
    outcome = swept(network, inputs, "crop", line((-4, 4), step=difficulty))
    found = metrics.summary(outcome)
    assert found["flip_rate"].value == pytest.approx(np.mean(flips), rel=1e-14)
    assert found["top5_distance"].value == pytest.approx(np.mean(top5), rel=1e-14)
    assert found["zipf_distance"].value == pytest.approx(np.mean(zipf), rel=1e-6)  # float32 sums
    assert 0 < np.mean(flips) < 1


def test_azulay_and_weiss(network, pictures):
    """Crops at (c, c) and (c + 1, c + 1): the class, and the probability of the first one's class."""
    changes, moves = [], []
    for picture in pictures:
        for c in range(IMAGE - WINDOW):
            one, two = probabilities(network, [crop(picture, c, c), crop(picture, c + 1, c + 1)])
            changes.append(one.argmax() != two.argmax())
            moves.append(abs(one[one.argmax()] - two[one.argmax()]))
    outcome = swept(network, pictures, "crop", diagonal((ANCHOR - (IMAGE - WINDOW), ANCHOR)))
    found = metrics.summary(outcome)
    assert found["top1_change_diagonal"].value == np.mean(changes)
    moved = np.array(moves, np.float64).reshape(COUNT, -1).sum(1).sum() / len(moves)
    assert found["mac_diagonal"].value == pytest.approx(moved, rel=1e-12)
    assert 0 < np.mean(changes) < 1


def test_worst_case_by_ring_and_degradation(network, pictures):
    """Right at every shift of a ring, and at every one up to it; and the accuracy that is lost."""
    plan = grid((-1, 2))
    # Smoother ones, of which some keep their class.
    calm = nn.functional.interpolate(
        pictures[..., ::10, ::10].float(), (IMAGE, IMAGE), mode="bicubic"
    )
    pictures = calm.clamp(0, 255).to(torch.uint8)
    outcome = swept(network, pictures, "crop", plan)
    # True classes that make some images right everywhere and some not.
    labels = outcome.references.tolist()
    labels[::3] = LABELS[::3]
    outcome = swept(network, pictures, "crop", plan, labels)
    right = {
        shift: np.array(
            [
                probabilities(network, [crop(p, ANCHOR - shift[0], ANCHOR - shift[1])]).argmax()
                for p in pictures
            ]
        )
        == labels
        for shift in plan.shifts
    }
    for radius, at in metrics.by_distance(outcome).items():
        ring = [ok for (dy, dx), ok in right.items() if max(abs(dy), abs(dx)) == radius]
        near = [ok for (dy, dx), ok in right.items() if max(abs(dy), abs(dx)) <= radius]
        assert at.ring.value == np.logical_and.reduce(ring).mean()
        assert at.within.value == np.logical_and.reduce(near).mean()
    unshifted, shifted = right[0, 0].mean(), np.mean(list(right.values()))
    found = metrics.summary(outcome)["degradation"].value
    assert found == pytest.approx((unshifted - shifted) / unshifted, rel=1e-12)
    assert 0 < metrics.by_distance(outcome)[1].within.value < 1


@torch.inference_mode()
def test_a_real_network_on_real_photographs():
    """SqueezeNet's diagonal, as the loop: the same classes, and probabilities to rounding."""
    loaded = models.load("demo:squeezenet", memory_format=torch.contiguous_format)
    photographs = images.load("demo:photographs", size=(235, 235))
    some = [photographs[number] for number in range(6)]
    sweep = Sweep("crop", diagonal((-4, 4)), (227, 227))
    outcome = evaluate(
        loaded.model, some, sweep, scale=loaded.scale, bias=loaded.bias, batch=1,
        memory_format="contiguous",
    )  # fmt: skip
    scale, bias = (torch.tensor(v).view(3, 1, 1) for v in (loaded.scale, loaded.bias))
    for number, photograph in enumerate(some):
        for row, c in enumerate(range(8, -1, -1)):
            window = photograph[:, c : c + 227, c : c + 227].float() * scale + bias
            own = loaded.model(window[None]).softmax(1)[0]
            assert outcome.predictions[number, row] == own.argmax()
            assert outcome.probability[number, row] == pytest.approx(float(own.max()), abs=1e-6)
    assert len(demo.class_names()) == 1000
