"""A package we did not write adds a segmenter, a linker and a network without touching ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kinocyte.core import registry

PACKAGE = Path(__file__).parent / "package"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package with pip, without the network, into a folder of its own."""
    source = tmp_path_factory.mktemp("plugin") / "source"
    target = source.parent / "site"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def outside(installed: Path, code: str, folder: Path | None = None) -> Any:
    """Run code in a fresh interpreter that sees the package; return what its last line prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_here_the_package_is_not_seen() -> None:
    assert "constant_threshold" not in registry.names("segmentation")


def test_the_registry_lists_its_methods_beside_ours(installed: Path) -> None:
    code = (
        "import json; from kinocyte.core import registry;"
        "print(json.dumps({k: registry.names(k) for k in ('segmentation', 'tracking')}))"
    )
    names = outside(installed, code)
    assert set(registry.names("segmentation")) | {"constant_threshold"} == set(names["segmentation"])
    assert set(registry.names("tracking")) | {"nearest_centre"} == set(names["tracking"])


def test_a_table_of_a_pipeline_becomes_its_model(installed: Path) -> None:
    code = """
import json
from kinocyte.core import registry
from kinocyte.core.errors import ParameterError
table = {"method": "constant_threshold", "channel": "dapi", "value": 10}
said = []
for wrong in ({**table, "min_area": 3}, {"method": "constant_treshold"}):
    try:
        registry.parse("segmentation", wrong)
    except ParameterError as error:
        said.append(str(error))
print(json.dumps([repr(registry.parse("segmentation", table)), *said]))
"""
    model, key, name = outside(installed, code)
    assert model == "ConstantThreshold(channel='dapi', value=10.0)"
    assert "no parameter 'min_area'; did you mean 'min_area_um2'?" in key
    assert "no segmentation method 'constant_treshold'; did you mean 'constant_threshold'?" in name


PIPELINE = """
[population.nuclei.segmentation]
method = "constant_threshold"
channel = "dapi"
value = 10

[population.nuclei.tracking]
method = "nearest_centre"
max_distance_um = 4.0
"""


def test_a_pipeline_file_takes_its_methods(installed: Path) -> None:
    code = f"""
import json
from kinocyte.core.errors import ParameterError
from kinocyte.pipeline.parse import parse_pipeline
text = {PIPELINE!r}
nuclei = parse_pipeline(text).population["nuclei"]
try:
    parse_pipeline(text.replace("max_distance_um", "max_distance"), place="p.toml")
except ParameterError as error:
    said = str(error)
print(json.dumps([repr(nuclei.segmentation), repr(nuclei.tracking), said]))
"""
    segmenter, linker, said = outside(installed, code)
    assert segmenter == "ConstantThreshold(channel='dapi', value=10.0)"
    assert linker == "NearestCentre(max_distance_um=4.0)"
    assert said.startswith("p.toml, line 9: there is no key")
    assert "did you mean 'max_distance_um'?" in said


def test_the_schema_of_a_pipeline_holds_its_methods(installed: Path) -> None:
    code = "import json; from kinocyte.pipeline.model import json_schema; print(json.dumps(json_schema()))"
    definitions = outside(installed, code)["$defs"]
    assert definitions["ConstantThreshold"]["properties"]["min_area_um2"]["unit"] == "um2"
    assert definitions["NearestCentre"]["properties"]["method"]["const"] == "nearest_centre"


def test_the_whole_analysis_runs_with_its_methods(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").write_text(PIPELINE, encoding="utf-8")
    code = """
import json
import numpy as np
import kinocyte
from kinocyte.cli import run
experiment = kinocyte.create("e.zarr")
scale = kinocyte.Scale.isotropic(0.5, 1.0)
writer = experiment.new_position(
    well="A1", field="1", shape=(2, 1, 1, 32, 32), dtype="u1", channels=["dapi"], scale=scale
)
for frame in range(2):
    image = np.zeros((1, 32, 32), np.uint8)
    image[0, 8 + frame : 12 + frame, 8:12] = 50
    writer.write(frame, image)
writer.finish()
code = run(["run", "pipeline.toml", "e.zarr", "--no-report", "--workers", "0"])
tracks = kinocyte.open("e.zarr").tracks("nuclei").collect()
print(json.dumps([code, tracks.height, tracks["last_frame"].to_list()]))
"""
    assert outside(installed, code, tmp_path) == [0, 1, [1]]


def test_its_reference_and_schema_are_made_like_ours(installed: Path) -> None:
    code = """
import json
from kinocyte.core import reference, registry
cls = registry.get("segmentation", "constant_threshold")
print(json.dumps([reference.method_section(cls), cls.model_json_schema()]))
"""
    section, schema = outside(installed, code)
    assert "### segmentation: `constant_threshold`" in section
    assert "| `min_area_um2` | number | µm² | `0.0` | ≥ 0 | Smaller objects are left out. |" in section
    assert schema["properties"]["min_area_um2"]["unit"] == "um2"


def test_its_methods_do_their_work(installed: Path) -> None:
    code = """
import json
import numpy as np
import polars as pl
from kinocyte.core import registry
from kinocyte.core.scale import Scale
image = np.zeros((8, 8)); image[1:3, 1:3] = 20; image[5, 5] = 20; image[6:8, 0:4] = 20
table = {"method": "constant_threshold", "channel": "dapi", "value": 10, "min_area_um2": 1}
labels = registry.parse("segmentation", table).segment(image, Scale.isotropic(0.5))
objects = pl.DataFrame({"object_id": [1, 2, 3], "frame": [0, 1, 1], "x_um": [0.0, 1.0, 4.0], "y_um": [0.0, 0.0, 0.0]})
links = registry.parse("tracking", {"method": "nearest_centre"}).link(objects)
print(json.dumps([np.unique(labels).tolist(), str(labels.dtype), links.select("source_id", "target_id").rows()]))
"""
    values, dtype, links = outside(installed, code)
    assert values == [0, 1, 2]
    assert dtype == "uint32"
    assert links == [[1, 2]]


def test_its_network_is_trained_kept_and_applied_like_ours(installed: Path, tmp_path: Path) -> None:
    """The filter that made the targets is found, and a model that was written and read gives what it gave before."""
    pytest.importorskip("torch")
    code = """
import json
from pathlib import Path
import numpy as np
from scipy.ndimage import correlate
from kinocyte.core import registry
from kinocyte.learning.data.normalisation import Normalisation
from kinocyte.learning.data.pairs import Pair
from kinocyte.learning.model import InputChannel, load_image_model
from kinocyte.learning.training.fit import Lesson, fit
from kinocyte.learning.training.run_folder import begin_run
from kinocyte.learning.training.settings import TrainingSettings
rng = np.random.default_rng(1)
true = np.array([[0, 1, 0], [2, -3, 0], [0, 0, 0.5]])
pairs = []
for i in range(4):
    image = rng.normal(size=(40, 40)).astype(np.float32)
    pairs.append(Pair(str(i), image[None], correlate(image, true, mode="constant")[None]))
plain = InputChannel(name="signal", normalisation=Normalisation(method="none", low=0, high=1))
task = registry.parse("task", {"method": "one_filter", "size_px": 3})
settings = TrainingSettings(
    steps=300, patch_px=24, batch_size=4, learning_rate=0.05, warmup_steps=5, device="cpu", threads=1, held_out=0.25
)
from kinocyte.learning.data.augment import Augmentation
still = Augmentation(flips=False, quarter_turns=False)
model = fit(Lesson(pairs, (plain,), (plain,), still), task, settings, begin_run(Path("run"), {}))
model.save(Path("model"))
again = load_image_model(Path("model"))
found = {n: a for n, a in again.weights.items()}["weight"][0, 0]
print(json.dumps([type(again.task).__name__, np.abs(found - true).max().item()]))
"""
    name, off = outside(installed, code, tmp_path)
    assert name == "OneFilter"
    assert off < 0.02
