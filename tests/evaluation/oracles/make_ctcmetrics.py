"""Write ctcmetrics.json: what py-ctcmetrics says about the cases of ctc_cases.py.

Run in an environment of its own: ``pip install py-ctcmetrics==1.3.3``, then
``python tests/evaluation/oracles/make_ctcmetrics.py shared/data``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tifffile
from ctc_cases import Case, all_cases
from ctc_metrics.scripts.evaluate import evaluate_sequence

METRICS = ["SEG", "TRA", "DET", "LNK", "CT", "TF", "CCA", "BC", "HOTA", "IDF1"]


def write_case(case: Case, folder: Path) -> None:
    """Write a case as the folders of the Cell Tracking Challenge."""
    truth, result = folder / "01_GT", folder / "01_RES"
    for path in (truth / "TRA", truth / "SEG", result):
        path.mkdir(parents=True)
    for t, (a, b) in enumerate(zip(case.truth, case.result, strict=True)):
        tifffile.imwrite(truth / "TRA" / f"man_track{t:03d}.tif", a)
        tifffile.imwrite(result / f"mask{t:03d}.tif", b)
    for t, mask in case.masks.items():
        tifffile.imwrite(truth / "SEG" / f"man_seg{t:03d}.tif", mask)
    np.savetxt(truth / "TRA" / "man_track.txt", case.truth_tracks, fmt="%d")
    np.savetxt(result / "res_track.txt", case.result_tracks, fmt="%d")


def main() -> None:
    """Evaluate every case and write the numbers."""
    scores = {}
    for name, build in all_cases(Path(sys.argv[1])).items():
        case = build()
        metrics = METRICS if case.masks else METRICS[1:]
        with tempfile.TemporaryDirectory() as folder:
            write_case(case, Path(folder))
            try:
                found = evaluate_sequence(f"{folder}/01_RES", f"{folder}/01_GT", list(metrics), 1)
            except IndexError:  # it cannot score truth with an empty frame, or an empty result
                continue
        if found.get("Valid") == 0:
            sys.exit(f"{name} is not a valid case")
        scores[name] = {
            k: None if v is None else float(v) for k, v in found.items() if k not in metrics or v is not None
        }
    out = {"made_with": f"py-ctcmetrics {version('py-ctcmetrics')}", "cases": scores}
    Path(__file__).with_name("ctcmetrics.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
