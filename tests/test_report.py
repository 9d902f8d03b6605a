"""A report: what it says, worked out by hand, and what a browser shows of it."""

import base64
import io
import json
import re
import shutil
import sys
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import shiftable
import tomllib
from PIL import Image
from shiftable import (
    Sweep,
    demo,
    diagonal,
    grid,
    images,
    line,
    models,
    random_pairs,
    report,
    sizes,
    store,
)
from shiftable.cli import main
from shiftable.colours import COLOURS, contrast
from shiftable.intervals import Estimate
from shiftable.metrics import METRICS, table
from shiftable.outcome import Outcome
from shiftable.report import page as pages
from shiftable.report.answers import layout
from shiftable.report.chart import line_chart
from shiftable.report.pictures import draw
from shiftable.run import Job
from shiftable.run import run as run_jobs

from tests.browser import Opened, chromium
from tests.commands import NET, options

FOLDER = Path(report.__file__).parent
EVIL = "<img src=x onerror=alert(1)>_0.png"
NAMES = "</script><script>alert(2)</script>\n<b>odd & columns</b>\n"


def column(place, name, at):
    """A photograph, 8x8, with one bright column."""
    photo = Image.new("RGB", (8, 8))
    photo.paste((255, 255, 255), (at, 0, at + 1, 8))
    photo.save(place / name)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two networks that were swept over the same two photographs; one has an evil name."""
    place = tmp_path_factory.mktemp("runs")
    (place / "toy_net.py").write_text(NET)
    (place / "names.txt").write_text(NAMES)
    (place / "photos").mkdir()
    column(place / "photos", "p0_1.png", 3)
    column(place / "photos", EVIL, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert main([*options(out="columns"), "--no-figures"]) == 0
        assert main([*options(out="rows", model="toy_net:Rows"), "--no-figures"]) == 0
        made = ["report", "columns", "rows", "--out", "both.html", "--classes", "names.txt"]
        assert main(made) == 0
    return place


def cards_of(path):
    """The data of each photograph on a page."""
    found = re.findall(r'<script type="application/json">(.*?)</script>', path.read_text())
    return [json.loads(text) for text in found]


def unpacked(one):
    """Classes, their probabilities, and those of the true class."""
    return np.frombuffer(base64.b64decode(one["cells"]), "<u2").reshape(3, -1)


# -- what it says ---------------------------------------------------------------------------------


def test_every_answer_is_on_the_page(runs):
    """A bright column makes the mean of its half 1/4: P = 1 / (1 + exp(-1/4)) = 0.562."""
    evil, plain = sorted(cards_of(runs / "both.html"), key=lambda card: card["truth"])
    (columns, rows) = evil["maps"]
    classes, probability, subject = unpacked(columns)
    # In column 4, of class 0, the even one; dx = -2..2 makes it even, odd, even, odd, even.
    names = np.array(evil["classes"])[classes].reshape(5, 5)
    even, odd = NAMES.splitlines()
    assert (names == [even, odd, even, odd, even]).all()
    assert set(probability) == {562}
    assert (subject.reshape(5, 5) == [562, 438, 562, 438, 562]).all()
    classes, probability, subject = unpacked(rows)  # sees as much in both halves
    assert len(set(classes)) == 1
    assert set(probability) == set(subject) == {500}
    assert plain["classes"][plain["truth"]] == odd
    assert [one["picture"] for one in evil["maps"]] == [0, 0]  # one picture for both networks


def test_the_tables(runs):
    text = (runs / "both.html").read_text()
    # 104 of 144 steps change the class of the one, none that of the other.
    assert "<td>72.2 % <small>[72.2, 72.2]</small></td>" in text
    assert "<td><strong>+72.2 %</strong> <small>[+72.2, +72.2]</small></td>" in text
    assert "class changes at 72 % of the steps" in text
    assert '>columns</span> \N{MINUS SIGN} <span class="whole">rows<' in text
    assert "<title>columns and rows</title>" in text


def test_nothing_on_it_is_markup_but_its_own(runs):
    text = (runs / "both.html").read_text()
    assert "<img" not in text
    assert "alert(2)</script>" not in text
    assert text.count("<script") == text.count("</script>") == 2 + 2
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text.replace("// ", ""))


def test_the_most_unstable_come_first_and_as_many_as_are_asked_for(tmp_path, monkeypatch):
    """Of the Columns, one photograph with a bright column changes; a grey one does not."""
    (tmp_path / "toy_net.py").write_text(NET)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8), (9, 9, 9)).save(tmp_path / "photos" / "a.png")
    column(tmp_path / "photos", "b.png", 3)
    Image.new("RGB", (8, 8), (7, 7, 7)).save(tmp_path / "photos" / "c.png")
    monkeypatch.chdir(tmp_path)
    assert main([*options(labels=None), "--no-figures"]) == 0
    for asked, names in ((None, ["b.png", "a.png", "c.png"]), (1, ["b.png"]), (0, [])):
        report.write_report(["run"], "page.html", photographs=asked)
        text = Path("page.html").read_text()
        assert re.findall(r'<h3 id="photograph-\d">(.*?)</h3>', text) == names
    assert "class 0" not in text


@pytest.mark.parametrize(
    ("plan", "shape", "across", "down"),
    [
        (grid(2), (5, 5), "dx (pixels)", "dy (pixels)"),
        (grid((0, 3), spacing=0.5), (7, 7), "dx (pixels)", "dy (pixels)"),
        (grid(1, sizes=(-1, 1)), (3, 3), "dx (pixels)", "dy (pixels)"),
        (line(3), (1, 7), "dx (pixels)", ""),
        (line(3, "vertical"), (1, 7), "dy (pixels)", ""),
        (diagonal(2), (1, 5), "dy = dx (pixels)", ""),
        (sizes(2), (1, 5), "size of the shorter side, against its own (pixels)", ""),
        (shiftable.listed([(0, 0), (2, 1), (1, 0)]), (1, 3), "number of the shift", ""),
    ],
    ids=str,
)  # fmt: skip
def test_every_plan_is_laid_out(plan, shape, across, down):
    found = layout(plan)
    assert (found.rows.shape, found.across, found.down) == (shape, across, down)


def test_cells_lie_where_their_shifts_are():
    plan = shiftable.listed([(1, 1), (0, 1), (1, 0), (0, 0)])
    assert layout(plan).rows.tolist() == [[3, 1], [2, 0]]
    sized = grid(1, sizes=(-1, 1))  # the middle third is at the image's own size
    assert layout(sized).rows.tolist() == [[9, 10, 11], [12, 13, 14], [15, 16, 17]]


def test_groups_have_no_map_and_the_page_says_why(runs, monkeypatch):
    monkeypatch.chdir(runs)
    groups = options(out="groups", shifts="pairs:3:2")
    assert main([*groups, "--no-figures"]) == 0
    assert main(["report", "groups", "--out", "groups.html"]) == 0
    text = Path("groups.html").read_text()
    assert "No map of groups, circular: random groups of shifts" in text
    assert "<article" not in text
    assert "P(top-1 change)" in text


def test_a_lossy_picture_is_nearly_the_window():
    """Of a real photograph, at the corners of the plan and in the middle."""
    photo = images.load([path for path in demo.more_photographs() if path.stem == "chelsea"],
                        size=(160, 160))[0]  # fmt: skip
    sweep = Sweep("crop", grid(16), (128, 128))
    drawn = draw(sweep, layout(sweep.plan), photo, 0)
    assert drawn.kind == "image/webp"
    assert len(drawn.data) < 30_000
    with Image.open(io.BytesIO(drawn.data)) as opened:
        shown = np.asarray(opened.convert("RGB")).astype(float)
    windows = sweep.prepare(photo).windows([0, len(sweep.plan) // 2, len(sweep.plan) - 1])
    for shift, window in zip((-16, 0, 16), windows.permute(0, 2, 3, 1).numpy(), strict=True):
        y, x = (int(value) - shift for value in drawn.rest)
        assert np.abs(shown[y : y + 128, x : x + 128] - window).mean() < 4
        if shift:  # elsewhere it is another picture
            assert np.abs(shown[:128, :128] - window).mean() > 4 or (y, x) == (0, 0)


# -- charts and colours ---------------------------------------------------------------------------


def test_a_chart_has_its_points_where_they_belong():
    half, whole = Estimate(0.5, 0.25, 0.75, 9), Estimate(1.0, None, None, 1)
    drawn = line_chart({"<a>": [(0, half), (4, whole)], "b": []}, "far (pixels)", "P(x)")
    # From 66 to 448 across, from 12 (100 %) to 254 (0 %) down.
    assert 'd="M66.0 133.0L448.0 12.0"' in drawn
    assert 'd="M66.0 193.5L448.0 12.0L448.0 12.0L66.0 72.5z"' in drawn
    assert re.findall(r">(\d+) %<", drawn) == ["0", "20", "40", "60", "80", "100"]
    assert "&lt;a&gt;, 4: 100.0%" in drawn
    assert "<a>" not in drawn
    assert line_chart({"a": [(1, Estimate(None, None, None, 0))]}, "x", "y") == ""
    assert "NaN" not in line_chart({"a": [(0, Estimate(0.0, 0.0, 0.0, 9))]}, "x", "y")


def test_text_and_lines_stand_out_on_both_grounds():
    css = (FOLDER / "style.css").read_text()
    pairs = re.findall(r"--(\w+): light-dark\((#\w+), (#\w+)\)", css)
    light, dark = ({name: pair[number] for name, *pair in pairs} for number in (0, 1))
    assert {"light": light["card"], "dark": dark["card"]} == pages._GROUNDS
    for scheme in (light, dark):
        for text in ("text", "quiet", "accent", "good", "bad"):
            for ground in ("ground", "card"):
                assert contrast(scheme[text], scheme[ground]) >= 4.5, (text, ground)
    shown = re.findall(r"--s\d:light-dark\((#\w+),(#\w+)\)", pages._style())
    assert len(shown) == len(COLOURS)
    for pair in shown:
        for colour, ground in zip(pair, pages._GROUNDS.values(), strict=True):
            assert contrast(colour, ground) >= 3


def test_every_number_of_the_summary_is_explained():
    assert set(pages._MEANINGS) == {*table.HEADLINE, *table.HEADLINE_WHERE_HAD} <= set(METRICS)


def test_a_wheel_has_what_the_page_is_made_of():
    root = Path(__file__).parent.parent
    packed = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = packed["package-data"]["shiftable.report"]
    for path in FOLDER.iterdir():
        if path.suffix not in (".py", "") and path.is_file():
            assert any(fnmatch(path.name, pattern) for pattern in patterns), path


# -- where photographs are from -------------------------------------------------------------------


def test_a_run_goes_on_from_wherever_its_photographs_are(run, place):
    assert run(*options(), "--no-figures").returncode == 0
    before = (place / "run" / "manifest.json").read_bytes()
    assert json.loads(before)["sources"] == {
        "images": [str(place / "photos")], "labels": r"pattern:_(\d)\."
    }  # fmt: skip
    (place / "run" / "circular" / "part-00000.parquet").unlink()
    shutil.copytree(place / "photos", place / "moved")
    again = run(*options(images="moved"), "--no-figures")
    assert again.returncode == 0, again.stderr
    assert (place / "run" / "manifest.json").read_bytes() == before
    assert store.load(place / "run").sweeps["circular"].missing() == []


def test_missing_photographs_are_told_and_the_page_is_made(run, place):
    assert run(*options(), "--no-figures").returncode == 0
    (place / "photos").rename(place / "moved")
    done = run("report", "run", "--out", "page.html")
    assert done.returncode == 0
    (told,) = done.stderr.splitlines()
    assert re.match(
        r"Without pictures of run, circular: .* were: no image or folder at .*photos", told
    )
    text = (place / "page.html").read_text()
    assert "Without pictures of run, circular: its photographs are not where the run says" in text
    assert str(place) not in text
    assert "data:image" not in text
    done = run("report", "run", "--out", "page.html", "--images", "moved")
    assert (done.returncode, done.stderr) == (0, "")
    assert "data:image/png" in (place / "page.html").read_text()
    # One from before runs said where their photographs are.
    path = place / "run" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["sources"]
    for damaged in ({}, {"sources": ["x"]}, {"sources": None}, {"sources": {"images": 5}}):
        path.write_text(json.dumps({**manifest, **damaged}))
        done = run("report", "run", "--out", "page.html")
        assert "run does not say where its photographs are. Name them by --images." in done.stderr
    done = run("report", "run", "--out", "page.html", "--no-pictures")
    assert (done.returncode, done.stderr) == (0, "")
    assert "left out, as was asked for" in (place / "page.html").read_text()


def test_a_run_does_not_say_what_code_is_run(run, place):
    column(place, "p.png", 3)
    (place / "own.py").write_text(
        "from pathlib import Path\nfrom PIL import Image\n"
        "Path('was-run').touch()\nphotos = [(Image.open('p.png'), 1)]\n"
    )
    assert run(*options(images="own:photos", labels=None), "--no-figures").returncode == 0
    (place / "was-run").unlink()
    sys.modules.pop("own")
    done = run("report", "run", "--out", "page.html")
    assert "made by code, which is run only where it is asked for: own:photos" in done.stderr
    assert not (place / "was-run").exists()
    done = run("report", "run", "--out", "page.html", "--images", "own:photos")
    assert (done.returncode, done.stderr) == (0, "")
    assert (place / "was-run").exists()
    assert "data:image/png" in (place / "page.html").read_text()


def test_other_photographs_are_refused(run, place):
    assert run(*options(), "--no-figures").returncode == 0
    column(place / "photos", "p2_0.png", 2)
    done = run("report", "run", "--out", "page.html")
    assert done.returncode == 2
    assert "not the photographs that run (circular) is of" in done.stderr
    assert not (place / "page.html").exists()


def test_runs_of_one_name_are_told_apart(run, place):
    for folder in ("one/run", "two/run"):
        assert run(*options(out=folder), "--no-figures").returncode == 0
    assert run("report", "one/run", "two/run", "--out", "page.html").returncode == 0
    assert "<title>one/run and two/run</title>" in (place / "page.html").read_text()
    done = run("report", "one/run", "one/run", "--out", "page.html")
    assert "expected each run once" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--out", "a.html"], "nowhere is not a run"),
        (["run", "--out", "a.png"], "expected a .html to write to, got a.png"),
        (["run", "--out", "nowhere/a.html"], "cannot write nowhere/a.html"),
        (["run", "--out", "a.html", "--sweep", "crop"], "no sweep 'crop' in run"),
        (["run", "--out", "a.html", "--photographs", "few"], "expected a whole number >= 0 or 'all'"),
        (["run", "--out", "a.html", "--classes", "none"], "cannot read none as names"),
        (["run", "--out", "a.html", "--classes", "bad.json"], "expected a JSON list of names"),
        (["run", "--out", "a.html", "--images", "none"], "no image or folder at none"),
        (["run", "--out", "a.html", "--images", "x", "--no-pictures"], "--images is for pictures"),
        (["half", "--out", "a.html"], "'circular' is not complete, 1 of 2 parts are missing"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(run, place, arguments, message):
    assert run(*options(), "--no-figures").returncode == 0
    (place / "bad.json").write_text('{"one": "cat"}')
    if "half" in arguments:
        (place / "run" / "circular" / "part-00001.parquet").unlink()
        (place / "run").rename(place / "half")
    done = run("report", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (place / "a.html").exists()


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("a.txt", "cat\ndog\n", {0: "cat", 1: "dog", 2: "class 2"}),
        ("a.json", '["cat", "dog"]', {0: "cat", 1: "dog", 2: "class 2"}),
        ("a.json", '{"1": "dog", "0": ["n0", "cat"]}', {0: "cat", 1: "dog", 2: "class 2"}),
    ],
)
def test_names_of_classes(tmp_path, name, text, names):
    (tmp_path / name).write_text(text)
    found = report.read_classes(tmp_path / name)
    assert {number: pages.name_of(number, found) for number in names} == names


# -- in a browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    """One for all tests."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def both(browser, runs):
    """The page of both networks, wide and light."""
    opened = Opened(browser, runs / "both.html", viewport={"width": 1200, "height": 900})
    opened.page.locator(".photograph").first.scroll_into_view_if_needed()
    opened.settle()
    return opened


def evil_card(opened):
    return opened.page.locator(".photograph", has=opened.page.get_by_text(EVIL, exact=True))


def test_it_opens_alone_and_without_a_fault(both, runs):
    assert both.asked[0] == f"file://{runs / 'both.html'}"
    assert all(url.startswith("data:image/") for url in both.asked[1:])
    assert both.faults == []
    assert both.page.title() == "columns and rows"
    assert evil_card(both).locator("h3").inner_text() == EVIL
    both.page.check("input[value=class]")
    assert evil_card(both).locator(".key li").all_inner_texts() == [
        f"{NAMES.splitlines()[0]} (true class)", NAMES.splitlines()[1]
    ]  # fmt: skip
    both.page.check("input[value=probability]")
    assert both.faults == []


def test_pointing_at_a_cell_shows_that_shift(both):
    card = evil_card(both)
    cells, picture = card.locator(".cells").first, card.locator(".picture")

    def brightest():
        both.settle()
        return picture.evaluate(
            """c => [...c.getContext('2d').getImageData(0, 0, 8, 1).data]
                .findIndex((value, at) => at % 4 === 0 && value === 255) / 4"""
        )

    box = cells.bounding_box()
    for number, dx in enumerate((-2, -1, 0, 1, 2)):
        cells.hover(position={"x": box["width"] * (number + 0.5) / 5, "y": box["height"] * 0.1})
        assert brightest() == 4 + dx
        signed = str(dx).replace("-", "\N{MINUS SIGN}")
        assert card.locator(".where").inner_text() == f"dy \N{MINUS SIGN}2 px, dx {signed} px"
        answer = card.locator(".found .active").inner_text().split("\n")
        even, odd = NAMES.splitlines()
        right = dx % 2 == 0
        assert answer[:2] == ["columns", f"\N{CHECK MARK} {even} P = 0.562" if right else f"\N{BALLOT X} {odd} P = 0.562"]  # fmt: skip
        assert answer[2:] == ([] if right else [f"true class {even}: P = 0.438"])
        assert card.locator(".found li").nth(1).inner_text().split("\n")[0] == "rows"


def test_keys_do_the_same(both):
    page, card = both.page, evil_card(both)
    page.locator("body").click(position={"x": 2, "y": 2})
    for _ in range(40):
        page.keyboard.press("Tab")
        if card.locator(".cells").first.evaluate("c => c === document.activeElement"):
            break
    else:
        pytest.fail("no map by Tab")
    where = card.locator(".where")
    minus = "\N{MINUS SIGN}"
    for key, dy, dx in (
        ("0", "0", "0"), ("ArrowRight", "0", "1"), ("ArrowUp", f"{minus}1", "1"),
        ("Home", f"{minus}1", f"{minus}2"), ("ArrowLeft", f"{minus}1", f"{minus}2"),
        ("PageDown", "2", f"{minus}2"), ("End", "2", "2"), ("Control+Home", f"{minus}2", f"{minus}2"),
        ("ArrowDown", f"{minus}1", f"{minus}2"),
    ):  # fmt: skip
        page.keyboard.press(key)
        assert where.inner_text() == f"dy {dy} px, dx {dx} px", key
    even, _ = NAMES.splitlines()
    assert page.locator("#said").inner_text() == (
        f"dy {minus}1 px, dx {minus}2 px. columns: {even}, probability 0.562, the true class"
    )
    outline = card.locator(".cells").first.evaluate("c => getComputedStyle(c).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Tab")  # one stop a map
    assert card.locator(".cells").nth(1).evaluate("c => c === document.activeElement")


def test_everything_that_takes_the_focus_has_a_name(both):
    tree = both.page.context.new_cdp_session(both.page).send("Accessibility.getFullAXTree")
    named = []
    for node in tree["nodes"]:
        properties = {one["name"]: one["value"].get("value") for one in node.get("properties", [])}
        role = node.get("role", {}).get("value")
        if properties.get("focusable") and role != "RootWebArea":
            named.append((role, node.get("name", {}).get("value", "")))
    unnamed = [role for role, name in named if not name]
    assert set(unnamed) <= {"main"}  # only the skip link's target
    roles = {role for role, _ in named}
    assert {"application", "radio", "combobox", "link", "region"} <= roles
    levels = both.page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].map((h) => +h.tagName[1])"
    )
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert both.page.locator("th:not([scope])").count() == 0
    both.page.keyboard.press("Control+Home")
    both.page.locator(".skip").focus()
    both.until("document.querySelector('.skip').getBoundingClientRect().top >= 0")


@pytest.mark.parametrize("width", [320, 390])
def test_nothing_is_wider_than_a_phone(browser, runs, width):
    opened = Opened(browser, runs / "both.html", viewport={"width": width, "height": 700})
    opened.page.locator(".photograph").first.scroll_into_view_if_needed()
    opened.settle()
    for mode in ("class", "probability"):
        opened.page.check(f"input[value={mode}]")
        extent = opened.page.evaluate("document.scrollingElement.scrollWidth")
        assert extent <= width
    opened.page.context.close()


def test_light_and_dark_follow_the_system_and_the_switch(browser, runs):
    opened = Opened(browser, runs / "both.html", color_scheme="dark", reduced_motion="reduce")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert opened.page.evaluate(ground) == "rgb(17, 19, 23)"
    opened.page.get_by_role("combobox", name="Appearance").select_option("light")
    assert opened.page.evaluate(ground) == "rgb(246, 247, 249)"
    opened.page.get_by_role("combobox", name="Appearance").select_option("")
    opened.page.emulate_media(color_scheme="light")
    assert opened.page.evaluate(ground) == "rgb(246, 247, 249)"
    opened.page.get_by_role("combobox", name="Appearance").select_option("dark")
    assert opened.page.evaluate(ground) == "rgb(17, 19, 23)"
    opened.page.emulate_media(media="print")
    assert opened.page.evaluate(ground) == "rgb(255, 255, 255)"
    for hidden in (".skip", ".scheme", ".modes", ".keys"):
        assert not opened.page.locator(hidden).is_visible()
    opened.until("document.querySelectorAll('.key canvas').length === 2")
    assert opened.page.locator(".key").first.is_visible()
    scrolls = "getComputedStyle(document.documentElement).scrollBehavior"
    assert opened.page.evaluate(scrolls) == "auto"
    opened.page.context.close()


SHOWN = {
    "embed": Sweep("embed", grid(1), (16, 20)),
    "coloured": Sweep("embed", grid(1), (16, 20), fill=(250.0, 120.0, 3.0)),
    "inpainted": Sweep("embed", grid(2), (16, 20), fill="inpaint"),
    "crop": Sweep("crop", grid(1), (8, 9)),
    "circular": Sweep("circular", grid(2), (11, 12)),
    "constant": Sweep("shift", grid(2), (11, 12), "constant", 77.0),
    "reflect": Sweep("shift", grid(2), (11, 12), "reflect"),
    "replicate": Sweep("shift", line(3), (11, 12), "replicate"),
    "diagonal": Sweep("circular", diagonal(2), (11, 12)),
    "vertical": Sweep("crop", line(1, "vertical"), (8, 9)),
    "sizes": Sweep("embed", sizes(2), (16, 20)),
    "sized": Sweep("embed", grid(1, sizes=1), (16, 20)),
    "half": Sweep("circular", grid(1, spacing=0.5), (11, 12)),
    "fourier": Sweep("circular", line(1, spacing=0.5), (11, 12), interpolation="fourier"),
    "pairs": Sweep("circular", random_pairs(2, 2), (11, 12)),
}


@pytest.fixture(scope="module")
def protocols(tmp_path_factory):
    """A run of every protocol, on two photographs of noise."""
    place = tmp_path_factory.mktemp("protocols")
    (place / "every_net.py").write_text(NET)
    (place / "photos").mkdir()
    draw = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        pixels = draw.integers(0, 256, (11, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / "photos" / name)
    photos = images.load(place / "photos", size=(11, 12))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        network = models.load("every_net:Columns", size=(11, 12))
        jobs = [Job(name, sweep, photos) for name, sweep in SHOWN.items()]
        sources = images.described([place / "photos"], None)
        run_jobs(network, jobs, place / "run", batch=8, sources=sources)
        assert report.write_report(["run"], "page.html") == []
    return place, photos


def test_the_picture_is_what_the_network_was_shown(browser, protocols):
    place, photos = protocols
    opened = Opened(browser, place / "page.html", viewport={"width": 1200, "height": 900})
    opened.until("document.querySelectorAll('.key canvas').length === 2")
    read = """async ([card, map, cells]) => {
      const frames = () => new Promise((done) =>
        requestAnimationFrame(() => requestAnimationFrame(done)));
      const article = document.querySelectorAll(".photograph")[card];
      const canvas = article.querySelectorAll(".cells")[map];
      const picture = article.querySelector(".picture"), found = [];
      for (const [column, row] of cells) {
        const box = canvas.getBoundingClientRect();
        canvas.dispatchEvent(new PointerEvent("pointermove", {
          clientX: box.left + box.width * (column + 0.5) / canvas.width,
          clientY: box.top + box.height * (row + 0.5) / canvas.height }));
        await frames();
        const { width, height } = picture;
        found.push([width, height, article.querySelector(".where").textContent,
          [...picture.getContext("2d").getImageData(0, 0, width, height).data]]);
      }
      return found;
    }"""
    titles = opened.page.locator(".photograph h3").all_inner_texts()
    maps = [name for name in SHOWN if name != "pairs"]
    for card, name in enumerate(titles):
        image = photos[photos.names.index(name)]
        for number, sweep_name in enumerate(maps):
            sweep = SHOWN[sweep_name]
            rows = layout(sweep.plan).rows
            cells = [(x, y) for y in range(rows.shape[0]) for x in range(rows.shape[1])]
            cells = [cells[1], cells[len(cells) // 2], cells[-1]]
            at = [int(rows[y, x]) for x, y in cells]
            windows = sweep.prepare(image).windows(at).permute(0, 2, 3, 1).numpy()
            shown = opened.page.evaluate(read, [card, number, cells])
            for window, (width, height, where, pixels), row in zip(windows, shown, at, strict=True):
                assert (height, width) == sweep.size
                got = np.array(pixels).reshape(height, width, 4)[..., :3]
                dy, dx = sweep.plan.shifts_for(0)[row]
                said = f"dy {dy:g} px, dx {dx:g} px".replace("-", "\N{MINUS SIGN}")
                assert where.startswith(said), sweep_name
                assert ("approximately" in where) == (not sweep.plan.whole)
                whole = dy % 1 == 0 and dx % 1 == 0
                if whole:
                    assert np.abs(got - np.rint(window)).max() == 0, (sweep_name, row)
    assert opened.faults == []
    text = opened.page.inner_text("main")
    assert "No map of run, pairs" in text
    assert "Pictures at shifts between pixels are approximate" in text
    opened.page.context.close()


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Fifty real photographs at 1,089 shifts, answered at random."""
    place = tmp_path_factory.mktemp("many")
    (place / "photos").mkdir()
    sources = [Image.open(path).convert("RGB") for path in demo.more_photographs()]
    for number in range(50):
        source = sources[number % len(sources)]
        left = (number * 37) % (source.width - 255)
        photo = source.crop((left, 0, left + 256, 256)).resize((168, 168))
        photo.save(place / "photos" / f"{number:02}.png", compress_level=1)
    photos = images.load(place / "photos", size=(168, 168))
    sweep = Sweep("embed", grid(16), (224, 224))
    entry = {
        "name": "embed", "digest": sweep.digest, "part_images": 50, "sweep": sweep.to_dict(),
        "images": {"count": 50, "size": [168, 168], "identity": photos.identity()},
    }  # fmt: skip
    settings = {"precision": "float32"}
    model = {"name": "random", "weights": None}
    begun = store.begin(
        place / "run",
        {"model": model, "settings": settings, "lower_precision": None, "versions": {},
         "sweeps": [entry], "sources": images.described([place / "photos"], None)},
    )  # fmt: skip
    draw, shape = np.random.default_rng(0), (50, len(sweep.plan))
    steps = (*shape, len(sweep.plan.directions))
    floats = [draw.random(shape, np.float32) for _ in range(3)]
    begun.sweeps["embed"].add(
        0,
        Outcome(
            sweep, photos.names, np.full(50, -1), draw.integers(0, 9, (*shape, 5)), *floats,
            np.full(shape, np.nan, np.float32), *(draw.random(steps, np.float32) for _ in range(3)),
        ),
        "none",
    )  # fmt: skip
    report.write_report([place / "run"], place / "page.html", photographs=None)
    return place / "page.html"


def test_fifty_photographs_at_a_thousand_shifts_open_at_once(browser, many):
    size = many.stat().st_size
    assert size < 10_000_000
    opened = Opened(browser, many, viewport={"width": 1200, "height": 900})
    opened.until("document.querySelector('.cells').width === 33")
    drawn = opened.page.evaluate("performance.now() / 1000")  # since the page was asked for
    loaded = opened.page.evaluate(
        "performance.getEntriesByType('navigation')[0].loadEventEnd / 1000"
    )
    print(f"{size} bytes, loaded after {loaded:.2f} s, a map drawn within {drawn:.2f} s")
    assert drawn < 5
    assert opened.page.evaluate("document.querySelectorAll('*').length") < 10_000
    opened.page.locator(".photograph").last.scroll_into_view_if_needed()
    opened.until("[...document.querySelectorAll('.cells')].at(-1).width === 33")
    assert opened.faults == []
    opened.page.context.close()
