"""A run on disk: what is written comes back, and nothing is overwritten."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shiftable import Sweep, evaluate, grid, random_pairs, store
from shiftable.outcome import PER_SHIFT
from toys import SIDE, answers, bright_pixel

MODEL = answers({(0, 0): [0.2, 0.7, 0.1]}, [0.6, 0.3, 0.1])


def outcome_of(plan=None):
    sweep = Sweep("circular", plan or grid(1), (SIDE, SIDE))
    return evaluate(MODEL, [bright_pixel()] * 2, sweep, [0, -1], names=["a", "b"])


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "deep" / "run"
    store.create(path, {"model": {"name": "toy"}})
    return path


@pytest.mark.parametrize("plan", [grid(1), random_pairs(3, 2, seed=5)])
def test_what_is_written_comes_back(run, plan):
    outcome = outcome_of(plan)
    store.add(run, "circular", outcome)
    back = store.load(run)
    assert back.manifest["model"] == {"name": "toy"}
    found = back.outcomes["circular"]
    assert found.sweep == outcome.sweep
    assert found.names == outcome.names
    for name in ("labels", *PER_SHIFT):
        np.testing.assert_array_equal(getattr(found, name), getattr(outcome, name), strict=True)


def test_table_is_plain(run):
    store.add(run, "circular", outcome_of())
    table = pq.read_table(run / "circular.parquet").to_pylist()
    assert len(table) == 18
    first = table[0]
    assert (first["image"], first["label"], first["dy"], first["dx"]) == ("a", 0, -1, -1)
    assert first["change"][0] is None  # up and left of the plan's corner there is nothing
    assert table[-1]["label"] is None
    assert table[-1]["label_probability"] is None


def test_nothing_depends_on_the_clock(tmp_path):
    for name in ("one", "two"):
        store.create(tmp_path / name, {"model": {"name": "toy"}})
        store.add(tmp_path / name, "circular", outcome_of())
    for file in ("manifest.json", "circular.parquet"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_refuses_to_overwrite(run):
    with pytest.raises(ValueError, match="exists; name a new folder"):
        store.create(run, {})
    store.add(run, "circular", outcome_of())
    before = (run / "circular.parquet").read_bytes()
    with pytest.raises(ValueError, match="already holds a sweep"):
        store.add(run, "circular", outcome_of(random_pairs(2, 1)))
    assert (run / "circular.parquet").read_bytes() == before


def test_a_failed_write_leaves_nothing_behind(run, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(OSError, match="disk full"):
        store.add(run, "circular", outcome_of())
    assert [path.name for path in run.iterdir()] == ["manifest.json"]
    assert store.load(run).outcomes == {}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "manifest.json").unlink(), "is not a run"),
        (lambda run: (run / "manifest.json").write_text("{"), "is not a run"),
        (lambda run: (run / "manifest.json").write_text("[]"), "expected a manifest of"),
        (
            lambda run: (run / "manifest.json").write_text('{"format": 0}'),
            "expected a manifest of format 1",
        ),
        (lambda run: (run / "manifest.json").write_text('{"format": 1}'), "damaged"),
        (lambda run: (run / "circular.parquet").unlink(), "cannot read circular.parquet"),
        (lambda run: (run / "circular.parquet").write_bytes(b"PAR1"), "cannot read circular"),
        (lambda run: reorder(run, lambda table: table[::-1]), "not those of the plan"),
        (lambda run: reorder(run, lambda table: table[:-2]), "expected 9 rows an image"),
        (lambda run: swap(run, '"circular"', '"shift"'), "does not match its digest"),
    ],
)
def test_rejects_damage(run, damage, message):
    store.add(run, "circular", outcome_of())
    damage(run)
    with pytest.raises(ValueError, match=message):
        store.load(run)


def reorder(run, change):
    path = run / "circular.parquet"
    rows = change(pq.read_table(path).to_pylist())
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(path)), path)


def swap(run, before, after):
    manifest = run / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"protocol": {before}', f'"protocol": {after}'))  # fmt: skip
