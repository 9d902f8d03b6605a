"""What the documents say runs."""

import re
import warnings
from pathlib import Path

import pytest
import shiftable
import torch
from click.testing import CliRunner
from peers import peer
from shiftable import demo
from shiftable.cli import shiftable as command

from tests.commands import options
from tests.toys import Residual

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def code(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def test_the_readmes_python_runs(capsys):
    first, surgery, layers = code(ROOT / "README.md", "python")
    exec(first.replace("grid(7)", "grid(1)"), {})  # the same on 9 shifts instead of 225
    assert re.findall(r"^(\w+) Estimate\(value=0\.\d+", capsys.readouterr().out, re.MULTILINE) == ["embed", "crop"]  # fmt: skip
    exec(surgery, {"model": Residual().eval()})
    assert "3 changed, 0 left" in capsys.readouterr().out
    exec(layers, {})


def test_the_python_of_mending_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = torch.rand(2, 3, 32, 32)
    names = {"images": shown, "maps": shown, "example": shown, "model": Residual().eval()}
    names |= {"shiftable": shiftable, "torch": torch}
    find, mend, recovery, export = code(ROOT / "docs" / "mend.md", "python")
    exec(find, names)
    assert len(names["operations"]) == 3
    exec(mend, names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter, about itself
        exec(export, names)
    short = recovery.replace("steps=1000", "steps=1, batch=1, batch_norm=0")
    exec(short.replace('"photos/"', '"demo:photographs"'), {})
    assert (tmp_path / "recovery.pt").exists()


def test_the_python_of_explaining_runs(capsys):
    spectra, layers = code(ROOT / "docs" / "explain.md", "python")
    names = {"photo.jpg": str(demo.photographs()[0][0]), "photos/": "demo:photographs"}
    for short, long in names.items():
        spectra, layers = (text.replace(short, long) for text in (spectra, layers))
    found = {}
    exec(spectra, found)
    assert found["energy"].shape[0] == 1
    exec(layers.replace("list(photos)", "list(photos)[:1]"), found)
    assert tuple(found["more"]) == (16, 16)
    assert len(found["rows"]) == 29
    assert "conv10 18 (16, 16) Estimate(value=0." in capsys.readouterr().out


def test_the_gate_of_the_documents_runs():
    (gate,) = code(ROOT / "docs" / "metrics.md", "python")
    with pytest.raises(AssertionError, match=r"expected at least 90\.00 %"):  # the toy is a mean
        exec(gate.replace("windows.mean((2, 3))", "windows[:, :, 0, 0]"), {})
    exec(gate, {})


def test_the_replacements_of_the_documents_run():
    first, second = code(ROOT / "docs" / "compat.md", "python")
    exec(first, {})
    peer("timm")
    exec(second, {})


def test_the_queries_of_the_documents_run(run, place, capsys, monkeypatch):
    """On the run of a toy network; its name stands for the demo's."""
    assert run(*options(protocol="embed", shifts="grid:1", out="runs/demo-1")).returncode == 0
    monkeypatch.chdir(place)
    first, second, third = code(ROOT / "docs" / "run.md", "python")
    exec(first, {})
    exec(second, {})
    exec(third, {})
    shown = capsys.readouterr().out
    assert "p0_1.png" in shown
    assert "accuracy" in shown
    assert re.search(r"dx +0 +1", shown)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_options_in_the_documents_exist():
    for name in command.commands:
        shown = CliRunner().invoke(command, [name, "--help"], env={"COLUMNS": "200"}).output
        known = set(re.findall(r"--[a-z0-9-]+", shown))
        for page in PAGES:
            for line in re.findall(rf"shiftable {name} (?:[^`\n#|]|\\\n)*", page.read_text()):
                assert set(re.findall(r"--[a-z0-9-]+", line)) <= known, line
