"""What evaluate keeps of a network's answers, on answers that are written down."""

from functools import partial

import numpy as np
import pytest
import torch
from shiftable import (
    Sweep,
    by_image,
    diagonal,
    evaluate,
    grid,
    line,
    listed,
    random_groups,
    random_pairs,
)
from shiftable.answers import Answers, comparisons
from toys import SIDE, answers, bright_pixel

A, B = [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]  # two answers over three classes
STEP = Sweep("circular", line(1), (SIDE, SIDE))


def test_keeps_what_the_network_answered():
    outcome = evaluate(answers({(0, 1): B}, A), [bright_pixel()], STEP, labels=[1], names=["pixel"])
    assert outcome.names == ("pixel",)
    assert outcome.top[0].tolist() == [[0, 1, 2], [0, 1, 2], [1, 0, 2]]
    np.testing.assert_allclose(outcome.probability[0], [0.6, 0.6, 0.7], atol=1e-6)
    np.testing.assert_allclose(outcome.reference_probability[0], [0.6, 0.6, 0.2], atol=1e-6)
    np.testing.assert_allclose(outcome.label_probability[0], [0.3, 0.3, 0.7], atol=1e-6)
    np.testing.assert_allclose(outcome.margin[0], [0.3, 0.3, 0.5], atol=1e-6)
    right = STEP.plan.directions.index("right")
    left = STEP.plan.directions.index("left")
    np.testing.assert_allclose(outcome.change[0, :, right], [0, 0.4, np.nan], atol=1e-6)
    np.testing.assert_allclose(outcome.change[0, :, left], [np.nan, 0, 0.4], atol=1e-6)
    np.testing.assert_allclose(outcome.total_variation[0, :, right], [0, 0.4, np.nan], atol=1e-6)
    up = STEP.plan.directions.index("up")
    assert np.isnan(outcome.change[0, :, up]).all()


def test_change_is_of_the_class_predicted_before_the_step():
    first, second = [0.5, 0.4, 0.1], [0.3, 0.4, 0.3]
    outcome = evaluate(answers({(0, 1): second}, first), [bright_pixel()], STEP)
    right = STEP.plan.directions.index("right")
    left = STEP.plan.directions.index("left")
    assert outcome.change[0, 1, right] == pytest.approx(0.2)  # class 0: 0.5 -> 0.3
    assert outcome.change[0, 2, left] == pytest.approx(0.0)  # class 1: 0.4 -> 0.4
    assert outcome.total_variation[0, 2, left] == pytest.approx(0.2)


def test_of_equal_probabilities_the_lower_class_wins():
    outcome = evaluate(answers({}, [0.25, 0.25, 0.25, 0.25]), [bright_pixel()], STEP)
    assert outcome.top[0, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("batch", [1, 5, 7, 64])
@pytest.mark.parametrize("classes", [2, 3, 12])
@pytest.mark.parametrize(
    "plan",
    [
        grid(2),
        grid((1, 3)),
        grid(1, spacing=0.5, step=1),
        line((-3, 5)),
        line(4, "vertical", step=3),
        diagonal(3),
        listed([(0, 3), (0, 0), (1, 1), (0, 2), (1, 2)]),
        random_pairs(5, 2),
        random_groups(3, 4, 2, at_rest=True),
        by_image([[(0, 0), (1, 1), (1, 1), (2, 0)], [(1, 0), (0, 1), (2, 2), (2, 1)]]),
    ],
    ids=str,
)
def test_streaming_equals_looking_at_everything_at_once(plan, classes, batch):
    """Against an obvious loop over all probabilities, held in memory."""
    weights = torch.randn(SIDE * SIDE, classes)
    images = [torch.rand(1, SIDE, SIDE) for _ in range(2)]
    sweep = Sweep("circular", plan, (SIDE, SIDE))
    labels = [1, -1]
    found = evaluate(lambda x: x.flatten(1) @ weights, images, sweep, labels, batch=batch)
    for number, image in enumerate(images):
        logits = sweep.prepare(image, number).windows().flatten(1) @ weights
        every = logits.softmax(1).double().numpy()
        order = np.argsort(-every, axis=1, kind="stable")
        assert (found.top[number] == order[:, :5]).all()
        ranks = np.argsort(order, axis=1)
        best = np.sort(every, axis=1)[:, ::-1]
        close = partial(np.testing.assert_allclose, atol=2e-6)
        close(found.probability[number], best[:, 0])
        close(found.margin[number], best[:, 0] - best[:, 1])
        close(found.reference_probability[number], every[:, order[plan.origin, 0]])
        close(found.label_probability[number], every[:, 1] if number == 0 else np.nan)
        used = (plan.neighbours >= 0).any(0).sum()
        for row in range(len(plan)):
            for way, after in enumerate(plan.neighbours[row]):
                got = (found.change, found.total_variation, found.zipf)
                change, variation, zipf = (values[number, row, way] for values in got)
                if after < 0:
                    assert np.isnan([change, variation, zipf]).all()
                    continue
                step = np.abs(every[after] - every[row])
                close(change, step[order[row, 0]])
                close(variation, step.sum() / 2)
                if plan.group == 0 and used <= 2:
                    before, then = 1 / (1.0 + ranks[row]), 1 / (1.0 + ranks[after])
                    close(zipf, (np.abs(before - then) * before).sum())
                else:
                    assert np.isnan(zipf)


def test_memory_does_not_grow_with_the_plan():
    """Of a grid, probabilities of little more than one row of shifts are kept."""
    plan = grid(30)
    place = torch.device("cpu")
    answers_ = Answers(plan, comparisons(plan, place), -1, 10, place)
    most = 0
    for logits in torch.randn(len(plan), 10).split(16):
        answers_.add(logits)
        most = max(most, len(answers_._kept))
    assert answers_.complete
    assert most <= 1 + 61 + 2 + 64


def test_random_pairs_compare_with_their_partner():
    sweep = Sweep("circular", random_pairs(20, 1, seed=1), (SIDE, SIDE))
    outcome = evaluate(answers({(0, 0): B}, A), [bright_pixel()] * 2, sweep)
    for image in range(2):
        at_rest = (sweep.plan.shifts_for(image) == 0).all(1)
        apart = at_rest != at_rest.reshape(-1, 2)[:, ::-1].reshape(-1)
        # A predicts class 0 (0.6, in B 0.2), B predicts class 1 (0.7, in A 0.3): 0.4 either way.
        expected = np.where(apart, 0.4, 0)
        np.testing.assert_allclose(outcome.change[image, :, 0], expected, atol=1e-6)


def test_batch_size_and_laziness_do_not_matter():
    class Lazy:
        def __len__(self):
            return 2

        def __getitem__(self, number):
            return bright_pixel() * (number + 1)

    sweep = Sweep("circular", grid(2), (SIDE, SIDE))
    model = answers({(1, 1): B, (-2, 0): B}, A)
    done = []
    whole = evaluate(model, Lazy(), sweep, batch=100, progress=done.append)
    parts = evaluate(model, torch.stack([Lazy()[0], Lazy()[1]]), sweep, batch=7)
    assert sum(done) == 50
    assert (whole.top == parts.top).all()
    np.testing.assert_array_equal(whole.change, parts.change)


def test_normalisation_reaches_the_network():
    seen = []

    def model(windows):
        seen.append(windows)
        return torch.zeros(len(windows), 2)

    image = torch.full((3, 4, 4), 100, dtype=torch.uint8)
    sweep = Sweep("embed", line(0), (6, 6), fill=(10.0, 20.0, 30.0))
    evaluate(model, [image], sweep, scale=(0.1, 0.2, 0.3), bias=(1.0, 2.0, 3.0))
    corner, middle = seen[-1][0, :, 0, 0], seen[-1][0, :, 3, 3]
    torch.testing.assert_close(corner, torch.tensor([2.0, 6.0, 12.0]))
    torch.testing.assert_close(middle, torch.tensor([11.0, 22.0, 33.0]))
    assert seen[-1].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda x: torch.zeros(len(x), 3, 1), r"expected logits \(3, K\)"),
        (lambda x: torch.zeros(1, 3), r"got \(1, 3\)"),
        (lambda x: torch.zeros(len(x), 1), "K >= 2"),
        (lambda x: {"logits": x}, "got dict"),
        (lambda x: torch.full((len(x), 3), torch.nan), "finite"),
        (lambda x: x @ torch.zeros(2, 2), "the network failed on a batch"),
        (torch.nn.Linear(2, 2), "eval mode"),
    ],
)
def test_rejects_networks(model, message):
    with pytest.raises(ValueError, match=message):
        evaluate(model, [bright_pixel()], STEP)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": []}, "expected some images, got 0"),
        ({"labels": [1, 2]}, "expected 1 labels, got 2"),
        ({"labels": [3]}, "below 3, the number of classes, got 3 for 0"),
        ({"labels": [-2]}, "got -2"),
        ({"names": []}, "expected 1 names, got 0"),
        ({"batch": 0}, "batch >= 1"),
        ({"images": [torch.zeros(SIDE, SIDE)]}, r"\(C, H, W\)"),
        ({"images": [torch.zeros(1, 4, 4)]}, "4x4 image"),
        ({"images": [bright_pixel()] * 2, "names": ["a", "a"]}, "distinct names"),
    ],
)
def test_rejects_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate(answers({}, A), **{"images": [bright_pixel()], "sweep": STEP, **arguments})
