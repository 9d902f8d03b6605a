"""A run on disk: what is written comes back, nothing is overwritten, and nothing is mixed."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shiftable import Sweep, by_image, evaluate, grid, random_groups, random_pairs, store
from shiftable.outcome import PER_SHIFT, joined
from toys import SIDE, answers, bright_pixel

MODEL = answers({(0, 0): [0.2, 0.7, 0.1]}, [0.6, 0.3, 0.1])
NAMES = ["a", "b", "c", "d", "e"]


def outcome_of(sweep, part=slice(None)):
    whole = evaluate(MODEL, [bright_pixel()] * 5, sweep, [0, -1, 1, 2, 0], names=NAMES)
    rows = {name: getattr(whole, name)[part] for name in ("labels", *PER_SHIFT)}
    return type(whole)(sweep, whole.names[part], first=part.start or 0, **rows)


def manifest(sweep, **changes):
    images = {"count": 5, "size": None, "identity": "these"}
    entry = {
        "name": "circular", "digest": sweep.digest, "part_images": 2, "images": images,
        "sweep": sweep.to_dict(),
    }  # fmt: skip
    about = {"model": {"name": "toy"}, "settings": {}, "lower_precision": None}
    return {**about, "sweeps": [entry], **changes}


SWEEP = Sweep("circular", grid(1), (SIDE, SIDE))


def filled(path, sweep=SWEEP):
    run = store.begin(path, manifest(sweep))
    stored = run.sweeps["circular"]
    for part in stored.missing():
        numbers = stored.images_of(part)
        stored.add(part, outcome_of(sweep, slice(numbers.start, numbers.stop)), f"pixels {part}")
    return run


PLANS = [
    grid(1),
    grid(1, spacing=0.5),
    grid(1, sizes=(0, 1)),
    random_pairs(3, 2, seed=5),
    random_groups(2, 3, 2),
    by_image([[(0, 0), (n, 1)] for n in range(5)]),
]


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_what_is_written_comes_back(tmp_path, plan):
    protocol = "embed" if len(set(plan.growth)) > 1 else "circular"
    sweep = Sweep(protocol, plan, (SIDE, SIDE) if protocol == "circular" else (16, 16))
    if protocol == "embed":
        model = lambda x: x.flatten(1)[:, :4]
        outcome = evaluate(model, [bright_pixel()] * 5, sweep, names=NAMES)
        parts = [
            type(outcome)(
                sweep, outcome.names[p], first=p.start,
                **{name: getattr(outcome, name)[p] for name in ("labels", *PER_SHIFT)},
            )
            for p in (slice(0, 2), slice(2, 4), slice(4, 5))
        ]  # fmt: skip
        stored = store.begin(tmp_path / "run", manifest(sweep)).sweeps["circular"]
        for number, part in enumerate(parts):
            stored.add(number, part, "")
    else:
        outcome = outcome_of(sweep)
        filled(tmp_path / "run", sweep)
    back = store.load(tmp_path / "run")
    assert back.manifest["model"] == {"name": "toy"}
    stored = back.sweeps["circular"]
    assert (len(stored), stored.parts, stored.missing()) == (5, 3, [])
    assert stored.sweep == sweep
    found = stored.outcome()
    assert found.names == outcome.names
    for name in ("labels", *PER_SHIFT):
        np.testing.assert_array_equal(getattr(found, name), getattr(outcome, name), strict=True)


def test_table_is_plain(tmp_path):
    run = filled(tmp_path / "run")
    table = pq.read_table(run.sweeps["circular"].path(0)).to_pylist()
    assert len(table) == 18
    first = table[0]
    assert (first["image"], first["label"], first["dy"], first["dx"]) == ("a", 0, -1, -1)
    assert first["size"] == 0
    assert first["change"][0] is None  # up and left of the plan's corner there is nothing
    assert table[-1]["label"] is None
    assert table[-1]["label_probability"] is None


def test_nothing_depends_on_the_clock(tmp_path):
    one, two = filled(tmp_path / "one"), filled(tmp_path / "two")
    for part in range(3):
        paths = [run.sweeps["circular"].path(part) for run in (one, two)]
        assert paths[0].read_bytes() == paths[1].read_bytes()
    assert (one.path / "manifest.json").read_bytes() == (two.path / "manifest.json").read_bytes()


def test_a_begun_run_is_gone_on_with(tmp_path):
    filled(tmp_path / "run").sweeps["circular"].path(1).unlink()
    again = store.begin(tmp_path / "run", manifest(SWEEP))
    assert again.sweeps["circular"].missing() == [1]
    with pytest.raises(ValueError, match="1 of 3 parts are missing; run the same sweep command"):
        again.sweeps["circular"].outcomes()


def test_what_a_killed_process_left_is_no_hindrance(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json.partial").write_text("torn")
    run = filled(tmp_path / "run")
    torn = run.sweeps["circular"].path(0).with_suffix(".parquet.partial")
    torn.write_text("torn")
    store.clear(store.begin(tmp_path / "run", manifest(SWEEP)))
    assert not torn.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"name": "other"}}, "another model: .* .name: toy there, other here"),
        ({"sweeps": manifest(Sweep("circular", grid(2), SIDE))["sweeps"]}, "another plan: "),
        ({"commit": "abc"}, "begun otherwise .commit: None there, abc here"),
    ],
)
def test_runs_are_not_mixed(tmp_path, changes, message):
    filled(tmp_path / "run")
    with pytest.raises(ValueError, match=message):
        store.begin(tmp_path / "run", manifest(SWEEP, **changes))


def test_refuses_what_is_no_run(tmp_path):
    (tmp_path / "precious").write_text("kept")
    with pytest.raises(ValueError, match="exists and is no run"):
        store.begin(tmp_path, manifest(SWEEP))
    assert (tmp_path / "precious").read_text() == "kept"


def test_only_an_empty_run_is_taken_back(tmp_path):
    store.take_back(filled(tmp_path / "run"))
    assert store.load(tmp_path / "run").sweeps["circular"].missing() == []
    store.take_back(store.begin(tmp_path / "empty", manifest(SWEEP)))
    assert not (tmp_path / "empty").exists()


def test_a_failed_write_leaves_the_parts_before(tmp_path, monkeypatch):
    run = filled(tmp_path / "run")
    stored = run.sweeps["circular"]
    stored.path(1).unlink()

    def fail(_, path, **__):
        path.write_bytes(b"PAR1 half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(ValueError, match=r"cannot write .*part-00001.parquet: No space left on"):
        stored.add(1, outcome_of(SWEEP, slice(2, 4)), "")
    assert stored.missing() == [1]
    assert sorted(path.name for path in (tmp_path / "run" / "circular").iterdir()) == [
        "part-00000.parquet", "part-00002.parquet",
    ]  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line(tmp_path):
    run = filled(tmp_path / "run")
    stored = run.sweeps["circular"]
    stored.path(1).unlink()
    store.partial_of(stored.path(1)).symlink_to("/dev/full")
    with pytest.raises(ValueError, match=r"cannot write .*: No space left on device"):
        stored.add(1, outcome_of(SWEEP, slice(2, 4)), "")
    assert stored.missing() == [1]


def test_locks_keep_others_out(tmp_path):
    run = filled(tmp_path / "run")
    others = pytest.raises(ValueError, match="another process is writing to")
    with store.lock(run.path), others, store.lock(run.path):
        pass
    with store.lock(run.path):  # and lets them in afterwards
        pass


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "manifest.json").unlink(), "is not a run"),
        (lambda run: (run / "manifest.json").write_text("{"), "is not a run"),
        (lambda run: (run / "manifest.json").write_text("[]"), "expected a manifest of"),
        (lambda run: (run / "manifest.json").write_text('{"format": 1}'), "format 2, got 1"),
        (lambda run: (run / "manifest.json").write_text('{"format": 2}'), "damaged"),
        (lambda run: part(run).unlink(), "1 of 3 parts are missing"),
        (lambda run: part(run).write_bytes(b"PAR1"), "cannot read .*part-00001"),
        (lambda run: part(run).write_bytes(part(run, 0).read_bytes()), "or another part"),
        (lambda run: reorder(run, lambda rows: rows[::-1]), "not those of the plan"),
        (lambda run: reorder(run, lambda rows: rows[:-2]), "expected 2 images of 9 rows, got 16"),
        (lambda run: rename(run, '"circular"', '"shift"'), "does not match its digest"),
    ],
)
def test_rejects_damage(tmp_path, damage, message):
    run = filled(tmp_path / "run")
    damage(run.path)
    with pytest.raises(ValueError, match=message):
        store.load(run.path).sweeps["circular"].outcome()


def part(run, number=1):
    return run / "circular" / f"part-{number:05}.parquet"


def reorder(run, change):
    schema = pq.read_schema(part(run))
    rows = change(pq.read_table(part(run)).to_pylist())
    pq.write_table(pa.Table.from_pylist(rows, schema), part(run))


def rename(run, before, after):
    path = run / "manifest.json"
    path.write_text(path.read_text().replace(f'"protocol": {before}', f'"protocol": {after}'))


def test_the_manifest_is_readable(tmp_path):
    text = (filled(tmp_path / "run").path / "manifest.json").read_text()
    assert "[ -1, -1 ]" in text  # a shift stays on one line
    assert json.loads(text)["format"] == 2


def test_joined_outcomes_keep_their_place():
    parts = [outcome_of(SWEEP, slice(2, 4)), outcome_of(SWEEP, slice(4, 5))]
    assert joined(parts).first == 2
    assert joined(parts).names == ("c", "d", "e")
