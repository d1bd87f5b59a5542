"""Write stardist.json: what stardist's matching says about the cases of segmentation_cases.py.

Run in an environment of its own: ``pip install stardist==0.9.2``, then
``python tests/evaluation/oracles/make_stardist.py shared/data``.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

from segmentation_cases import all_cases
from stardist.matching import matching, matching_dataset

THRESHOLDS = [0.1, *(round(0.5 + 0.05 * n, 2) for n in range(10))]
NAMES = ("tp", "fp", "fn", "precision", "recall", "accuracy", "f1", "panoptic_quality", "mean_matched_score")


def main() -> None:
    """Match every case at every threshold and write the numbers."""
    cases = all_cases(Path(sys.argv[1]))
    out = {
        name: {str(t): {k: float(getattr(matching(a, b, thresh=t), k)) for k in NAMES} for t in THRESHOLDS}
        for name, (a, b) in cases.items()
    }
    truth, result = zip(*cases.values(), strict=True)
    whole = matching_dataset(list(truth), list(result), thresh=0.5, show_progress=False)
    found = {"made_with": f"stardist {version('stardist')}", "cases": out}
    found["pooled"] = {k: float(getattr(whole, k)) for k in NAMES}
    Path(__file__).with_name("stardist.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
