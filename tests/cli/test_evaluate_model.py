"""The report of a model and `kinocyte evaluate model`, with models whose answers are known."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile

from kinocyte.cli import _model_report as report
from kinocyte.cli import run
from kinocyte.cli._model_words import augmented, methods
from kinocyte.cli.model_evaluating import _show, _warned, cropped
from kinocyte.core.errors import InputFileError, ParameterError
from kinocyte.learning.data.augment import Augmentation
from kinocyte.learning.data.pairs import Pair, digest
from kinocyte.learning.model import ImageModel
from kinocyte.learning.quality.judging import judge
from kinocyte.learning.quality.leakage import learnt_from
from kinocyte.learning.quality.sensitivity import sensitivity
from kinocyte.learning.quality.sweeping import Candidate, sweep_checkpoints
from kinocyte.pipeline.training.run import fitting
from kinocyte.report.training_page import _table, html_report, pdf_report
from tests.learning._small_models import Above, AboveClasses, Smooth, model, predict
from tests.learning.test_quality import curve, history, labelled, noisy


class _Tags(HTMLParser):
    """Keeps what is open, what was closed wrongly, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.words = ""
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "link", "br", "image", "path", "use", "rect"}:
            self.open.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in {"src", "href"}]

    def handle_endtag(self, tag: str) -> None:
        if tag in {"path", "use", "image", "rect"}:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.words += data


RECORD = {
    "settings": {"batch_size": 4, "patch_px": [64, 64], "learning_rate": 3e-4, "schedule": "cosine", "seed": 1},
    "augmentation": Augmentation(gain=0.2, rotation_deg=90).model_dump(),
    "images": {"training": 9, "held_out": 3}, "steps": 400, "best_step": 300, "start": None, "machine": "Linux x86_64",
    "versions": {"kinocyte": "0.1", "torch": "2.6"},
}  # fmt: skip


def page(m: ImageModel, pairs: list[Pair], tmp_path: Path, *, sweep: bool = False) -> Any:
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    history(curve(40, 0.02), curve(40, 0.02, 0.15)).write_csv(run_folder / "history.csv")
    (run_folder / "record.json").write_text(json.dumps(RECORD), encoding="utf-8")
    judged = judge(m, pairs, predict)
    names = {"a": 0.0, "b": 2.0}
    candidates = [Candidate(n, i, {"shift": np.array([w], np.float32)}) for i, (n, w) in enumerate(names.items())]
    swept = sweep_checkpoints(m, candidates, pairs, predict) if sweep else None
    return report.page(
        m, judged, title=None, run=run_folder, swept=swept,
        tried=sensitivity(m, pairs[:1], predict), data=Path("images"), pairs=pairs,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["labels", "classes", "image"])
def test_the_page_is_whole_and_says_what_was_found(kind: str, tmp_path: Path) -> None:
    pairs = noisy() if kind == "image" else labelled()
    if kind == "classes":
        pairs = [p.replace(target=(p.target > 0).astype(np.uint8)) for p in pairs if p.target is not None]
    task = {"labels": Above(), "classes": AboveClasses(), "image": Smooth()}[kind]
    made = page(model(task, 2.0 if kind == "image" else 0.0), pairs, tmp_path, sweep=kind == "image")
    text = html_report(made)
    found = _Tags(text)
    assert not found.wrong
    assert not found.open
    assert all(a.startswith(("#", "data:")) for a in found.addresses), "the page needs the network"
    words = " ".join(found.words.split())
    for sentence in (
        "Underfitted.", "9 images; 3 others (chosen by image or movie, not by patch)", "400 steps of 4 patches of",
        "rotation (90 deg), brightness (0.2)", "PyTorch 2.6", "Materials and methods", "Examples, from worst to best",
    ):  # fmt: skip
        assert sentence in words
    expected = {"labels": "F1 was 1 at", "classes": "of classes was 1", "image": "(input: "}[kind]
    assert expected in words
    assert ("'b' of step 1 is the best" in words) == (kind == "image")
    pdf = pdf_report(made)
    assert pdf.startswith(b"%PDF-")
    assert pdf.count(b"/Type /Page ") >= 3


def test_images_of_the_training_are_known_again() -> None:
    pairs, m = labelled(), model(Above(), 0.0)
    judged = judge(m, pairs, predict)
    record = {"digests": [digest(pairs[0].image), "0" * 16]}
    assert learnt_from(record, pairs) == [pairs[0].name]
    assert learnt_from({"digests": ["0" * 16]}, pairs) == []
    assert learnt_from({}, pairs) is None
    flattered = _warned(judged, learnt_from(record, pairs))
    assert f"1 of the {len(pairs)} images took part in the training ('{pairs[0].name}')" in flattered.notes[0]
    for found, said in (
        (flattered, "objects of which it had learnt from some, F1"),
        (_warned(judged, []), "objects that it had not learnt from, F1"),
        (_warned(judged, None), "objects, F1"),
    ):
        assert said in methods(m, found, RECORD, len(pairs))[-1]


def test_changes_are_shown_where_no_report_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    pairs, m = labelled(2), model(Above(), 0.0)
    _show(judge(m, pairs, predict), None, sensitivity(m, pairs[:1], predict), None, [])
    shown = capsys.readouterr().out
    assert "mean average precision under changes" in shown
    assert "blur px" in shown
    assert shown.count("as it is") >= 3


def test_what_a_row_is_of_stands_in_each_part_of_a_wide_table() -> None:
    table = pl.DataFrame(
        {"image": ["a", "a"], "of": ["prediction", "input"], **{f"score {i:020}": [0.1, 0.2] for i in range(7)}}
    )
    text = [line[2] for line in _table(table)]
    parts = [t for t in text if t.startswith("image")]
    assert len(parts) == 3
    assert all("of" in t for t in parts)
    assert sum("prediction" in t for t in text) == sum("input" in t for t in text) == 3
    assert "".join(parts).count("score") == 7
    assert [line[2].strip() for line in _table(table.select("image"))] == ["image", "a", "a", ""]


def test_words_of_augmentation() -> None:
    assert augmented(Augmentation(flips=False, quarter_turns=False).model_dump()) == ""
    assert augmented(Augmentation(blur_px=1.5).model_dump()) == "mirroring, quarter turns, blur (1.5 px)"
    assert augmented(None) == ""


def test_maps_keep_sign_and_depth(tmp_path: Path) -> None:
    """The maps of ZeroCostDL4Mic are uint8, in which negative values wrap around."""
    keeper = report.Keeper(tmp_path)
    target = np.random.default_rng(0).integers(0, 200, (1, 32, 32)).astype(np.uint8)
    prediction = target[:, ::-1].astype(np.float32)
    keeper.maps(Pair("im0", target, target), target, prediction)
    error, similar = (tifffile.imread(tmp_path / "maps" / f"im0_{what}.tif") for what in ("error", "ssim"))
    assert error.dtype == similar.dtype == np.float32
    np.testing.assert_array_equal(error, prediction[0] - target[0])
    assert error.min() < 0 < error.max()
    assert similar.min() < 0
    keeper.maps(Pair("im0", target, target), target, prediction)
    assert (tmp_path / "maps" / "im0_2_error.tif").is_file(), "two images of one name are both kept"


def test_the_folder_of_a_training_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "model").mkdir(parents=True)
    assert report.run_of(str(folder)) is None
    history(curve(9, 0.3), None).write_csv(folder / "history.csv")
    assert report.run_of(str(folder)) == report.run_of(str(folder / "model")) == folder
    assert report.history(folder).height == 9
    with pytest.raises(InputFileError, match="holds no checkpoints"):
        report.checkpoints(folder)
    (folder / "history.csv").write_text("step,loss\n1,zwei\n", encoding="utf-8")
    with pytest.raises(InputFileError, match="cannot be read as the history"):
        report.history(folder)


def test_channels_are_taken_by_name() -> None:
    image = np.stack([np.full((4, 4), k) for k in range(3)])
    pair = Pair("a", image, channels=("gfp", "dna", "bf"))
    assert fitting(model(Above()), pair, None).image[0, 0, 0] == 1
    assert fitting(model(Above()), pair, ["3"]).channels == ("bf",)
    with pytest.raises(ParameterError, match="no channel 'gfq'; did you mean 'gfp'"):
        fitting(model(Above()), pair, ["gfq"])


def test_the_middle_is_cut_out_of_image_and_larger_target() -> None:
    pair = Pair("a", np.arange(100).reshape(1, 10, 10), np.arange(400).reshape(1, 20, 20))
    cut = cropped(pair, 4, 2)
    assert cut.image.shape == (1, 4, 4)
    assert cut.target is not None
    assert cut.target.shape == (1, 8, 8)
    assert cut.image[0, 0, 0] == 33
    assert cut.target[0, 0, 0] == 6 * 20 + 6


def test_the_command_judges_a_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    from kinocyte.learning.model import InputChannel
    from kinocyte.learning.tasks.stardist import StarDist

    task = StarDist(n_rays=8, width=4, depth=1, last_width=8)
    torch.manual_seed(0)
    weights = {k: v.numpy() for k, v in task.build(1, 1, 2).state_dict().items()}
    untrained = ImageModel(
        "untrained",
        task,
        (InputChannel(name="dna"),),
        (InputChannel(name="cells"),),
        "yx",
        None,
        weights,
        dict(task.untuned),
    )
    untrained.save(tmp_path / "model")
    for side in ("images", "masks"):
        (tmp_path / side).mkdir()
    for pair in labelled(2):
        tifffile.imwrite(tmp_path / "images" / f"{pair.name}.tif", pair.image[0])
        tifffile.imwrite(tmp_path / "masks" / f"{pair.name}_masks.tif", pair.target)
    folders = ["--inputs", str(tmp_path / "images"), "--targets", str(tmp_path / "masks")]
    command = ["evaluate", "model", str(tmp_path / "model"), *folders, "--no-sensitivity"]
    assert run([*command, "--out", str(tmp_path / "out"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "labels"
    assert document["scores"]["reference_objects"] == 18
    assert len(document["per_image"]) == 2
    assert (tmp_path / "out" / "report.html").is_file()
    assert pl.read_csv(tmp_path / "out" / "per_image.csv")["image"].to_list() == ["im0", "im1"]
    assert sorted(p.name for p in (tmp_path / "out" / "maps").iterdir()) == ["im0_labels.tif", "im1_labels.tif"]
    assert run([*command, "--out", str(tmp_path / "out")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert run([*command, "--sweep"]) == 2
    assert "name the folder of the training" in capsys.readouterr().err
    order = ["data", "rank", str(tmp_path / "model"), str(tmp_path / "images"), "--json"]
    assert run([*order, "--out-csv", str(tmp_path / "order.csv")]) == 0
    ranked = json.loads(capsys.readouterr().out)["order"]
    assert {r["image"] for r in ranked} == {"im0", "im1"}
    assert pl.read_csv(tmp_path / "order.csv").height == 2
    assert run([*order, "--out-csv", str(tmp_path / "order.csv")]) == 2
