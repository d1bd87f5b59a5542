"""Files of other programs become ours on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kinocyte.cli import run
from kinocyte.pipeline.parse import load_pipeline

CELLS = {
    "TrackerConfig": {
        "MotionModel": {"name": "cell_motion", "max_search_radius": 40.0},
        "HypothesisModel": {
            "hypotheses": ["P_FP", "P_init", "P_term", "P_link", "P_branch"], "lambda_link": 10.0, "dist_thresh": 40,
            "time_thresh": 2, "theta_time": 5.0,
        },
    }
}  # fmt: skip


def test_a_configuration_of_btrack_becomes_a_table_of_the_pipeline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "cell_config.json", tmp_path / "tracking.toml"
    source.write_text(json.dumps(CELLS))
    words = ["convert", "btrack", str(source), str(target), "--population", "nuclei", "--um-per-unit", "0.5"]
    assert run(words) == 0
    assert "'nuclei'" in capsys.readouterr().out
    linker = load_pipeline(target).population["nuclei"].tracking
    assert linker is not None
    assert (linker.method, linker.max_distance_um, linker.link_scale_um) == ("bayesian", 20.0, 5.0)  # type: ignore[attr-defined]  # a Bayesian
    assert linker.hypotheses == ("false_positive", "init", "term", "link", "branch")  # type: ignore[attr-defined]  # likewise
    assert run(words) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("[1]", "no HypothesisModel"),
        ('{"TrackerConfig": 3}', "no HypothesisModel"),
        ('{"HypothesisModel": {"lambda_link": "far"}}', "lambda_link"),
        ('{"HypothesisModel": {"time_thresh": NaN}}', "time_thresh"),
        ('{"HypothesisModel": {"lambda_link": -1}}', "link_scale_um"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_a_broken_configuration_is_refused_in_one_sentence(
    tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "config.json"
    source.write_text(text)
    assert run(["convert", "btrack", str(source), str(tmp_path / "out.toml"), "--um-per-unit", "1"]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out.toml").exists()
