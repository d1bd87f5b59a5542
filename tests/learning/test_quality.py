"""How models are judged: scores, curves, sweeps, sensitivity and ranking, with models whose answers are known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.ndimage import gaussian_filter

from kinocyte.core.errors import ParameterError
from kinocyte.evaluation.classes import score_classes
from kinocyte.evaluation.images import score_image
from kinocyte.learning.data.pairs import Pair
from kinocyte.learning.quality.curves import judge_curves
from kinocyte.learning.quality.judging import judge
from kinocyte.learning.quality.ranking import rank_frames
from kinocyte.learning.quality.sensitivity import sensitivity
from kinocyte.learning.quality.sweeping import Candidate, sweep_checkpoints
from tests.learning._small_models import Above, AboveClasses, Smooth, model, predict
from tests.learning.test_data_checks import cells


def labelled(n: int = 4) -> list[Pair]:
    found = []
    for seed in range(n):
        image, labels = cells(seed)
        bright = np.where(labels > 0, 1000, 100) + np.random.default_rng(seed).normal(0, 20, image.shape)
        found.append(Pair(f"im{seed}", bright[None].astype(np.float32), labels))
    return found


def noisy(n: int = 3) -> list[Pair]:
    found = []
    for seed in range(n):
        rng = np.random.default_rng(seed)
        clean = gaussian_filter(rng.random((48, 48)), 3) * 5000
        found.append(Pair(f"im{seed}", (clean + rng.normal(0, 60, clean.shape))[None], clean[None]))
    return found


# judging


def test_a_perfect_model_of_objects_and_one_that_misses() -> None:
    judged = judge(model(Above()), labelled(), predict)
    assert judged.kind == "labels"
    assert judged.pooled["f1"] == 1
    assert judged.score == 1
    assert judged.pooled["mean_true_iou"] == judged.pooled["foreground_iou"] == 1
    assert judged.errors.height == 0
    blind = judge(model(Above(), probability_threshold=5.0), labelled(), predict)
    assert blind.score == 0
    assert blind.pooled["false_negatives"] == 36
    assert blind.pooled["mean_true_iou"] == 0
    assert blind.per_image["mean_true_iou"].to_list() == [0.0] * 4
    assert blind.errors.height == 36
    assert blind.per_image["foreground_iou"].to_list() == [0.0] * 4


def test_foreground_overlap_is_not_instance_overlap() -> None:
    """Two touching cells taken as one have a perfect foreground; ZeroCostDL4Mic called that the IoU of instances."""
    labels = np.zeros((40, 40), np.int32)
    labels[10:30, 5:20], labels[10:30, 20:35] = 1, 2
    judged = judge(model(Above()), [Pair("a", (labels > 0)[None].astype(np.float32), labels)], predict)
    assert judged.pooled["foreground_iou"] == 1
    assert judged.pooled["mean_true_iou"] == pytest.approx(0.25), "one of them is found, with half of it wrong"
    assert judged.pooled["mean_average_precision"] < 0.1


def test_images_are_scored_beside_their_input() -> None:
    pairs = noisy()
    judged = judge(model(Smooth(), 2.0), pairs, predict)
    table = judged.per_image
    assert table.height == 6
    prediction, before = (table.filter(pl.col("of") == of) for of in ("prediction", "input"))
    assert (prediction["ssim"] > before["ssim"]).all()
    assert pairs[0].target is not None
    assert before["rmse"][0] == score_image(pairs[0].target[0], pairs[0].image[0], fit="linear").rmse
    assert judged.pooled["ssim"] == pytest.approx(prediction["ssim"].mean())
    assert judged.main == "ssim"
    assert table["st_lpips"].null_count() == 6
    assert judged.notes


def test_perceptual_scores_are_added_where_asked() -> None:
    pytest.importorskip("torch")
    from kinocyte.learning.quality.perceptual import perceptual_distance

    judged = judge(model(Smooth(), 1.0), noisy(1), predict, perceptual=perceptual_distance())
    found = dict(judged.per_image.select("of", "st_lpips").iter_rows())
    assert 0 < found["prediction"] < found["input"]


def test_classes_are_scored_by_pixel() -> None:
    pairs = [p.replace(target=(p.target > 0).astype(np.uint8)) for p in labelled() if p.target is not None]
    judged = judge(model(AboveClasses()), pairs, predict)
    assert judged.kind == "classes"
    assert judged.score == 1
    assert judged.classes is not None
    assert judged.classes.confusion.sum() == 4 * 64 * 64


def test_scores_of_classes_by_hand() -> None:
    from sklearn.metrics import f1_score, jaccard_score

    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 3, (2, 30, 30))
    b = np.where(rng.random(b.shape) < 0.7, a, b)
    report = score_classes([(a, b)])
    for name, oracle in (("iou", jaccard_score), ("f1", f1_score)):
        np.testing.assert_allclose(report.per_class[name].to_numpy(), oracle(a.ravel(), b.ravel(), average=None))
    assert report.per_image["accuracy"][0] == pytest.approx(np.mean(a == b))
    absent = score_classes([(np.zeros((4, 4), int), np.full((4, 4), 2))])
    assert absent.per_class["iou"].to_list() == [0, None, 0]
    with pytest.raises(ParameterError, match="classes are whole numbers"):
        score_classes([(a, b * 300)])
    with pytest.raises(ParameterError, match="Image x: the truth has the shape"):
        score_classes([(a, b[1:])], ["x"])


def test_examples_go_from_worst_to_best() -> None:
    pairs = labelled(5)
    assert pairs[3].target is not None
    pairs[3] = pairs[3].replace(target=np.roll(pairs[3].target, 30, 1))
    judged = judge(model(Above()), pairs, predict, n_examples=2)
    assert judged.examples[0].name == "im3"
    assert len(judged.examples) == 2
    assert judge(model(Above()), pairs[:1], predict).examples[0].name == "im0"


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ParameterError, match="no image to judge"):
        judge(model(Above()), [], predict)
    with pytest.raises(ParameterError, match="'a' has no target"):
        judge(model(Above()), [Pair("a", np.ones((1, 8, 8)))], predict)
    odd = Pair("odd", np.random.default_rng(0).random((1, 20, 20)), np.ones((1, 20, 21)))
    with pytest.raises(ParameterError, match="'odd': the model gives"):
        judge(model(Smooth()), [odd], predict)


# curves


def history(train: list[float], held: list[float] | None) -> pl.DataFrame:
    rows = {"step": [100 * (i + 1) for i in range(len(train))], "train_loss": train}
    return pl.DataFrame(rows | ({} if held is None else {"held_out_loss": held}))


def curve(n: int, rate: float, floor: float = 0.1) -> list[float]:
    return [floor + np.exp(-rate * i) for i in range(n)]


@pytest.mark.parametrize(
    ("train", "held", "verdict"),
    [
        (curve(40, 0.3), curve(40, 0.3, 0.15), "fitted"),
        (curve(40, 0.15, 0.0), [*curve(15, 0.3, 0.3), *(0.32 + 0.02 * i for i in range(25))], "overfitted"),
        (curve(40, 0.02), curve(40, 0.02, 0.15), "underfitted"),
        (curve(40, 0.3), [1.0 + 0.5 * (-1) ** i * (i > 5) - 0.05 * (i == 3) for i in range(40)], "unstable"),
        (curve(40, 0.3), [1.0 + 1e-3 * i for i in range(40)], "not learnt"),
        (curve(40, 0.3), None, "unknown"),
        ([1.0, 0.5], [1.0, 0.6], "unknown"),
        ([*curve(9, 0.3), float("nan")], curve(10, 0.3), "unstable"),
    ],
)
def test_curves_tell_what_happened(train: list[float], held: list[float] | None, verdict: str) -> None:
    found = judge_curves(history(train, held))
    assert found.verdict == verdict, found.sentence
    assert found.sentence.endswith(".")


def test_the_best_step_is_named() -> None:
    found = judge_curves(history(curve(40, 0.15, 0), [*curve(15, 0.3, 0.3), *(0.32 + 0.02 * i for i in range(25))]))
    assert found.best_step == 1500
    assert "step 1500" in found.sentence
    assert judge_curves(pl.DataFrame({"step": []})).verdict == "unknown"


# sweep


def test_a_sweep_ranks_picks_and_never_judges_the_same_weights_twice() -> None:
    asked = []

    def counting(m, pair):  # type: ignore[no-untyped-def]
        asked.append(float(m.weights["shift"][0]))
        return predict(m, pair)

    weights = {"good": 0.0, "worse": 0.48, "blind": -3.0, "last": 0.0}
    candidates = [
        Candidate(name, step, {"shift": np.array([w], np.float32)}) for step, (name, w) in enumerate(weights.items())
    ]
    swept = sweep_checkpoints(model(Above(), 0.3), candidates, labelled(2), counting)
    assert sorted(set(asked)) == [-3.0, 0.0, pytest.approx(0.48)]
    assert len(asked) == 3 * 2
    assert swept.table["name"][0] == "good"
    assert swept.table["score"].to_list() == [1, 0, 0]
    assert swept.table["rank"].to_list() == [1, 2, 3]
    assert float(swept.best.weights["shift"][0]) == 0
    with pytest.raises(ParameterError, match="no checkpoint"):
        sweep_checkpoints(model(Above()), [], labelled(1), predict)


def test_a_sweep_of_images_picks_the_best_smoothing() -> None:
    candidates = [Candidate(f"{w}", i, {"shift": np.array([w], np.float32)}) for i, w in enumerate((0.0, 2.0, 9.0))]
    assert sweep_checkpoints(model(Smooth()), candidates, noisy(2), predict).table["name"][0] == "2.0"


# sensitivity


def test_sensitivity_changes_settings_and_images() -> None:
    table = sensitivity(model(Above()), labelled(2), predict, seed=3)
    assert set(table["what"]) == {"probability_threshold", "noise", "blur_px", "size"}
    for _, rows in table.group_by("what"):
        assert rows["as_is"].sum() == 1
        assert rows.filter(pl.col("as_is"))["score"][0] == 1
    noise = table.filter(pl.col("what") == "noise").sort("value")["score"].to_list()
    assert noise[0] > noise[-1]
    assert table.equals(sensitivity(model(Above()), labelled(2), predict, seed=3))


# ranking


def test_the_most_contradicted_frames_come_first_and_alike_ones_late() -> None:
    rng = np.random.default_rng(0)
    sharp = labelled(1)[0].image
    faint = [Pair(f"faint{k}", rng.normal(100, 20, (1, 64, 64))) for k in range(2)]
    twin = Pair("twin", faint[0].image + 0.01)
    pairs = [*faint, twin, Pair("sharp", sharp)]

    def unsteady(m, pair):  # type: ignore[no-untyped-def]
        """Answer by the place in the array where the image is faint, so that turned images give other objects."""
        found = predict(m, pair)
        if pair.image.std() < 50 and found.labels is not None:
            found.labels[:, :20] = 0
        return found

    table = rank_frames(model(Above()), pairs, unsteady)
    assert table["rank"].to_list() == [1, 2, 3, 4]
    assert table.row(by_predicate=pl.col("image") == "sharp", named=True)["disagreement"] < 0.01
    assert table["image"][0].startswith(("faint", "twin"))
    alike = [table["image"].to_list().index(n) for n in ("faint0", "twin")]
    assert max(alike) == 3 or table["unlikeness"][max(alike)] < 0.1
    assert table.equals(rank_frames(model(Above()), pairs, unsteady))
    by_doubt = rank_frames(model(Above()), pairs, unsteady, diversity=0)
    assert by_doubt["uncertainty"].is_sorted(descending=True)
    assert by_doubt["image"][-1] == "sharp"


def test_ranking_images_and_bad_questions() -> None:
    table = rank_frames(model(Smooth(), 1.0), noisy(2), predict)
    assert table["doubt"].null_count() == 2
    assert table["disagreement"].max() < 1e-4
    with pytest.raises(ParameterError, match="no image to rank"):
        rank_frames(model(Above()), [], predict)
    with pytest.raises(ParameterError, match="diversity is 2"):
        rank_frames(model(Above()), noisy(1), predict, diversity=2)
