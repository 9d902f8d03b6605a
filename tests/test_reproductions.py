"""Published measures, written out as the loops that they are, on the same shifts as plans of ours.

Each loop draws its offsets, cuts or rolls the image, asks the network and averages, in the
published order; what ours does otherwise on purpose is said. Two things make equality exact. Both
show the network one window at a time, since a batch may round otherwise. And the loops average
fractions, so that the only rounding of a share is its last, which is the only one of ours as well.
"""

import statistics
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from shiftable import (
    Sweep,
    by_image,
    diagonal,
    evaluate,
    grid,
    images,
    line,
    metrics,
    models,
)
from torch import nn

WINDOW, IMAGE, CLASSES, COUNT, BATCH = 32, 40, 10, 32, 8
ANCHOR = (IMAGE - WINDOW) // 2  # a corner at o is the shift ANCHOR - o
REACH = IMAGE - WINDOW
SCALE = 1 / 255


@pytest.fixture(autouse=True)
def _one_thread(threads):
    """On so small a network and a busy machine, a second thread is waited for, not helpful."""
    threads(1)


class Strided(nn.Module):
    """Three strided convolutions of random weights: its class depends on where the image is."""

    def __init__(self):
        super().__init__()
        make = torch.Generator().manual_seed(11)
        self.layers = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, stride=2, bias=False)
            for inputs, outputs in pairwise((3, 16, 32, CLASSES))
        )
        for layer in self.layers:
            fan_in = layer.weight[0].numel()
            weight = torch.randn(layer.weight.shape, generator=make) / fan_in**0.5
            layer.weight = nn.Parameter(weight)

    def forward(self, x):
        x = x - x.mean((1, 2, 3), keepdim=True)
        for layer in self.layers[:-1]:
            x = layer(x).relu()
            x = x - x.mean((2, 3), keepdim=True)
        return 120 * self.layers[-1](x).relu().mean((2, 3))  # neither sure nor undecided


def textures(height, width, seed=5):
    """Random textures (COUNT, 3, height, width), uint8: from smooth ones to fine ones, in turn."""
    make = torch.Generator().manual_seed(seed)
    made = []
    for number in range(COUNT):
        cells = (2, 3, 5, 17)[number % 4]
        coarse = torch.rand(1, 3, cells, cells, generator=make)
        made.append(nn.functional.interpolate(coarse, (height, width), mode="bicubic"))
    return (255 * torch.cat(made).clamp(0, 1)).round().to(torch.uint8)


@pytest.fixture(scope="module")
def network():
    return Strided().eval()


@pytest.fixture(scope="module")
def pictures():
    return textures(IMAGE, IMAGE)


@pytest.fixture(scope="module")
def inputs():
    """Of the window's own size, for rolls."""
    return textures(WINDOW, WINDOW)


@torch.inference_mode()
def probabilities(network, windows):
    """(n, K) of uint8 windows, shown one at a time."""
    return torch.cat([network(w[None].float() * SCALE).softmax(1) for w in windows]).numpy()


def predicted(network, windows):
    return probabilities(network, windows).argmax(1)


def plausible(classes):
    """True classes of which the network hits many: those it says, but for every third image."""
    labels = classes.copy()
    labels[::3] = (labels[::3] + 1) % CLASSES
    return labels


def crop(picture, top, left):
    return picture[:, top : top + WINDOW, left : left + WINDOW]


def rolled(picture, dy, dx):
    return torch.roll(picture, (int(dy), int(dx)), (1, 2))


def zero_filled(picture, dy, dx):
    """The content moves by (dy, dx); black enters."""
    room = 8
    wide = nn.functional.pad(picture, (room, room, room, room))
    return wide[:, room - dy : room - dy + WINDOW, room - dx : room - dx + WINDOW]


def share(values):
    """The exact mean."""
    exact = [value if isinstance(value, Fraction) else Fraction(float(value)) for value in values]
    return sum(exact) / len(exact)


def swept(network, pictures, protocol, plan, labels=None):
    return evaluate(
        network, pictures, Sweep(protocol, plan, (WINDOW, WINDOW)), labels, scale=SCALE, batch=1,
        memory_format="contiguous",
    )  # fmt: skip


def value(outcome, name):
    return metrics.summary(outcome, [name])[name].value


def within_one_ulp(ours, published):
    """Where float64 sums of float32 numbers are ours, and exact ones the loop's."""
    return abs(ours - float(published)) <= np.spacing(float(published))


def test_consistency_of_antialiased_cnns(network, pictures):
    """Five passes; in each, two offsets a batch, the same for all its images, from 0..R-1.

    Agreement is averaged over a batch, then over batches by their size, then over passes. There the
    offsets are unseeded, never reach R, and may coincide, which ours as drawn by `random_pairs` do
    not: `by_image` takes them as they were drawn. Theirs is in percent, ours a share.
    """
    draw = np.random.default_rng(22)
    shifts = [[] for _ in range(COUNT)]
    passes, coincide = [], 0
    for _ in range(5):
        total = Fraction(0)
        for first in range(0, COUNT, BATCH):
            off0, off1 = draw.integers(0, REACH, (2, 2))  # two numbers each: y and x
            coincide += (off0 == off1).all()
            members = pictures[first : first + BATCH]
            one, two = (predicted(network, [crop(p, *at) for p in members]) for at in (off0, off1))
            total += share(one == two) * len(members)
            for own in shifts[first : first + BATCH]:
                own += [tuple(ANCHOR - off0), tuple(ANCHOR - off1)]
        passes.append(total / COUNT)
    published = share(passes)
    assert coincide > 0
    assert 0 < published < 1
    outcome = swept(network, pictures, "crop", by_image(shifts))
    assert value(outcome, "consistency") == float(published)


def test_expected_consistency_of_antialiased_cnns(network, pictures):
    """The mean over all pairs of offsets, two equal ones included: what their estimate tends to.

    The images are 36 pixels wide, the offsets 0..3 and the shifts -1..2, as 256, 0..31 and -15..16
    are on ImageNet. Without the pairs of a shift with itself, `consistency` is lower.
    """
    reach = 4
    small = pictures[:, :, : WINDOW + reach, : WINDOW + reach]
    offsets = list(product(range(reach), repeat=2))
    classes = [predicted(network, [crop(p, *at) for p in small]) for at in offsets]
    published = share([share(one == two) for one, two in product(classes, repeat=2)])
    outcome = swept(network, small, "crop", grid((-1, 2)))
    assert value(outcome, "consistency_with_replacement") == float(published)
    assert 1 / len(offsets) < published < 1
    assert value(outcome, "consistency") < published


def test_diagonal_of_antialiased_cnns(network, pictures):
    """Crops at (t, t), t = 0..R, of one image in one forward, and four arrays of the answers.

    100 p of the true class, 100 times the largest other one, whether it is right, and the class.
    Theirs saves them and prints means of the first and third; range, deviation and changes are
    ours.
    Their corner goes down and right, so the content up and left: our shifts in reverse order.
    """
    corners = range(REACH + 1)
    found = [probabilities(network, [crop(p, t, t) for t in corners]) for p in pictures]
    labels = plausible(np.array([own[ANCHOR].argmax() for own in found]))
    outcome = swept(network, pictures, "crop", diagonal((ANCHOR - REACH, ANCHOR)), labels)
    assert outcome.shifts_for(0)[::-1].tolist() == [[ANCHOR - t] * 2 for t in corners]
    for number, (label, own) in enumerate(zip(labels, found, strict=True)):
        top = outcome.predictions[number, ::-1]
        first, second = outcome.probability[number, ::-1], outcome.second_probability[number, ::-1]
        probs, probs2 = 100 * own[:, label], 100 * np.delete(own, label, axis=1).max(1)
        assert (100 * outcome.label_probability[number, ::-1] == probs).all()
        assert (100 * np.where(top == label, second, first) == probs2).all()
        assert (outcome.correct[number, ::-1] == (own.argmax(1) == label)).all()
        assert (top == own.argmax(1)).all()
        # All in one forward, as they do it: convolutions may round otherwise, by some 1e-8 of an
        # output that is then multiplied by 120.
        with torch.inference_mode():
            windows = torch.stack([crop(pictures[number], t, t) for t in corners])
            together = network(windows.float() * SCALE).softmax(1).numpy()
        assert (together.argmax(1) == top).all()
        assert np.abs(together[:, label] - outcome.label_probability[number, ::-1]).max() < 1e-5
    of_label = [own[:, label].tolist() for own, label in zip(found, labels, strict=True)]
    classes = [own.argmax(1) for own in found]
    right = share([share(own == label) for own, label in zip(classes, labels, strict=True)])
    assert value(outcome, "accuracy") == float(right)
    assert 0 < right < 1
    changes = share([sum(one != two for one, two in pairwise(own)) for own in classes])
    assert value(outcome, "class_changes") == float(changes)
    assert 0 < changes < REACH
    # Each range is a difference of float32 numbers, in float32 there and here.
    ranges = share([np.float32(max(own)) - np.float32(min(own)) for own in of_label])
    assert within_one_ulp(value(outcome, "label_range"), ranges)
    # numpy rounds at each of the nine additions and the square root; `pstdev` once.
    deviation = share([statistics.pstdev(own) for own in of_label])
    assert value(outcome, "label_deviation") == pytest.approx(float(deviation), rel=1e-14)
    # The mean over the shifts is no metric of ours, but the numbers are all there.
    mean = share([share(own) for own in of_label])
    assert within_one_ulp(outcome.label_probability.astype(np.float64).mean(), mean)


def test_circular_consistency_of_aps(network, inputs):
    """Two rolls a batch, each from -m to m - 1, so m does not occur; agreement weighted by batch.

    That is their ImageNet script; the CIFAR one takes the plain mean of batch means, in which an
    image of a short last batch counts for more. Ours counts every image once. The last batch here
    is short.
    """
    draw = np.random.default_rng(2)
    shifts, total, means = [], Fraction(0), []
    for first in range(0, COUNT, 5):
        shift0, shift1 = draw.integers(-8, 8, (2, 2))
        members = inputs[first : first + 5]
        one, two = (
            predicted(network, [rolled(p, *by) for p in members]) for by in (shift0, shift1)
        )
        means.append(share(one == two))
        total += means[-1] * len(members)
        shifts += [[tuple(shift0), tuple(shift1)]] * len(members)
    published = total / COUNT
    assert len(members) == 2
    assert 0 < published < 1
    ours = value(swept(network, inputs, "circular", by_image(shifts)), "consistency")
    assert ours == float(published) != float(share(means))


def test_shift_consistency_of_alias_free_convnets(network, inputs):
    """The unshifted image against one roll of it: class, and the first's class's probability.

    There the roll is drawn once and then used for all batches by a slip; here anew for each batch,
    as meant. `mac_pairs` follows both classes of a pair in turn, theirs the unshifted one's only,
    which is the first of each pair's two numbers. A roll by (0, 0) counts as an agreement there and
    in `consistency`; `changed` leaves it out. There is none among these.
    """
    draw = np.random.default_rng(3)
    shifts, agree, change = [], Fraction(0), Fraction(0)
    for first in range(0, COUNT, BATCH):
        by = draw.integers(-8, 8, 2)
        members = inputs[first : first + BATCH]
        plain = probabilities(network, members)
        moved = probabilities(network, [rolled(p, *by) for p in members])
        agree += share(plain.argmax(1) == moved.argmax(1)) * len(members)
        rows, followed = np.arange(len(members)), plain.argmax(1)
        change += share(np.abs(plain - moved)[rows, followed]) * len(members)
        shifts += [[(0, 0), tuple(by)]] * len(members)
    published, mac = agree / COUNT, change / COUNT
    assert all(by != (0, 0) for _, by in shifts)
    outcome = swept(network, inputs, "circular", by_image(shifts))
    assert 0 < published < 1
    assert value(outcome, "consistency") == float(published)
    assert value(outcome, "changed") == float(1 - published)
    assert within_one_ulp(outcome.change[:, 0, 0].astype(np.float64).mean(), mac)


def test_sample_agreement_of_lps(network, pictures):
    """Crops at k = 3 offsets a batch: share of images of which all equal the first.

    Their offsets are those of antialiased-cnns, with a seed; any of the three may coincide.
    """
    draw = np.random.default_rng(4)
    shifts, total = [], Fraction(0)
    for first in range(0, COUNT, BATCH):
        offsets = draw.integers(0, REACH, (3, 2))
        members = pictures[first : first + BATCH]
        samples = [predicted(network, [crop(p, *at) for p in members]) for at in offsets]
        alike = np.ones(len(members), bool)
        for sample in samples[1:]:
            alike &= sample == samples[0]
        total += share(alike) * len(members)
        shifts += [[tuple(ANCHOR - at) for at in offsets]] * len(members)
    published = total / COUNT
    outcome = swept(network, pictures, "crop", by_image(shifts, group=3))
    assert 0 < published < 1
    assert value(outcome, "group_consistency") == float(published)
    assert value(outcome, "consistency") > published  # of pairs, which agree more often than three


@pytest.mark.parametrize(("protocol", "move"), [("shift", zero_filled), ("circular", rolled)])
def test_stability_of_tips(network, inputs, protocol, move):
    """An image and two shifts of it, by -m..m with both ends, get one class; and the true one.

    As described: their code chains == on tensors, which fails for more than one image. Batches are
    even, so that their plain mean of batch means is the mean over images. They fill zeros
    in; our `fill` is a colour of raw pixels, here black, which this network is shown as zeros.
    """
    draw = np.random.default_rng(6)
    m = 4
    labels = plausible(predicted(network, inputs))
    shifts, stable, right = [[] for _ in range(COUNT)], [], []
    for first in 3 * list(range(0, COUNT, BATCH)):  # three passes
        one, two = draw.integers(-m, m + 1, (2, 2))
        members = inputs[first : first + BATCH]
        plain = predicted(network, members)
        shift1, shift2 = (predicted(network, [move(p, *by) for p in members]) for by in (one, two))
        same = (plain == shift1) & (plain == shift2)
        stable.append(share(same))
        right.append(share(same & (plain == labels[first : first + BATCH])))
        for own in shifts[first : first + BATCH]:
            own += [(0, 0), tuple(one), tuple(two)]
    outcome = swept(network, inputs, protocol, by_image(shifts, group=3), labels)
    assert 0 < share(right) < share(stable) < 1
    assert value(outcome, "group_consistency") == float(share(stable))
    assert value(outcome, "group_correct") == float(share(right))


@pytest.mark.parametrize("difficulty", [1, 2])
def test_flips_and_rank_distances_of_imagenet_p(network, difficulty):
    """21 frames a video, each against the one `difficulty` before; residue classes one by one.

    A mean over all differences of a video, then over videos. Their frames are decoded from a
    lossy video; ours are the windows themselves.
    """
    wide = textures(WINDOW, WINDOW + 20)
    rank = np.arange(1, CLASSES + 1)
    cumulated = np.cumsum([0, 1, 1, 1, 1, 1, 0, 0, 0, 0])

    def distances(order):
        """The published three, of the frames' classes from best to worst."""
        flips, top5, zipf = [], [], []
        for residue in range(difficulty):
            for before, after in pairwise(order[residue::difficulty]):
                # The rank, after, of the class at each rank before.
                sigma = np.array([1 + int(np.flatnonzero(after == c)[0]) for c in before])
                flips.append(before[0] != after[0])
                top5.append(sum(abs(cumulated[i] - cumulated[sigma[i] - 1]) for i in range(5)))
                zipf.append(sum(abs(1 / i - 1 / s) / i for i, s in zip(rank, sigma, strict=True)))
        assert len(flips) == 21 - difficulty
        return share(flips), share(top5), share(zipf)

    videos, backwards = [], []
    for picture in wide:
        own = probabilities(network, [crop(picture, 0, 10 - dx) for dx in range(-10, 11)])
        assert all(len(np.unique(frame)) == CLASSES for frame in own)  # no ties
        order = np.argsort(-own, axis=1)
        videos.append(distances(order))
        backwards.append(distances(order[::-1]))
    flip, top5, zipf = (share(one) for one in zip(*videos, strict=True))
    outcome = swept(network, wide, "crop", line((-10, 10), step=difficulty))
    assert 0 < flip < 1
    assert value(outcome, "flip_rate") == float(flip)
    assert value(outcome, "top5_distance") == float(top5)
    # Ours are float32 sums of ten float32 terms.
    assert value(outcome, "zipf_distance") == pytest.approx(float(zipf), rel=1e-6)
    # The video's direction matters to both distances, and is seen here.
    _, top5_back, zipf_back = (share(one) for one in zip(*backwards, strict=True))
    assert top5_back != top5
    assert zipf_back != pytest.approx(zipf, rel=1e-5)


def test_change_and_mac_of_azulay_and_weiss(network, pictures):
    """Crops at (c, c) and (c + 1, c + 1), c = 0..7: their classes, and how far the first's moves.

    The first's is the class with the largest probability before, true or not. The corner moves by
    (1, 1), so the content by (-1, -1). They first take a
    random crop of random aspect of each image, which is left out here.
    """
    changes, moves, backwards = [], [], []
    for picture in pictures:
        for c in range(8):
            p1, p2 = probabilities(network, [crop(picture, c, c), crop(picture, c + 1, c + 1)])
            changes.append(p1.argmax() != p2.argmax())
            moves.append(abs(p1[p1.argmax()] - p2[p1.argmax()]))
            backwards.append(abs(p1[p2.argmax()] - p2[p2.argmax()]))
    outcome = swept(network, pictures, "crop", diagonal((-4, 4)))
    assert 0 < share(changes) < 1
    assert value(outcome, "top1_change_diagonal") == float(share(changes))
    assert within_one_ulp(value(outcome, "mac_diagonal"), share(moves))
    assert share(moves) != share(backwards)
    down_right = metrics.estimate(metrics.mac(outcome, "down_right")).value
    assert within_one_ulp(down_right, share(backwards))


@pytest.mark.parametrize(
    ("protocol", "plan"), [("circular", grid(2)), ("crop", grid(2)), ("crop", line(4))]
)
def test_worst_case_of_alias_free_nets(network, pictures, inputs, protocol, plan):
    """Share of images right at every shift: of all, of a ring, and of all rings up to one.

    Published are all rolls but none at rest, and rings of radius 1 to m. Here `worst_case` and
    `within` have the unshifted image where the plan does; `ring` has the ring alone.
    """
    shown, move = (
        (inputs, rolled)
        if protocol == "circular"
        else (pictures, lambda p, dy, dx: crop(p, ANCHOR - dy, ANCHOR - dx))
    )
    classes = {shift: predicted(network, [move(p, *shift) for p in shown]) for shift in plan.shifts}
    labels = plausible(classes[0, 0])
    right = {shift: own == labels for shift, own in classes.items()}
    outcome = swept(network, shown, protocol, plan, labels)
    found = metrics.by_distance(outcome)
    assert list(found) == list(range(max(dx for _, dx in plan.shifts) + 1))
    rings_alone = 0
    for radius, at in found.items():
        ring, within = np.ones(COUNT, bool), np.ones(COUNT, bool)
        for (dy, dx), ok in right.items():
            distance = max(abs(dy), abs(dx))
            ring &= ok | (distance != radius)
            within &= ok | (distance > radius)
        assert at.ring.value == float(share(ring))
        assert at.within.value == float(share(within))
        rings_alone += share(ring) > share(within)
    assert value(outcome, "worst_case") == float(share(within))
    assert 0 < share(within) < share(right[0, 0]) < 1
    if len(plan) == 9:  # a line's rings, of two shifts, are easily right where a nearer one is not
        assert rings_alone > 0


def test_degradation_of_alias_free_convnets(network, inputs):
    """(accuracy - accuracy when shifted) / accuracy, in percent; there one roll for all images.

    Of the shifted images alone, in both.
    """
    draw = np.random.default_rng(9)
    rolls = [tuple(draw.integers(-8, 8, 2)) for _ in range(COUNT)]
    plain = predicted(network, inputs)
    moved = predicted(network, [rolled(p, *by) for p, by in zip(inputs, rolls, strict=True)])
    labels = plausible(plain)
    accuracy, shifted = share(plain == labels), share(moved == labels)
    published = (accuracy - shifted) / accuracy
    outcome = swept(network, inputs, "circular", by_image([[(0, 0), by] for by in rolls]), labels)
    assert (0, 0) not in rolls
    assert 0 < published < 1
    assert value(outcome, "accuracy_unshifted") == float(accuracy)
    assert value(outcome, "accuracy") == float((accuracy + shifted) / 2)
    assert value(outcome, "degradation") == float(published)


@torch.inference_mode()
def test_real_network_on_real_photographs():
    """SqueezeNet on six photographs: the pairs of antialiased-cnns, and Azulay & Weiss's steps.

    Normalisation is one fused step here and two in the loop: classes are equal, probabilities to
    rounding. Few shifts: each window takes a twentieth of a second.
    """
    squeezenet = models.load("demo:squeezenet", memory_format=torch.contiguous_format)
    (side, _), (h, w) = images.size_for("crop", squeezenet.size), squeezenet.size
    photographs = images.load("demo:photographs", size=(side, side))
    some = [photographs[number] for number in range(6)]
    scale, bias = (torch.tensor(v).view(3, 1, 1) for v in (squeezenet.scale, squeezenet.bias))

    def answer(photograph, top, left):
        window = photograph[:, top : top + h, left : left + w].float() * scale + bias
        return squeezenet.model(window[None]).softmax(1)[0].numpy()

    def swept(plan):
        return evaluate(
            squeezenet.model, some, Sweep("crop", plan, squeezenet.size), photographs.labels[:6],
            scale=squeezenet.scale, bias=squeezenet.bias, batch=1, memory_format="contiguous",
        )  # fmt: skip

    anchor, draw = (side - h) // 2, np.random.default_rng(1)
    shifts, agree = [[] for _ in some], []
    for _ in range(2):
        off0, off1 = draw.integers(0, side - h, (2, 2))
        agree.append(share(answer(p, *off0).argmax() == answer(p, *off1).argmax() for p in some))
        for own in shifts:
            own += [tuple(anchor - off0), tuple(anchor - off1)]
    assert 0 < share(agree) < 1
    assert value(swept(by_image(shifts)), "consistency") == float(share(agree))

    corners = range(anchor + 6, anchor + 10)  # where some of the six change
    found = [[answer(p, c, c) for c in corners] for p in some]
    pairs = [pair for own in found for pair in pairwise(own)]
    changes = share(one.argmax() != two.argmax() for one, two in pairs)
    moves = share(abs(one[one.argmax()] - two[one.argmax()]) for one, two in pairs)
    outcome = swept(diagonal((-9, -6)))
    assert 0 < changes < 1
    assert value(outcome, "top1_change_diagonal") == float(changes)
    assert value(outcome, "mac_diagonal") == pytest.approx(float(moves), abs=1e-6)
    of_label = [
        [p[label] for p in own] for own, label in zip(found, photographs.labels[:6], strict=True)
    ]
    assert np.abs(outcome.label_probability[:, ::-1] - np.array(of_label)).max() < 1e-6
