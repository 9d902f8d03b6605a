"""The page of findings says what the stored numbers say."""

import copy

import pytest

from benchmarks.findings import claims, page


@pytest.fixture(scope="module")
def found():
    return page.read(page.RESULTS)


def test_the_page_is_written_from_the_stored_numbers(found):
    """Else: python -m benchmarks.findings.page."""
    assert page.PAGE.read_text() == page.page(found)


def test_its_figures_and_pages_are_there():
    for claim in claims.CLAIMS:
        for name in filter(None, (claim.page, claim.figure and claim.figure[0])):
            assert (page.PAGE.parent / name).exists(), name


def verdict(title, found):
    [claim] = [one for one in claims.CLAIMS if one.title == title]
    return claim.verdict(found)


def changed(found, change):
    """The results, with something else in them."""
    other = copy.deepcopy(dict(found))
    change(other)
    return other


def _set(value):
    return {"value": value, "low": value, "high": value, "images": 9}


def _every_error(name, value):
    def change(found):
        for network in found["layers"]:
            for layer in network["layers"]:
                layer[name] = _set(value)

    return change


def _no_change(found):
    for points in found["one_pixel"]["series"].values():
        points[0]["top1_change"]["low"] = 0.0


def _ideal_pool(found):
    for step in found["spectrum"]["steps"]:
        step["aliasing_share"] = _set(0.001)


def _deeper(found):
    for network in found["layers"]:
        for layer in network["layers"]:
            layer["borders"] = layer["aliasing"] = _set(float(layer["depth"]))


def _mended(high, value=0.1):
    def change(found):
        for network in found["recovery"]["networks"].values():
            for stages in network["protocols"].values():
                stages["recovered"]["top1_change"]["difference"]["high"] = high
                stages["recovered"]["top1_change"]["value"]["value"] = value

    return change


def _invariant(found):
    split = found["augmentation"]["results"]["max-4"]["0"]["test"]["split"]
    split["difference"]["consistency"]["high"] = 0.01


def _pointwise(found):
    for network in found["layers"]:
        for layer in network["layers"]:
            if layer["lie"] is not None:
                layer["lie"] = _set(0.0 if layer["stride"] != layer["reads"] else 1.0)


@pytest.mark.parametrize(
    ("title", "change", "said"),
    [
        ("One pixel changes the answer", _no_change, "Not held at every size"),
        ("Down-sampling ignores the sampling theorem", _ideal_pool, "Not held"),
        (
            "Layers move along by whole pixels of their grid alone",
            _every_error("circular_on_grid", 0.01),
            "Not held",
        ),
        (
            "Layers move along by whole pixels of their grid alone",
            _every_error("aliasing", 0.0),
            "Not held",
        ),
        ("It is the strides that change the output", _pointwise, "Not held"),
        ("Deeper is worse", _deeper, "Borders: held; aliasing: held"),
        ("Augmentation is not enough", _invariant, "Held in part"),
        ("Anti-aliasing helps, and does not cure", _mended(0.01), "Not held: every"),
        ("Anti-aliasing helps, and does not cure", _mended(-0.01), "Held: fewer changes; changes"),
        ("Anti-aliasing helps, and does not cure", _mended(-0.01, 0.0), "Held: fewer changes; no"),
    ],
)
def test_verdicts_follow_the_numbers(found, title, change, said):
    assert not verdict(title, found).startswith("Not held")
    assert verdict(title, changed(found, change)).startswith(said)
