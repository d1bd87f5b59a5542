"""The page: what it says, what it withstands, how it behaves in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import kinocyte
from kinocyte.core.errors import ParameterError, StoreError
from kinocyte.core.scale import Scale
from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.groups import write_json
from kinocyte.report import write_report
from kinocyte.report.page import number
from tests.report import browser
from tests.report.conftest import add_position

RUN: dict[str, Any] = {
    "pipeline": {"name": "demo </script><script>alert(1)</script>", "seed": 1},
    "versions": {"kinocyte": "0.1.0"},
    "tasks": [
        {"step": "segmentation", "population": "cells", "position": "B2/1", "status": "done", "seconds": 2.0},
        {"step": "segmentation", "population": "cells", "position": "C3/2", "status": "failed", "seconds": 1.0,
         "message": "Frame 7 holds <b>no</b> signal.", "warnings": ["Frame 3 is dark."]},
        {"step": "report", "population": None, "position": None, "status": "skipped", "seconds": None, "warnings": []},
    ],
}  # fmt: skip
HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)> $\\frac{ Grün & ${7*7} {{7*7}}'


@pytest.fixture(scope="module")
def page(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    return write_report(experiment, folder / "report.html", run=RUN, figures_dir=folder / "figures", formats=("svg",))


class _Outline(HTMLParser):
    """Collects what a checker of accessibility asks first."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.images: list[dict[str, str | None]] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        table = dict(attrs)
        self.tags.append(tag)
        self.ids += [str(table["id"])] if "id" in table else []
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "img":
            self.images.append(table)
        self.addresses += [str(table[k]) for k in ("src", "href", "srcset", "action", "data", "poster") if table.get(k)]


def outline(path: Path) -> _Outline:
    parser = _Outline()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


def words(path: Path) -> str:
    """Return the text of a page as a reader sees it."""
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_the_page_needs_nothing_from_outside(page: Path) -> None:
    found = outline(page)
    assert found.addresses
    assert all(a.startswith(("data:", "#")) for a in found.addresses)
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"@import|url\((?!#)", text)
    assert page.stat().st_size < 15e6


def test_the_policy_lets_only_our_script_run(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text


def test_headings_images_and_ids_suit_a_screen_reader(page: Path) -> None:
    found = outline(page)
    assert found.headings[0] == 1
    assert found.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(found.headings, found.headings[1:], strict=False))
    assert found.images
    assert all(i.get("alt") for i in found.images)
    assert len(found.ids) == len(set(found.ids))
    assert {"main", "nav", "header", "footer"} <= set(found.tags)


def test_it_says_what_was_found(page: Path) -> None:
    text = words(page)
    assert "Migration assay" in text
    assert "B2/1 5 out of focus (dye), frame 5" in text
    assert "C3/2 7 blank frame (dye), frame 7" in text
    assert "none, 0 nM" in text
    assert "Compound A, 1.5 nM" in text
    assert "Frame 7 holds <b>no</b> signal." in text
    assert "3 objects have no link." in text
    assert "Frame 3 is dark." in text
    assert "8 movies from 4 wells" in text
    assert "1 done, 1 failed, 1 skipped" in text
    assert "Jaqaman" in text


def test_the_plate_holds_the_mean_of_every_well(page: Path, experiment: Experiment) -> None:
    text = page.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="plate-data">(.*?)</script>', text, flags=re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    column = data["quantities"].index("cells per frame and position")
    for well in data["wells"]:
        positions = experiment.wells[well["well"]]
        expected = np.mean([p.objects("cells").height / p.n_frames for p in positions])
        assert well["values"][column] == pytest.approx(expected, rel=1e-5)


def test_figures_are_files_too(page: Path) -> None:
    names = sorted(p.stem for p in (page.parent / "figures").glob("*.svg"))
    assert {
        "cells_counts",
        "cells_tracks",
        "cells_area_um2",
        "quality_focus",
        "plate_cells_per_frame_and_position",
    } <= set(names)
    assert len(names) == len(list((page.parent / "figures").iterdir()))


def test_the_same_experiment_gives_the_same_page(page: Path, experiment: Experiment, tmp_path: Path) -> None:
    again = write_report(experiment, tmp_path / "again.html", run=RUN)
    assert again.read_bytes() == page.read_bytes()


def test_wrong_arguments_are_refused_before_anything_is_written(experiment: Experiment, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="did you mean 'pdf'"):
        write_report(experiment, tmp_path / "r.html", formats=("pdff",))
    with pytest.raises(ParameterError, match="did you mean 'drug'"):
        write_report(experiment, tmp_path / "r.html", by="drugs")
    (tmp_path / "file").write_text("")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of an experiment with names that attack, 12 channels, a stack, and movies without cells."""
    folder = tmp_path_factory.mktemp("hostile")
    made = kinocyte.create(folder / "böse store.zarr", name=HOSTILE)
    names = [f"channel {i} {HOSTILE}" for i in range(12)]
    add_position(made, "A1", "1", n_frames=2, channels=names, name=HOSTILE, n_cells=2)
    add_position(made, "A2", "1", n_frames=2, planes=3, name="Prüfung ../..", n_cells=2)
    add_position(made, "B1", "1", n_frames=1, n_cells=0)
    add_position(made, "B2", "1", n_frames=1, population=None)
    drugs = {HOSTILE: [HOSTILE, "µ-Kontrolle", None], "x": [1.0, None, 2.0]}
    made.set_conditions(pl.DataFrame({"well": ["A1", "A2", "B1"], **drugs}))
    return write_report(
        made, folder / "Bericht ü.html", title=HOSTILE, figures_dir=folder / "figures", formats=("svg",)
    )


def test_hostile_names_stacks_many_channels_and_empty_movies(hostile: Path) -> None:
    found = outline(hostile)
    assert found.tags.count("script") == 2  # the plate's data and ours
    assert not any("onerror" in i for i in found.images)
    text = words(hostile)
    assert HOSTILE in text
    assert "{{7*7}}" in text
    assert "µ-Kontrolle" in text
    assert "no cell in the whole movie (cells)" in text
    assert "&lt;script" in (hostile.parent / "figures" / "cells_counts.svg").read_text(encoding="utf-8")


def test_an_empty_experiment_and_one_that_was_only_imported(
    new_experiment: Callable[..., Experiment], tmp_path: Path
) -> None:
    made = new_experiment("leer")
    empty = words(write_report(made, tmp_path / "empty.html"))
    assert "no positions yet" in empty
    add_position(made, "A1", "1", n_frames=2, population=None)
    imported = words(write_report(made, tmp_path / "imported.html"))
    assert "Nothing has been segmented yet." in imported
    assert "nothing has been run" in imported


def test_a_damaged_position_is_named_and_the_others_are_reported(
    new_experiment: Callable[..., Experiment], tmp_path: Path
) -> None:
    made = new_experiment()
    add_position(made, "A1", "1", n_frames=2)
    broken = add_position(made, "A1", "2", n_frames=2)
    for chunk in Path(broken.place, "0", "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"broken")
    lost = add_position(made, "A2", "1", n_frames=2)
    Path(lost.place, "tables", "cells_objects", "table.parquet").write_bytes(b"no table")
    text = words(write_report(made, tmp_path / "r.html"))
    assert "2 failures" in text
    assert re.search(r"reading for this report A1/2 Frame 0 of .* is damaged", text)
    assert "is not a readable Parquet table" in text
    assert "A1/1" in text


def test_the_newest_run_of_the_experiment_is_told(new_experiment: Callable[..., Experiment], tmp_path: Path) -> None:
    made = new_experiment()
    add_position(made, "A1", "1", n_frames=1)
    for name, message in (("20260101T000000", "old"), ("20260102T000000", "new trouble")):
        task = {"step": "tracking", "population": "cells", "position": "A1/1", "status": "failed", "message": message}
        write_json(made.storage, f"runs/{name}.json", {"pipeline": "text = 1", "versions": {}, "tasks": [task]})
    text = words(write_report(made, tmp_path / "r.html"))
    assert "new trouble" in text
    assert " old " not in text
    assert "text = 1" in text


def test_a_movie_without_a_known_interval(new_experiment: Callable[..., Experiment], tmp_path: Path) -> None:
    made = new_experiment()
    writer = made.new_position(
        well="A1", field="1", shape=(3, 1, 1, 40, 50), dtype=np.float32, channels=["a"], scale=Scale.isotropic(0.5)
    )
    for t in range(3):
        writer.write(t, np.full((1, 40, 50), np.nan if t == 1 else t, np.float32))
    writer.finish()
    text = words(write_report(made, tmp_path / "r.html"))
    assert "100.0% NaN or infinite pixels (a)" in text


def test_a_place_that_cannot_be_written(new_experiment: Callable[..., Experiment], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        write_report(new_experiment(), tmp_path / "file" / "r.html")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (float("nan"), "–"), (3, "3"), (1234567, "1\u202f234\u202f567"),
     (0.123456, "0.123"), (1234.5, "1234"),
     (True, "yes"), ("a", "a"), (2.5e9, "2.50e+09"), (0.0, "0"), (float("inf"), "inf")],
)  # fmt: skip
def test_numbers_for_tables(value: Any, text: str) -> None:
    assert number(value) == text


# --------------------------------------------------------------------------------------------- in a browser
@pytest.fixture(scope="module")
def chromium() -> Iterator[browser.Browser]:
    executable = browser.find()
    if executable is None:
        pytest.skip("no Chromium on this machine; install it with: apt-get install chromium")
    with browser.Browser(executable) as running:
        yield running


WIDTH = "document.documentElement.scrollWidth"
PICTURES = "[...document.images].every((image) => image.complete && image.naturalWidth > 0)"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_no_error_no_request_no_overflow(page: Path, chromium: browser.Browser, width: int, dark: bool) -> None:
    ink = "getComputedStyle(document.body).backgroundColor"
    visit = chromium.visit(page, width=width, dark=dark, ask={"width": WIDTH, "pictures": PICTURES, "paper": ink})
    assert visit.errors == []
    assert visit.requests == []
    assert visit.answers["width"] <= width
    assert visit.answers["pictures"]
    shade = sum(int(v) for v in re.findall(r"\d+", visit.answers["paper"])[:3])
    assert (shade < 200) == dark


def test_hostile_names_do_nothing_in_a_browser(hostile: Path, chromium: browser.Browser) -> None:
    ask = {"width": WIDTH, "title": "document.title", "script": "document.scripts.length"}
    visit = chromium.visit(hostile, width=375, ask=ask)
    assert visit.errors == []
    assert visit.requests == []
    assert visit.answers["width"] <= 375
    assert visit.answers["title"].startswith('<script>alert("x")</script>')
    assert visit.answers["script"] == 2


def test_the_plate_is_coloured_by_what_is_chosen(page: Path, chromium: browser.Browser) -> None:
    choose = """(() => {
        const select = document.getElementById("quantity");
        select.selectedIndex = [...select.options].findIndex((o) => o.text.startsWith("mean speed"));
        select.dispatchEvent(new Event("change"));
        const wells = [...document.querySelectorAll(".well")];
        wells[3].click();
        const faces = wells.map((w) => w.style.background);
        return [faces, wells.map((w) => w.textContent), document.getElementById("plate-picked").textContent];
    })()"""
    panes = """(() => {
        const box = document.querySelector("[data-panes]");
        const select = box.querySelector("select");
        const shown = () => [...box.querySelectorAll(".pane")].map((p) => p.offsetHeight > 0);
        const before = shown();
        select.selectedIndex = 1;
        select.dispatchEvent(new Event("change"));
        return [before, shown()];
    })()"""
    stop = """(() => {
        const image = document.querySelector("img[data-still]");
        document.getElementById("pause").click();
        return image.src === image.dataset.still;
    })()"""
    visit = chromium.visit(page, ask={"plate": choose, "panes": panes, "stop": stop})
    assert visit.errors == []
    colours, texts, picked = visit.answers["plate"]
    assert len(set(colours)) == 4
    assert "rgb(68, 1, 84)" in colours  # viridis from end to end
    assert "rgb(253, 231, 37)" in colours
    assert picked.startswith("C3: Compound A, 1.5\u00a0nM; mean speed (µm/min): ")
    assert picked.endswith(texts[3])
    before, after = visit.answers["panes"]
    assert before[:2] == [True, False]
    assert after[:2] == [False, True]
    assert sum(before) == sum(after) == 1
    assert visit.answers["stop"]


def test_movies_stand_still_for_those_who_ask_for_it(page: Path, chromium: browser.Browser) -> None:
    still = "[...document.querySelectorAll('img[data-still]')].every((i) => i.src === i.dataset.still)"
    assert chromium.visit(page, reduced_motion=True, ask={"still": still}).answers["still"]
    assert not chromium.visit(page, ask={"still": still}).answers["still"]


def test_print_shows_every_feature(page: Path, chromium: browser.Browser) -> None:
    shown = "[...document.querySelectorAll('.pane')].every((p) => p.offsetHeight > 0)"
    assert chromium.visit(page, media="print", ask={"all": shown}).answers["all"]
