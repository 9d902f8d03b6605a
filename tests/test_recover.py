"""Recovery without labels."""

import copy
import math

import pytest
import torch
from shiftable import Recipe, antialias, recover, undo_antialias
from shiftable.recover import losses, renew_batch_norms
from shiftable.views import random_part
from torch import nn
from torch.testing import assert_close

from tests.toys import Residual, ready

SIZE = (24, 24)


def photographs(count=4):
    """Smooth ones, of different sizes."""
    small = torch.rand(count, 3, 6, 8)
    return [
        (nn.functional.interpolate(one[None], (30 + n, 40), mode="bicubic")[0].clamp(0, 1) * 255).byte()
        for n, one in enumerate(small)
    ]  # fmt: skip


def pair():
    """A student and its teacher."""
    teacher = ready(Residual())
    student = copy.deepcopy(teacher)
    antialias(student, torch.rand(1, 3, *SIZE))
    return student, teacher


def recovered(student, teacher, images, **arguments):
    recipe = Recipe(**{"steps": 6, "batch": 2, "shift": 3, "batch_norm": 8, **arguments.pop("recipe", {})})  # fmt: skip
    return recover(
        student, teacher, images, size=SIZE, recipe=recipe, scale=1 / 255, bias=-0.5, **arguments
    )


def test_the_losses_worked_out_by_hand():
    """One photograph, two views, two classes."""
    taught = torch.tensor([[0.9, 0.1], [0.5, 0.5]])  # mean (0.7, 0.3)
    answered = torch.tensor([[0.6, 0.4], [0.8, 0.2]])  # mean (0.7, 0.3), too
    distillation, consistency = losses(answered.log(), taught, 2)
    apart = [0.7 * math.log(0.7 / p) + 0.3 * math.log(0.3 / (1 - p)) for p in (0.6, 0.8)]
    assert distillation.item() == pytest.approx(sum(apart) / 2, rel=1e-5)
    assert consistency.item() == pytest.approx(sum(apart) / 2, rel=1e-5)
    sure = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert losses(torch.tensor([[100.0, 0], [100, 0]]), sure, 2) == (0, 0)


def test_a_student_comes_nearer_to_its_teacher():
    student, teacher = pair()
    images = photographs()
    with torch.no_grad():
        student.head.weight.add_(torch.randn(student.head.weight.shape))
    kept = copy.deepcopy(teacher.state_dict())
    done = recovered(student, teacher, images, recipe={"steps": 150, "learning_rate": 3e-3})
    first, last = (sum(p.distillation for p in part) / 20 for part in (done[:20], done[-20:]))
    assert last < first / 3
    assert [p.step for p in done] == list(range(1, 151))
    assert all(torch.equal(kept[key], value) for key, value in teacher.state_dict().items())
    assert not any(module.training for module in student.modules())


def test_more_weight_on_consistency_makes_views_agree_more():
    images = photographs()
    found = []
    for weight in (0.0, 300.0):
        torch.manual_seed(0)
        student, teacher = pair()
        done = recovered(
            student, teacher, images,
            recipe={"steps": 60, "learning_rate": 3e-3, "consistency": weight},
        )  # fmt: skip
        found.append(sum(p.consistency for p in done[-20:]))
    assert found[1] < found[0] / 2


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_stopped_recovery_goes_on_to_the_same_weights(stop, tmp_path):
    images = photographs(3)
    straight, teacher = pair()
    stopped = copy.deepcopy(straight)
    again, fresh = copy.deepcopy(straight), copy.deepcopy(straight)
    want = recovered(straight, teacher, images)

    class Stopped(Exception):  # noqa: N818
        pass

    def at(progress):
        if progress.step == stop:
            raise Stopped

    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Stopped):
        recovered(stopped, teacher, images, checkpoint=path, every=1, progress=at)
    steps = []
    got = recovered(
        again, teacher, images, checkpoint=path, progress=lambda p: steps.append(p.step)
    )
    assert steps == list(range(stop + 1, 7))
    assert got == want
    assert all(
        torch.equal(value, again.state_dict()[key]) for key, value in straight.state_dict().items()
    )
    # Done: it is only read.
    done = recovered(fresh, teacher, images, checkpoint=path)
    assert done == want
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def norms_of(*scales):
    """Two batch norms, each behind a 1x1 convolution that multiplies by a number."""
    layers = []
    for scale in scales:
        convolution = nn.Conv2d(2, 2, 1, bias=False)
        with torch.no_grad():
            convolution.weight.copy_(scale * torch.eye(2)[..., None, None])
        layers += [convolution, nn.BatchNorm2d(2)]
    return ready(nn.Sequential(*layers))


def test_batch_norms_are_moved_by_what_the_blur_did():
    """The student's maps are twice the teacher's: so are the new statistics, not those of the data."""
    teacher, student = norms_of(1.0, 1.0), norms_of(2.0, 1.0)
    student[1].load_state_dict(teacher[1].state_dict())
    old = copy.deepcopy(teacher.state_dict())
    batches = [torch.randn(4, 2, 16, 16) * 3 + 1 for _ in range(3)]
    means = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    renew_batch_norms(student, teacher, batches)
    assert_close(student[1].running_mean, old["1.running_mean"] + means)
    assert_close(student[1].running_var, 4 * old["1.running_var"])
    assert all(torch.equal(old[key], value) for key, value in teacher.state_dict().items())
    assert student[1].momentum == 0.1
    assert not student[1].training
    assert student[1].num_batches_tracked == old["1.num_batches_tracked"]


def test_batch_norms_that_the_teacher_has_not_get_the_statistics_themselves():
    student = norms_of(2.0)
    batches = [torch.randn(4, 2, 16, 16) for _ in range(3)]
    renew_batch_norms(student, lambda x: x, batches)
    assert_close(
        student[1].running_mean, 2 * torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0)
    )
    assert_close(
        student[1].running_var, 4 * torch.stack([b.var((0, 2, 3)) for b in batches]).mean(0)
    )


def test_batch_norms_keep_theirs_where_it_is_asked_for():
    student, teacher = pair()
    recovered(student, teacher, photographs(), recipe={"steps": 2, "batch_norm": 0})
    assert torch.equal(student.bn1.running_mean, teacher.bn1.running_mean)


def test_parts_are_of_the_photograph():
    """A ramp stays one: brighter to the right, or to the left where it is mirrored."""
    ramp = torch.arange(64, dtype=torch.uint8).expand(3, 50, 64)
    slopes = []
    for seed in range(30):
        part = random_part(ramp, (20, 30), torch.Generator().manual_seed(seed))
        assert part.shape == (3, 20, 30)
        assert (part.std(1) < 1e-3).all()
        slopes.append((part[0, 0, 20] - part[0, 0, 10]).item() / 10)
    shown = [abs(slope) * 30 / 64 for slope in slopes]  # share of the width
    assert min(slopes) < 0 < max(slopes)
    assert 0.35 < min(shown) < 0.6
    assert 0.8 < max(shown) <= 1.01


def test_lower_precision_is_near():
    student, teacher = pair()
    other = copy.deepcopy(student)
    images = photographs()
    a = recovered(student, teacher, images)[0]
    b = recovered(other, teacher, images, precision="bf16")[0]
    assert b.distillation == pytest.approx(a.distillation, abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": []}, "expected images, got none"),
        (
            {"images": [torch.rand(3, 30, 30)]},
            "expected images .* of uint8, got .* of torch.float32",
        ),
        (
            {"images": [torch.zeros(1, 30, 30, dtype=torch.uint8)]},
            "the teacher failed on views .*, 1, 24, 24.: Given groups=1",
        ),
        ({"every": 0}, "expected every >= 1, got 0"),
        ({"recipe": {"views": 1}}, "expected views >= 2, got 1"),
        ({"recipe": {"learning_rate": float("nan")}}, "expected learning_rate >= 0, got nan"),
        (
            {"recipe": {"learning_rate": 1e30}},
            "loss or gradient of step . is not finite; take a lower",
        ),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    student, teacher = pair()
    with pytest.raises(ValueError, match=message):
        recovered(student, teacher, **{"images": photographs(), **arguments})


def test_a_teacher_that_is_none_is_refused():
    student, teacher = pair()
    with pytest.raises(
        ValueError, match="expected a teacher besides the student, got one with its parameters"
    ):
        recovered(student, student, photographs())
    with pytest.raises(ValueError, match="expected a teacher in eval mode"):
        recovered(student, teacher.train(), photographs())


def test_checkpoints_of_others_are_refused(tmp_path):
    student, teacher = pair()
    path = tmp_path / "checkpoint.pt"
    images, fresh = photographs(), copy.deepcopy(student)
    recovered(student, teacher, images, checkpoint=path)
    student = copy.deepcopy(fresh)
    with pytest.raises(ValueError, match=r"another recovery \(steps 6, not 7; another images\)"):
        recovered(student, teacher, images[:3], checkpoint=path, recipe={"steps": 7})
    with pytest.raises(ValueError, match=r"another recovery \(precision fp32, not bf16\)"):
        recovered(student, teacher, images, checkpoint=path, precision="bf16")
    undo_antialias(student)
    antialias(student, torch.rand(1, 3, *SIZE), filter_size=5)
    with pytest.raises(ValueError, match=r"another recovery \(another structure\)"):
        recovered(student, teacher, images, checkpoint=path)
    path.write_text("nothing")
    with pytest.raises(ValueError, match=r"cannot read .* as a recovery's checkpoint"):
        recovered(student, teacher, photographs(), checkpoint=path)
