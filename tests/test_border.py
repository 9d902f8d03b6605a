"""The border rule: which pixel a position outside an image reads."""

from typing import get_args

import pytest
import reference
from shiftable import _C
from shiftable.functional import Border


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("n", range(1, 7))
def test_matches_reference(border, n):
    found = [_C.border_index(border, i, n) for i in range(-20, 26)]
    wanted = [reference.border_index(border, i, n) for i in range(-20, 26)]
    assert found == [-1 if i is None else i for i in wanted]


@pytest.mark.parametrize("border", _C.borders())
@pytest.mark.parametrize("n", [1, 2, 7])
def test_holds_at_any_distance(border, n):
    period = 2 * (n - 1) or 1 if border == "reflect" else n
    for i in range(-9, 10):
        for far in (10**15, -(10**15)):
            near = i % period + (period if far > 0 else -period)
            assert _C.border_index(border, i + far * period, n) == _C.border_index(border, near, n)


def test_the_literal_names_every_border():
    assert list(get_args(Border)) == _C.borders()


@pytest.mark.parametrize(
    ("arguments", "exception", "message"),
    [
        (("reflect", 0, 0), ValueError, "expected n >= 1, got 0"),
        (("constant", 0, -3), ValueError, "expected n >= 1, got -3"),
        (("wrap", 0, 3), ValueError, "unknown border 'wrap'"),
        (("", 0, 3), ValueError, "unknown border ''"),
        (("reflect", 0.5, 3), TypeError, "border_index"),
    ],
)
def test_rejects_bad_arguments(arguments, exception, message):
    with pytest.raises(exception, match=message):
        _C.border_index(*arguments)
