"""A sweep in a process of its own: ``python -m kinocyte.app.tuning.process``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kinocyte.app.run_process import Teller
from kinocyte.app.serving import Stop, serve

_SHOWN = 40


def tune(asked: Mapping[str, Any], teller: Teller, _stop: Stop) -> None:
    """Search the parameters that fit the annotations best, as `kinocyte sweep` does, and tell the best trials."""
    from kinocyte.pipeline.sweep import sweep
    from kinocyte.pipeline.sweep.truth import LOWER_IS_BETTER

    result = sweep(
        asked["pipeline"], asked["url"], asked["over"], out=asked["out"], truth=asked["truth"],
        search="grid" if asked["trials"] is None else "bayes", trials=asked["trials"] or 100,
        population=asked["population"], positions=[asked["position"]], workers=asked["workers"], seed=asked["seed"],
        match_distance_um=asked.get("match_distance_um"),
        on_trial=lambda done, total, _: teller.progress("", done / total, step=done, steps=total),
    )  # fmt: skip
    sign = -1.0 if result.metric not in LOWER_IS_BETTER else 1.0
    scored = [t for t in result.trials if t.scores.get(result.metric) is not None]
    scored.sort(key=lambda t: sign * float(t.scores[result.metric] or 0.0))
    rows = [{"settings": dict(t.settings), "score": t.scores[result.metric]} for t in scored[:_SHOWN]]
    failed = [t.error for t in result.trials if t.error]
    teller.say(
        "tuned", rows=rows, metric=result.metric, has_truth=result.has_truth, trials=len(result.trials),
        failed=len(failed), reason=failed[0] if failed else "", winner=str(Path(asked["out"]) / "winner.toml"),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(serve({"tune": tune}))
