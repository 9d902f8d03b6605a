"""What the documents say runs."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from shiftable.cli import shiftable

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def code(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def test_the_readmes_python_runs(capsys):
    first, mend = code(ROOT / "README.md", "python")
    exec(first.replace("grid(7)", "grid(1)"), {})  # the same on 9 shifts instead of 225
    assert re.findall(r"^(\w+) Estimate\(value=0\.\d+", capsys.readouterr().out, re.MULTILINE) == ["embed", "crop"]  # fmt: skip
    exec(mend, {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_options_in_the_documents_exist():
    known = {"--json", "--all"}  # of `metrics`
    known |= set(
        re.findall(r"--[a-z-]+", CliRunner().invoke(shiftable, ["sweep", "--help"]).output)
    )
    for page in PAGES:
        for command in re.findall(r"shiftable sweep(?:[^`\n]|\\\n)*", page.read_text()):
            assert set(re.findall(r"--[a-z-]+", command)) <= known, command
