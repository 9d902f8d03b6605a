"""Where data has its objects: answers worked out by hand, bad annotations, and sweeps split by it."""

import io
import json
import math
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from peers import peer
from PIL import Image
from shiftable import Sweep, evaluate, figures, grid, images, placement, store
from shiftable.intervals import estimate, estimate_counts
from shiftable.placement.concentration import (
    MOST_BITS,
    cells,
    information,
    middle_share,
    placed_anywhere,
    spread,
)
from shiftable.placement.sweeps import _largest, _places

from tests.commands import options

FASHION = Path("/usr/share/datasets/fashion-mnist")
NAMES = ["nose", "left_eye", "right_eye"]


def objects(centres, sides=(0.0, 0.0), side=1000, each=1):
    """Objects of one class, at relative centres (y, x), in square images of `each` of them."""
    centres = np.array(centres, np.float64).reshape(-1, 2)
    count = len(centres)
    corner = (centres + 0.5 - np.array(sides) / 2) * side
    boxes = np.concatenate([corner, np.tile(np.array(sides) * side, (count, 1))], 1)
    number = np.arange(count) // each
    names = tuple(f"{n}.png" for n in range(-(-count // each)))
    return placement.Objects(
        "by hand", names, np.full((len(names), 2), side), ("thing",), number,
        np.zeros(count, np.int64), boxes, (centres + 0.5) * side,
    )  # fmt: skip


def uniform(a, b, count=90):
    """A lattice of centres between a and b along both axes."""
    at = a + (np.arange(count) + 0.5) / count * (b - a)
    return np.stack(np.meshgrid(at, at, indexing="ij"), -1).reshape(-1, 2)


# -- concentration ------------------------------------------------------------------------------


def test_uniform_centres_are_not_concentrated():
    found = placement.describe(objects(uniform(-0.5, 0.5)))
    assert found.bits == pytest.approx(0, abs=1e-3)
    assert found.middle.value == pytest.approx(1 / 9)
    assert found.middle_by_size == pytest.approx(1 / 9, abs=1e-3)
    assert found.spread == pytest.approx((1, 1), abs=1e-3)
    assert found.centre[0].low == pytest.approx(-0.475, abs=0.01)
    assert found.centre[1].high == pytest.approx(0.475, abs=0.01)


def test_one_place_is_as_concentrated_as_can_be():
    found = placement.describe(objects([(0, 0)] * 200))
    assert found.bits == pytest.approx(math.log2(81)) == pytest.approx(MOST_BITS)
    assert found.middle.value == 1
    assert found.spread == pytest.approx((0, 0))
    corner = placement.describe(objects([(-0.49, 0.49)] * 200))
    assert corner.bits == pytest.approx(MOST_BITS)
    assert corner.middle.value == 0


def test_the_middle_ninth_alone_is_a_ninth_of_the_cells():
    # A ninth of the places: log2(9) bits; a third of the width: a third of the deviation.
    found = placement.describe(objects(uniform(-1 / 6, 1 / 6)))
    assert found.bits == pytest.approx(math.log2(9), abs=1e-3)
    assert found.middle.value == 1
    assert found.spread == pytest.approx((1 / 3, 1 / 3), abs=1e-3)


def test_halves_at_opposite_edges():
    y, x = spread(np.array([(-0.5, 0.1), (0.5, 0.1)] * 5000))
    assert y == pytest.approx(math.sqrt(3), rel=1e-3)
    # Two objects 0.2 apart: the unbiased variance is 2 x 0.1^2.
    assert spread(np.array([(-0.1, 0), (0.1, 0)]))[0] == pytest.approx(math.sqrt(12 * 0.02))
    assert x == pytest.approx(0)


def test_the_bias_of_counting_is_taken_off():
    # By the plain count of cells 400 uniform centres seem to hold 80 / (2 * 400 * ln 2) bits.
    draw = np.random.default_rng(0)
    found = [information(draw.uniform(-0.5, 0.5, (400, 2))) for _ in range(200)]
    plain = 80 / (2 * 400 * math.log(2))
    assert plain == pytest.approx(0.144, abs=1e-3)
    assert 0 <= np.mean(found) < 0.2 * plain
    assert information(draw.uniform(-0.5, 0.5, (161, 2))) is None  # it is not promised for fewer
    assert information(draw.uniform(-0.5, 0.5, (162, 2))) is not None


def test_large_boxes_have_little_room():
    # Two thirds of the side leave a third: the centre of a box that lies anywhere is in the middle
    # ninth by its size alone, so uniform ones hold log2(9) bits, and nothing beyond their size.
    found = placement.describe(objects(uniform(-1 / 6, 1 / 6), sides=(2 / 3, 2 / 3)))
    assert found.middle_by_size == pytest.approx(1, abs=0.01)
    assert found.bits == pytest.approx(math.log2(9), abs=1e-3)
    assert found.bits_beyond_size == pytest.approx(0, abs=0.02)
    # As wide as the image and a third high: all places along y from -1/3 to 1/3, one along x.
    wide = placed_anywhere(objects([(0, 0)], sides=(1 / 3, 1)))
    assert wide.sum() == pytest.approx(1)
    assert wide.sum(0)[4] == pytest.approx(1)
    assert wide[:, 4] == pytest.approx([0, 1 / 12, *[1 / 6] * 5, 1 / 12, 0], abs=2e-3)


def test_a_size_of_the_whole_image_is_one_place_and_no_surprise():
    found = placement.describe(objects([(0, 0)] * 200, sides=(1, 1), side=28))
    assert found.bits == pytest.approx(MOST_BITS)
    assert found.bits_beyond_size == pytest.approx(0, abs=1e-9)


def test_cells_have_their_edges():
    counts = cells(np.array([(-0.5, -0.5), (0.5, 0.5), (0, 0), (-0.5, 0.499)]))
    assert counts[0, 0] == counts[8, 8] == counts[4, 4] == counts[0, 8] == 1


def test_the_interval_is_over_images():
    # 100 objects in 2 images, all of one image in the middle: 50 % [0, 100], not [40, 60].
    centres = [(0, 0)] * 50 + [(0.4, 0.4)] * 50
    found = middle_share(objects(centres, each=50))
    assert (found.value, found.low, found.high, found.images) == (0.5, 0, 1, 2)


def test_counts_are_bootstrapped_as_all_terms_are():
    draw = np.random.default_rng(1)
    below = draw.integers(0, 4, 500).astype(float)
    above = draw.binomial(below.astype(int), 0.3).astype(float)
    slow, fast = estimate((above, below)), estimate_counts((above, below))
    assert (fast.value, fast.images) == (pytest.approx(slow.value), slow.images)
    assert fast.low == pytest.approx(slow.low, abs=0.004)
    assert fast.high == pytest.approx(slow.high, abs=0.004)
    zeros = np.zeros(3)
    assert estimate_counts((zeros, zeros)).value is None
    assert estimate_counts((np.array([1.0, 0]), np.array([2.0, 0]))).low is None


def test_a_single_object_has_no_spread():
    found = placement.describe(objects([(0.1, -0.2)]))
    assert found.spread == (None, None)
    assert found.bits is None
    assert found.middle.low is None
    assert found.centre[1].median == pytest.approx(-0.2)


# -- COCO ---------------------------------------------------------------------------------------


def coco():
    """Two images 200 high and 100 wide, three boxes, one crowd, and a pair of eyes."""
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "height": 200, "width": 100},
            {"id": 9, "file_name": "b.png", "height": 200, "width": 100},
        ],
        "categories": [
            {"id": 1, "name": "dog", "keypoints": NAMES}, {"id": 3, "name": "cup"},
        ],
        "annotations": [
            # centre (50, 25) of 200 x 100: (-0.25, -0.25); eyes 3 and 4 pixels apart: 5
            {"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 50, 100],
             "keypoints": [0, 0, 0, 10, 10, 2, 13, 14, 1]},
            {"id": 2, "image_id": 7, "category_id": 3, "bbox": [40, 90, 20, 20]},
            {"id": 3, "image_id": 9, "category_id": 1, "bbox": [50, 100, 50, 100],
             "keypoints": [0, 0, 0, 10, 10, 0, 13, 14, 2]},
            {"id": 4, "image_id": 9, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        ],
    }  # fmt: skip


@pytest.fixture
def annotated(tmp_path):
    """Writes COCO content to a file."""

    def write(content, name="boxes.json"):
        (tmp_path / name).write_text(json.dumps(content))
        return tmp_path / name

    return write


def test_boxes_by_hand(annotated):
    found = placement.from_coco(annotated(coco()), keypoints=("left_eye", "right_eye"))
    assert found.skipped == {"crowds": 1}
    assert found.relative.tolist() == [[-0.25, -0.25], [0, 0], [0.25, 0.25]]
    assert found.pixels.tolist() == [[-50, -25], [0, 0], [50, 25]]
    assert found.fractions.tolist() == [[0.5, 0.5], [0.1, 0.2], [0.5, 0.5]]
    assert found.scale[:1].tolist() == [0.5]
    assert found.distances[0] == 5
    assert np.isnan(found.distances[1:]).all()  # no keypoints; the left eye is not labelled
    dogs = found.by_class()["dog"]
    about = placement.describe(dogs)
    assert (about.objects, about.images, about.distances) == (2, 2, 1)
    assert about.distance.median == 5
    assert about.distance_share.median == 0.05  # of the shorter side, 100
    assert about.centre[0].median == 0
    assert list(found.by_class()) == ["dog", "cup"]
    assert len(found.of(["cup"])) == 1


def test_boxes_that_stick_out_by_rounding_are_cut(annotated):
    content = coco()
    content["annotations"] = [
        {"id": 1, "image_id": 7, "category_id": 1, "bbox": [-0.5, 190, 50.5, 10.4]}
    ]
    found = placement.from_coco(annotated(content))
    assert found.boxes.tolist() == [[190, 0, 10, 50]]


def test_pycocotools_counts_the_same(annotated):
    theirs = peer("pycocotools.coco")
    content = coco()
    draw = np.random.default_rng(0)
    content["annotations"] = [
        {
            "id": n, "image_id": int(draw.choice([7, 9])), "category_id": int(draw.choice([1, 3])),
            "bbox": [*draw.uniform(0, 50, 2), *draw.uniform(1, 50, 2)],
            "iscrowd": int(draw.random() < 0.1), "area": 1, "keypoints": [1, 2, 2] * 3,
        }
        for n in range(1, 200)
    ]  # fmt: skip
    for one in content["annotations"]:
        if one["category_id"] == 3:
            del one["keypoints"]
    path = annotated(content)
    with redirect_stdout(io.StringIO()):
        reader = theirs.COCO(str(path))
    found = placement.from_coco(path)
    for name, own in found.by_class().items():
        ids = reader.getAnnIds(catIds=reader.getCatIds(catNms=[name]), iscrowd=False)
        boxes = [one["bbox"] for one in reader.loadAnns(ids)]
        assert len(own) == len(ids)
        assert sorted(own.boxes[:, 1].tolist()) == sorted(box[0] for box in boxes)
    assert found.skipped["crowds"] == len(reader.getAnnIds(iscrowd=True))


def change(**changes):
    """Content whose first annotation, or something else, is changed."""
    content = coco()
    content["annotations"][0] |= changes
    return content


def without(what, key):
    content = coco()
    del content[what][0][key]
    return content


BAD = [
    (without("annotations", "bbox"), "boxes.json, annotation 1: no 'bbox'"),
    (without("annotations", "image_id"), "annotation 1: no 'image_id'"),
    (without("annotations", "category_id"), "annotation 1: no 'category_id'"),
    (without("images", "height"), "boxes.json, images, number 0: no 'height'"),
    (without("categories", "name"), "categories, number 0: no 'name'"),
    (change(image_id=8), "annotation 1: image_id 8 is no image's"),
    (change(image_id=[7]), "annotation 1: image_id [7] is no image's"),
    (change(category_id=2), "annotation 1: category_id 2 is no category's"),
    (change(bbox=[0, 0, 0, 5]), "annotation 1: expected a bbox with width and height > 0"),
    (change(bbox=[0, 0, 5, -5]), "expected a bbox with width and height > 0, got [0, 0, 5, -5]"),
    (change(bbox=[60, 0, 50, 5]), "in its image of 100x200 (width x height), got [60, 0, 50, 5], 10 pixels outside"),
    (change(bbox=[100.2, 0, 0.4, 5]), "expected a bbox in its image"),
    (change(bbox=[0, 0, 5]), "expected a bbox [left, top, width, height], got [0, 0, 5]"),
    (change(bbox=[0, 0, 5, "5"]), "expected a bbox [left, top, width, height]"),
    (change(bbox=[0, 0, 5, True]), "expected a bbox [left, top, width, height]"),
    (change(bbox=[0, 0, 5, math.nan]), "expected a bbox [left, top, width, height]"),
    (change(bbox=[0, 0, 10**400, 5]), "expected a bbox [left, top, width, height]"),
    (change(keypoints=[1, 1, 2]), "annotation 1: expected keypoints of 3 x 3 numbers, got 3"),
    (change(keypoints={}), "expected keypoints of 3 x 3 numbers, got {}"),
    (change(keypoints=["x"] * 9), "expected keypoints of numbers"),
    ({**coco(), "annotations": [5]}, "annotation number 0: expected an object, got 5"),
    ({**coco(), "annotations": []}, "no objects in boxes.json"),
    ({"images": []}, "no list 'categories', expected images, categories and annotations; it has images"),
    ([], "expected an object with images, categories and annotations, got a list"),
    ({**coco(), "images": coco()["images"][:1] * 2}, "images, number 1: expected an id of its own, got 7"),
    ({**coco(), "images": [{"id": 7, "file_name": "a", "height": 0, "width": 1}]}, "image 7: expected a height and a width of whole pixels >= 1"),
    ({**coco(), "categories": [{"id": 1, "name": "a"}, {"id": 3, "name": "a"}]}, "expected distinct names of categories"),
    ({**coco(), "categories": [{"id": 1, "name": "a", "keypoints": 3}, {"id": 3, "name": "b"}]}, "category 1: expected a list of keypoints' names"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_annotations_are_one_line(run, annotated, content, message):
    annotated(content)
    done = run("placement", "boxes.json", "--keypoints", "left_eye,right_eye")
    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["empty.json"], "empty.json is empty"),
        (["text.json"], "text.json is no JSON"),
        (["deep.json"], "deep.json is no JSON"),
        (["digits.json"], "digits.json is no JSON"),
        (["huge.json"], "huge.json has 5,368,709,120 bytes, expected at most"),
        (["none.json"], "cannot read none.json: No such file"),
        (["good.json", "--keypoints", "left_eye,tail"], "no category has the keypoints 'left_eye' and 'tail'; known: nose, left_eye, right_eye"),
        (["good.json", "--keypoints", "nose,nose"], "expected two different keypoints"),
        (["good.json", "--keypoints", "nose"], "expected two names of keypoints with a comma"),
        (["good.json", "--class", "cat"], "no class 'cat' in good.json; it has dog, cup"),
        (["good.json", "--threshold", "3"], "--threshold, --masks and --labels are for images"),
        (["good.json", "--cover", "0"], "--cover"),
        (["good.json", "--figure", "a.gif"], "expected a .png or .svg to write to"),
        (["good.json", "--sweep", "crop"], "--sweep is of a --run"),
        (["good.json", "--run", "photos"], "photos is not a run"),
        (["photos"], "either --threshold or --masks, got photos with neither"),
        (["photos", "--threshold", "1", "--masks", "masks"], "got photos with both"),
        (["photos", "--threshold", "255"], "no objects in the images"),
        (["photos", "--threshold", "9", "--keypoints", "a,b"], "are for .json, got photos"),
        (["photos", "--masks", "nowhere"], "no folder of masks at nowhere"),
        (["photos", "--masks", "masks"], "no mask for p0_1.png in masks"),
        (["photos", "--masks", "small"], "expected a mask of its image's 8x8 pixels, got 4x4"),
        (["photos", "--masks", "broken"], "cannot read the mask broken/p0_1.png"),
        (["nowhere", "--threshold", "1"], "nowhere"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(run, place, annotated, arguments, message):
    annotated(coco(), "good.json")
    (place / "empty.json").touch()
    (place / "text.json").write_text("boxes")
    (place / "digits.json").write_text("9" * 5000)
    (place / "deep.json").write_text("[" * 200_000)
    with (place / "huge.json").open("wb") as file:
        file.truncate(5 << 30)  # of nothing, which takes no room
    for folder in ("masks", "small", "broken"):
        (place / folder).mkdir()
    for number in ("p0_1", "p1_0"):
        Image.new("L", (4, 4), 1).save(place / "small" / f"{number}.png")
        (place / "broken" / f"{number}.png").write_text("no picture")
    done = run("placement", *arguments)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_invalid_ones_are_skipped_where_asked(run, annotated):
    content = change(bbox=[0, 0, 0, 5])
    annotated({**content, "annotations": [*content["annotations"], 5]})
    done = run("placement", "boxes.json", "--skip-invalid")
    assert done.returncode == 0, done.stderr
    assert "2 skipped: invalid" in done.stdout
    assert "1 skipped: crowds" in done.stdout


# -- pixels -------------------------------------------------------------------------------------


def test_a_threshold_by_hand(run):
    """The bright columns of the two photographs, 8 x 8: column 3 of class 1, column 4 of class 0."""
    done = run("placement", "photos", "--threshold", "32", "--labels", r"pattern:_(\d)\.", "--json")
    found = json.loads(done.stdout)
    by_name = {row["name"]: row for row in found["classes"]}
    assert list(by_name) == ["all", "0", "1"]
    assert by_name["1"]["centre"][1]["median"] == 3.5 / 8 - 0.5
    assert by_name["0"]["centre_pixels"][1]["median"] == 0.5
    assert by_name["all"]["sides"][0]["median"] == 1
    assert by_name["all"]["size"]["median"] == pytest.approx(math.sqrt(1 / 8))


def test_the_centre_of_mass_is_not_the_boxs_middle():
    image = torch.zeros(3, 4, 4)
    image[:, 0, 0] = image[:, 3, :] = 9  # five pixels: rows 0, 3, 3, 3, 3 and columns 0, 0, 1, 2, 3
    found = placement.from_threshold(images.from_dataset([image, torch.zeros(3, 4, 4)]), 8)
    assert found.boxes.tolist() == [[0, 0, 4, 4]]
    assert found.centres.tolist() == [[12 / 5 + 0.5, 6 / 5 + 0.5]]
    assert found.classes == ("unknown",)
    assert found.skipped == {"without an object": 1}


def test_masks_of_every_kind(tmp_path):
    """A pixel of 1, in row 1 and column 2, whatever a picture's numbers mean."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "masks").mkdir()
    values = np.zeros((4, 6), np.uint8)
    values[1, 2] = 1
    palette = Image.fromarray(values).convert("P")
    palette.putpalette([9, 9, 9, 0, 0, 0])
    kinds = {
        "grey": Image.fromarray(values), "bits": Image.fromarray(values.astype(bool)),
        "sixteen": Image.fromarray(values.astype(np.uint16)),
        "colour": Image.fromarray(np.stack([values] * 3, 2)),
        "transparent": Image.fromarray(np.dstack([values] * 3 + [np.full_like(values, 255)])),
    }  # fmt: skip
    for name, mask in kinds.items():
        Image.new("RGB", (6, 4)).save(tmp_path / "photos" / f"{name}.bmp")
        mask.save(tmp_path / "masks" / f"{name}.png")
    found = placement.from_masks(images.load(tmp_path / "photos"), tmp_path / "masks")
    assert found.boxes.tolist() == [[1, 2, 1, 1]] * 5
    assert found.centres.tolist() == [[1.5, 2.5]] * 5


def test_masks_are_of_files(tmp_path):
    with pytest.raises(ValueError, match="expected image files for masks"):
        placement.from_masks(images.from_dataset([torch.zeros(1, 4, 4)]), tmp_path)


@pytest.mark.skipif(not FASHION.is_dir(), reason="no Fashion-MNIST: dataset-fashion-mnist")
def test_real_garments_as_a_coco_file(annotated):
    from benchmarks.findings.placement import CLASSES, THRESHOLD, fashion_mnist_test

    seen = placement.from_threshold(images.from_dataset(fashion_mnist_test()), THRESHOLD)
    assert seen.classes == CLASSES
    assert (len(seen), seen.skipped) == (10_000, {})
    content = {
        "images": [
            {"id": n, "file_name": name, "height": 28, "width": 28}
            for n, name in enumerate(seen.images)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(seen.classes)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": int(label), "bbox": [left, top, wide, high]}
            for n, (label, (top, left, high, wide)) in enumerate(
                zip(seen.label, seen.boxes.tolist(), strict=True)
            )
        ],
    }  # fmt: skip
    again = placement.from_coco(annotated(content))
    assert again.boxes.tolist() == seen.boxes.tolist()
    mine, theirs = placement.describe(seen), placement.describe(again)
    assert (mine.size, mine.sides) == (theirs.size, theirs.sides)
    # Garments are centred by whoever made the set: far from uniform, most of all the trousers.
    assert mine.middle.low > 0.98
    trousers = placement.describe(seen.by_class()["trouser"])
    assert trousers.middle.value > 0.99
    assert trousers.middle_by_size < 0.6
    assert trousers.bits > 5
    assert trousers.bits_beyond_size > 2


def test_the_page_says_what_was_measured(tmp_path):
    from benchmarks.findings.placement import draw

    root = Path(__file__).parent.parent
    found = json.loads((root / "benchmarks/results/findings/placement.json").read_text())
    page = (root / "docs" / "placement.md").read_text()
    assert len(found["classes"]) == 11
    for row in found["classes"]:
        middle = f"{100 * row['middle']['value']:.1f} % [{100 * row['middle']['low']:.1f}"
        (line,) = [line for line in page.splitlines() if line.startswith(f"| {row['name']} |")]
        assert middle in line
        assert line.endswith(f"| {row['bits']:.2f} | {row['bits_beyond_size']:.2f} |")
    for sweep in found["sweeps"].values():
        for metric in ("consistency", "accuracy"):
            for side in (sweep["inside"], sweep["outside"], sweep):
                value = 100 * side[metric]["value"]
                assert f"{value:.1f} % [{100 * side[metric]['low']:.1f}" in page.replace("+", "")
    draw(found, tmp_path / "again.png")
    assert (tmp_path / "again.png").stat().st_size > 10_000


@pytest.mark.skipif(not FASHION.is_dir(), reason="no Fashion-MNIST: dataset-fashion-mnist")
def test_the_finding_runs_on_a_few_images():
    from benchmarks.findings.from_scratch import QUICK
    from benchmarks.findings.placement import split as trained_and_split

    found = trained_and_split(QUICK, placed=True, shifts=1)
    assert (found.own, found.images, found.unseen) == (QUICK.shifted_images,) * 2 + (0,)
    assert found.inside.windows + found.outside.windows == 9 * QUICK.shifted_images


# -- joined with a sweep ------------------------------------------------------------------------


def columns(names=("p0_1.png", "p1_0.png")):
    """The bright columns of the two photographs as boxes."""
    return {
        "images": [
            {"id": n, "file_name": name, "height": 8, "width": 8} for n, name in enumerate(names)
        ],
        "categories": [{"id": 1, "name": "column"}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [3 + n, 0, 1, 8]} for n in (0, 1)
        ],
    }


def split(path, run="run"):
    (stored,) = store.load(run).sweeps.values()
    return placement.joined(placement.from_coco(path), stored, cover=1)


def test_a_sweep_by_hand(run, place, annotated):
    """Centres are at y = 0 and x = -1/16 or 1/16, and the network says whether a column is even.

    Inside, dy = 0 and dx = 0 or 1 of the left column, 0 or -1 of the right one: right at dx = 0,
    and at the other shift wrong, and another class than unshifted. Outside there are 23 of 25, and
    the 14 with an even dx are right and the same.
    """
    assert run(*options()).returncode == 0
    found = split(annotated(columns()))
    assert (found.y, found.x) == ((0, 0), (-1 / 16, 1 / 16))
    assert (found.own, found.images, found.unseen) == (2, 2, 0)
    assert (found.inside.windows, found.outside.windows) == (4, 46)
    assert found.inside.consistency.value == 0
    assert found.inside.accuracy.value == 0.5
    assert found.outside.consistency.value == pytest.approx(14 / 23)
    assert found.outside.accuracy.value == pytest.approx(14 / 23)
    assert found.consistency.value == pytest.approx(-14 / 23)
    assert found.accuracy.value == pytest.approx(0.5 - 14 / 23)
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx((0.5 - 14 / 23,) * 2)


def test_an_image_is_judged_by_its_largest_object(annotated):
    content = coco()
    content["annotations"] = [content["annotations"][n] for n in (1, 0, 2)]
    assert _largest(placement.from_coco(annotated(content))) == {"a.png": 1, "b.png": 2}
    content["annotations"] = [content["annotations"][n] for n in (1, 0, 2)]
    assert _largest(placement.from_coco(annotated(content))) == {"a.png": 0, "b.png": 2}


def test_unknown_images_are_judged_by_their_middle(run, place, annotated):
    """The window's middle is in the range at (0, 0) alone, which is not held against itself."""
    assert run(*options()).returncode == 0
    found = split(annotated(columns(("x.png", "y.png"))))
    assert (found.own, found.inside.windows, found.outside.windows) == (0, 2, 48)
    assert found.inside.accuracy.value == 1
    assert found.inside.consistency.value is None
    assert found.consistency.value is None
    text = run("placement", "boxes.json", "--run", "run", "--cover", "1").stdout
    assert "none of 2 images is annotated: by the middle of each photograph" in text
    assert [line.split()[1] for line in text.splitlines() if line.startswith("consistency")] == [
        "-"
    ]


def test_images_without_an_annotation_are_left_out(run, place, annotated):
    assert run(*options()).returncode == 0
    found = split(annotated(columns(("p0_1.png", "y.png"))))
    assert (found.own, found.images, found.unseen) == (1, 2, 25)
    assert found.inside.windows + found.outside.windows == 25


def test_nothing_is_outside_of_everything(run, place, annotated):
    assert run(*options()).returncode == 0
    content = columns(("x.png", "y.png"))
    boxes = ([0, 0, 1, 1], [7, 7, 1, 1])
    for one, box in zip(content["annotations"], boxes, strict=True):
        one["bbox"] = box
    found = split(annotated(content))
    assert found.outside.windows == 0
    assert found.outside.accuracy.value is None
    assert found.accuracy.value is None
    assert found.inside.windows == 50
    done = run("placement", "boxes.json", "--run", "run", "--cover", "1", "--figure", "a.png")
    assert done.returncode == 0, done.stderr
    assert (place / "a.png").exists()


def test_a_window_that_leaves_the_object_is_left_out(run, place, annotated):
    """8 x 8 to 12 x 12, of which the window shows 8: a corner's centre 0.5 is at 0.75 - 2 + shift."""
    changes = {"protocol": "crop", "image_size": "12"}
    assert run(*options(**changes)).returncode == 0
    content = columns()
    content["annotations"][0]["bbox"] = [0, 0, 1, 1]
    content["images"][1]["file_name"] = "y.png"
    found = split(annotated(content))
    assert found.unseen == 24 + 25
    assert found.inside.windows + found.outside.windows == 1


def test_what_the_fitting_cuts_off_is_left_out(run, place, annotated):
    """As high as 10 and as wide as 20 pixels: fitted to a square, the sides are gone."""
    assert run(*options()).returncode == 0
    content = columns()
    content["images"] = [{**one, "height": 10, "width": 20} for one in content["images"]]
    content["annotations"][0]["bbox"] = [0, 4, 2, 2]  # x = 1 of 20
    content["annotations"][1]["bbox"] = [9, 4, 2, 2]  # the middle
    found = split(annotated(content))
    assert found.unseen == 25
    assert found.inside.windows + found.outside.windows == 25


def test_places_follow_the_image_as_it_grows():
    """9 x 9 on a canvas of 16: the corner is at 4 - (-4), the middle 4.5 further, or 5 of 10."""
    sweep = Sweep("embed", grid(1, sizes=1), (16, 16))
    outcome = evaluate(lambda x: x.flatten(1)[:, :3], [torch.zeros(1, 9, 9)], sweep)
    shifts = outcome.shifts_for(0).astype(float)
    places = _places(outcome, shifts, np.array([4.5, 4.5]), (9, 9))
    growth = sweep.plan.growth
    assert (places[growth == 0] == 4.5 + 4 + shifts[growth == 0]).all()
    assert (places[growth == 1] == 5 + 4 + shifts[growth == 1]).all()
    assert (places[growth == -1] == 4 + 4 + shifts[growth == -1]).all()
    around = Sweep("circular", grid(5), (9, 9))
    turned = evaluate(lambda x: x.flatten(1)[:, :3], [torch.zeros(1, 9, 9)], around)
    moved = _places(
        turned, np.array([[5.0, -5.0]] * len(around.plan)), np.array([4.5, 4.5]), (9, 9)
    )
    assert moved[0].tolist() == [0.5, 8.5]


DATASETS = """
import torch

def bright(column):
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    image[:, :, column] = 255
    return image

training = [(bright(3), 1), (bright(4), 0), (bright(4), 0)]
test = [(bright(3), 1), (bright(4), 0)]
"""


def test_item_7_of_another_dataset_is_another_image(run, place):
    (place / "toy_data.py").write_text(DATASETS)
    done = run(*options(images="toy_data:test", labels=None))
    assert done.returncode == 0, done.stderr
    own = {}
    for name in ("training", "test"):
        source = ["placement", f"toy_data:{name}", "--threshold", "9", "--run", "run", "--json"]
        own[name] = json.loads(run(*source).stdout)["sweep"]["own"]
    assert own == {"training": 0, "test": 2}


def test_random_groups_have_no_unshifted_image(run, place, annotated):
    assert run(*options(shifts="pairs:5:3")).returncode == 0
    found = split(annotated(columns()))
    assert found.outside.consistency.value is None
    assert found.outside.accuracy.value is not None


def test_no_objects_give_no_range(run, place, annotated):
    assert run(*options()).returncode == 0
    (stored,) = store.load("run").sweeps.values()
    none = placement.from_coco(annotated({**columns(), "annotations": []}))
    with pytest.raises(ValueError, match="no objects in"):
        placement.joined(none, stored)
    with pytest.raises(ValueError, match="expected a share to cover"):
        placement.joined(none, stored, cover=1.5)
    with pytest.raises(ValueError, match="expected a share to cover"):
        placement.describe(none, 0)


# -- the command --------------------------------------------------------------------------------


def test_the_table_is_what_the_json_says(run, place, annotated):
    assert run(*options()).returncode == 0
    annotated(columns())
    command = ["placement", "boxes.json", "--run", "run", "--cover", "1"]
    found = json.loads(run(*command, "--json").stdout)
    text = run(*command).stdout.splitlines()
    (row,) = found["classes"]
    assert row["name"] == "column"
    assert text[2].split("  ")[0] == "column"
    x = row["centre"][1]
    assert f"{x['median']:.2f} [{x['low']:+.2f}, {x['high']:+.2f}]" in text[2]
    size = row["size"]
    assert f"{size['median']:.2f} [{size['low']:.2f}, {size['high']:.2f}]" in text[2]
    assert f"{100 * row['middle']['value']:.1f} %" in text[2]
    assert f"{100 * row['middle_by_size']:.1f} %" in text[2]
    apart = found["sweep"]["accuracy"]
    (line,) = [line for line in text if line.startswith("accuracy")]
    assert f"{100 * apart['value']:+.1f} % [{100 * apart['low']:+.1f}" in line
    assert np.sum(found["histograms"]["centres"]) == np.sum(found["histograms"]["sizes"]) == 2


def test_several_sweeps_are_named(run, place, annotated):
    assert run(*options(), "--protocol", "shift").returncode == 0
    annotated(columns())
    done = run("placement", "boxes.json", "--run", "run")
    assert "name one by --sweep: run has circular, shift" in done.stderr
    assert "no sweep 'crop': run has" in run("placement", "boxes.json", "--run", "run", "--sweep", "crop").stderr  # fmt: skip
    assert run("placement", "boxes.json", "--run", "run", "--sweep", "shift").returncode == 0


def test_a_class_may_be_called_all(run, annotated):
    content = coco()
    content["categories"][1]["name"] = "all"
    annotated(content)
    found = json.loads(run("placement", "boxes.json", "--json").stdout)
    assert [row["name"] for row in found["classes"]] == ["all", "dog", "class all"]
    one = json.loads(run("placement", "boxes.json", "--class", "dog", "--json").stdout)
    assert [row["name"] for row in one["classes"]] == ["dog"]


@pytest.mark.parametrize("name", ["all.png", "all.svg"])
def test_everything_is_drawn(run, place, annotated, name):
    assert run(*options()).returncode == 0
    annotated(coco())
    done = run(
        "placement", "boxes.json", "--keypoints", "left_eye,right_eye", "--run", "run",
        "--figure", name,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"drawn to {name}\n")
    assert (place / name).stat().st_size > 10_000


def test_nothing_is_not_drawn(annotated, tmp_path):
    none = placement.from_coco(annotated({**coco(), "annotations": []}))
    with pytest.raises(ValueError, match="expected objects to draw, got none"):
        figures.placement_figure(
            placement.describe(none), placement.histograms(none), tmp_path / "none.png"
        )
