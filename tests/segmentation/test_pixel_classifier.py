"""Pixel classifier: features against analytic values, the forest against scikit-learn, files that mean harm."""

import io
import json
import zipfile

import numpy as np
import polars as pl
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from kinocyte.core.errors import CalibrationError, InputFileError, ParameterError
from kinocyte.core.scale import Scale
from kinocyte.segmentation._feature_bank import _eigenvalues, bank_rows
from kinocyte.segmentation._forest import grow
from kinocyte.segmentation.feature_bank import FeatureBank
from kinocyte.segmentation.forest import Forest
from kinocyte.segmentation.label_algebra import overlaps, relabel
from kinocyte.segmentation.pixel_classifier import PixelClassifier
from kinocyte.segmentation.pixel_model import PixelModel
from kinocyte.segmentation.pixel_training import train_pixel_classifier
from kinocyte.segmentation.threshold import Threshold

SCALE = Scale.isotropic(0.5)
DEEP = Scale.isotropic(0.5, z_um=1.0)


def scene(shape=(90, 110), seed=0):
    """Return an image of textured cells that are no brighter than the background, and where they are."""
    rng = np.random.default_rng(seed)
    inside = ndi.gaussian_filter(rng.normal(size=shape), 6) > 0.02
    noise = rng.normal(size=shape)
    return np.where(inside, 8 * noise, noise).astype(np.float32) + 100, inside


def strokes_on(inside, seed=1, part=0.03):
    return np.where(np.random.default_rng(seed).random(inside.shape) < part, inside + 1, 0)


@pytest.fixture(scope="module")
def model():
    image, inside = scene()
    return train_pixel_classifier([image], [strokes_on(inside)], SCALE, trees=20, sigmas_um=(0.5, 1.5), channels=("a",))


def whole(image, bank, spacing):
    rows = bank_rows([image], tuple((0, n) for n in image.shape), bank, spacing)
    return dict(zip(bank.names(("c",), image.ndim), rows.T.reshape(-1, *image.shape), strict=True))


def test_features_of_a_parabola_are_its_derivatives():
    """A blur leaves first and second derivatives of a parabola as they are; they are scaled by sigma and sigma^2."""
    y, x = np.meshgrid(np.arange(80) * 0.5, np.arange(90) * 0.25, indexing="ij")
    image = 3 * x**2 - 2 * y**2 + x * y + 5 * x
    found = whole(image, FeatureBank(sigmas_um=(0.75,)), (0.5, 0.25))
    middle = (slice(30, 50), slice(40, 50))
    truth = np.linalg.eigvalsh([[-4.0, 1.0], [1.0, 6.0]])[::-1] * 0.75**2
    np.testing.assert_allclose(found["c hessian 1 0.75 um"][middle], truth[0], rtol=1e-4)
    np.testing.assert_allclose(found["c hessian 2 0.75 um"][middle], truth[1], rtol=1e-4)
    np.testing.assert_allclose(found["c log 0.75 um"][middle], -2.0 * 0.75**2, rtol=1e-3)
    slope = np.hypot(6 * x + y + 5, x - 4 * y)[middle] * 0.75
    np.testing.assert_allclose(found["c gradient 0.75 um"][middle], slope, rtol=1e-5)
    np.testing.assert_array_equal(found["c intensity"], image.astype(np.float32))
    blurred = ndi.gaussian_filter(image, (1.5, 3.0), mode="nearest")
    np.testing.assert_allclose(found["c gaussian 0.75 um"], blurred, rtol=1e-6)
    narrow = ndi.gaussian_filter(image, (1.5 * 0.66, 3.0 * 0.66), mode="nearest")
    np.testing.assert_allclose(found["c dog 0.75 um"], narrow - blurred, atol=1e-3)


def test_the_structure_tensor_of_a_ramp_has_one_direction():
    z, y, x = np.meshgrid(np.arange(30) * 1.0, np.arange(40) * 0.5, np.arange(40) * 0.5, indexing="ij")
    found = whole(2 * x + 3 * y - 6 * z, FeatureBank(sigmas_um=(1.0,)), (1.0, 0.5, 0.5))
    middle = (slice(12, 18), slice(18, 22), slice(18, 22))
    np.testing.assert_allclose(found["c structure 1 1 um"][middle], 7.0, rtol=1e-5)
    np.testing.assert_allclose(found["c structure 2 1 um"][middle], 0.0, atol=2e-3)
    np.testing.assert_allclose(found["c structure 3 1 um"][middle], 0.0, atol=2e-3)
    np.testing.assert_allclose(found["c gradient 1 um"][middle], 7.0, rtol=1e-5)
    np.testing.assert_allclose(found["c hessian 1 1 um"][middle], 0.0, atol=1e-6)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=6, max_size=6))
def test_eigenvalues_equal_lapack(m):
    zz, zy, zx, yy, yx, xx = m
    truth = np.linalg.eigvalsh([[zz, zy, zx], [zy, yy, yx], [zx, yx, xx]])[::-1]
    np.testing.assert_allclose(_eigenvalues((zz, zy, zx), (yy, yx, xx), True), truth, atol=1e-4)
    flat = np.linalg.eigvalsh([[yy, yx], [yx, xx]])[::-1]
    np.testing.assert_allclose(_eigenvalues((zz, zy, zx), (yy, yx, xx), False)[:2], flat, atol=1e-9)


def from_sklearn(peer):
    """Return the peer's trees as ours; its thresholds become the next smaller single-precision number."""
    feature, threshold, children, share, roots = [], [], [], [], []
    at = 0
    for tree in (e.tree_ for e in peer.estimators_):
        leaf = tree.children_left < 0
        roots.append(at)
        feature.append(np.where(leaf, -1, tree.feature).astype(np.int32))
        single = tree.threshold.astype(np.float32)
        single = np.where(single > tree.threshold, np.nextafter(single, np.float32(-np.inf)), single)
        threshold.append(np.where(leaf, np.float32(0), single).astype(np.float32))
        pair = np.stack([tree.children_left, tree.children_right], axis=1)
        children.append(np.where(leaf[:, None], 0, pair + at).astype(np.int32))
        share.append((tree.value[:, 0] / tree.value[:, 0].sum(axis=1, keepdims=True)).astype(np.float32))
        at += leaf.size
    parts = (np.concatenate(p) for p in (feature, threshold, children, share))
    return Forest(*parts, np.array(roots), peer.n_features_in_)


def cloud(n, seed, n_classes=3):
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.normal(size=(n, 9)), rng.integers(-2, 3, (n, 2))], axis=1).astype(np.float32)
    score = rows[:, 0] * rows[:, 1] + np.abs(rows[:, 2]) + 0.3 * rows[:, 9] + 0.2 * rng.normal(size=n)
    return rows, np.digitize(score, np.quantile(score, np.arange(1, n_classes) / n_classes))


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_same_trees_give_the_probabilities_of_scikit_learn(n_classes):
    ensemble = pytest.importorskip("sklearn.ensemble")
    rows, truth = cloud(800, 0, n_classes)
    peer = ensemble.RandomForestClassifier(30, random_state=1).fit(rows, truth)
    fresh = np.concatenate([cloud(3000, 1)[0], rows])
    np.testing.assert_allclose(from_sklearn(peer).predict(fresh), peer.predict_proba(fresh), atol=2e-7)


def test_our_trees_are_as_good_as_those_of_scikit_learn():
    ensemble = pytest.importorskip("sklearn.ensemble")
    ours, theirs = [], []
    for seed in range(4):
        rows, truth = cloud(1500, seed)
        fresh, known = cloud(4000, seed + 50)
        mine = grow(rows, truth, n_trees=100, max_depth=30, min_leaf=1, seed=seed)
        peer = ensemble.RandomForestClassifier(100, random_state=seed).fit(rows, truth)
        ours.append((mine.predict(fresh).argmax(axis=1) == known).mean())
        theirs.append((peer.predict(fresh) == known).mean())
    assert np.mean(ours) > np.mean(theirs) - 0.01
    assert np.mean(ours) > 0.7


def test_a_forest_follows_from_its_seed_alone():
    rows, truth = cloud(400, 3)
    first, again, other = (grow(rows, truth, n_trees=8, max_depth=9, min_leaf=2, seed=s) for s in (5, 5, 6))
    np.testing.assert_array_equal(first.threshold, again.threshold)
    np.testing.assert_array_equal(first.share, again.share)
    assert first.threshold.shape != other.threshold.shape or (first.threshold != other.threshold).any()


def test_limits_of_the_trees_hold():
    rows, truth = cloud(500, 4)
    stump = grow(rows, truth, n_trees=5, max_depth=1, min_leaf=1, seed=0)
    assert np.diff(np.append(stump.roots, stump.feature.size)).max() <= 3
    flat = grow(np.ones((50, 3), np.float32), truth[:50], n_trees=3, max_depth=9, min_leaf=1, seed=0)
    assert (flat.feature == -1).all()
    fine = grow(rows, truth, n_trees=50, max_depth=30, min_leaf=1, seed=0)
    assert (fine.predict(rows).argmax(axis=1) == truth).mean() > 0.99


def test_texture_is_learnt_where_brightness_tells_nothing(model):
    image, inside = scene(seed=9)
    likely = model.probabilities(image, SCALE)
    assert ((likely[1] > 0.5) == inside).mean() > 0.93
    np.testing.assert_allclose(likely.sum(axis=0), 1.0, atol=1e-5)
    assert ((image > 100) == inside).mean() < 0.6


@settings(max_examples=8, deadline=None)
@given(tile=st.integers(16, 200))
def test_the_size_of_tiles_changes_nothing(model, tile):
    image, _ = scene((61, 75), seed=2)
    expected = model.probabilities(image, SCALE, tile_px=4096)
    np.testing.assert_array_equal(model.probabilities(image, SCALE, tile_px=tile), expected)


def test_stacks_two_channels_and_tiles(tmp_path):
    rng = np.random.default_rng(0)
    inside = ndi.gaussian_filter(rng.normal(size=(12, 40, 44)), (1.5, 3, 3)) > 0.03
    pixels = {"a": 9 * rng.normal(size=inside.shape) * inside, "b": rng.integers(0, 99, inside.shape).astype(np.uint8)}
    found = train_pixel_classifier(
        [pixels], [strokes_on(inside)], DEEP, channels=("a", "b"), sigmas_um=(0.6, 1.2), trees=15
    )
    expected = found.probabilities(pixels, DEEP, tile_px=4096)
    np.testing.assert_array_equal(found.probabilities(pixels, DEEP, tile_px=64), expected)
    assert ((expected[1] > 0.5) == inside).mean() > 0.9
    assert found.forest.n_features == 2 * (1 + 2 * 10)
    found.save(tmp_path / "m.npz")
    labels = PixelClassifier(model=str(tmp_path / "m.npz"), min_volume_um3=2.0).segment(pixels, DEEP)
    assert labels.shape == inside.shape
    assert labels.max() >= 1


def test_frames_on_disk_are_read_by_tiles(model, tmp_path):
    image, _ = scene((70, 80), seed=3)
    on_disk = np.memmap(tmp_path / "frame.raw", np.float32, "w+", shape=image.shape)
    on_disk[:] = image
    np.testing.assert_array_equal(
        model.probabilities(on_disk, SCALE, tile_px=32), model.probabilities(image, SCALE, tile_px=999)
    )


def test_points_are_strokes():
    image, inside = scene()
    drawn = strokes_on(inside)
    y, x = np.nonzero(drawn)
    kind = drawn[y, x]
    table = pl.DataFrame({"x_um": x * 0.5, "y_um": y * 0.5, "class": np.array(["", "out", "in"])[kind]})
    settings_ = {"trees": 5, "sigmas_um": (1.0,), "classes": ("out", "in")}
    by_name = train_pixel_classifier([image], [table], SCALE, **settings_)
    by_number = train_pixel_classifier([image], [table.with_columns(pl.Series("class", kind))], SCALE, **settings_)
    by_image = train_pixel_classifier([image], [drawn], SCALE, **settings_)
    for other in (by_name, by_number):
        np.testing.assert_array_equal(other.forest.threshold, by_image.forest.threshold)


def test_many_strokes_are_drawn_by_lot():
    image, inside = scene()
    drawn = inside + 1
    drawn[0, 0] = 3
    few = train_pixel_classifier(
        [image], [drawn], SCALE, trees=3, sigmas_um=(1.0,), max_pixels=300, classes=("out", "in", "rare")
    )
    assert few.forest.feature.size < 3 * 700
    assert few.forest.share[:, 2].max() > 0


@pytest.mark.parametrize(
    ("images", "strokes", "options", "says"),
    [
        ([], [], {}, "0 images"),
        ([np.zeros((9, 9))], [np.zeros((9, 9), int)], {}, "No stroke shows the class 'background'"),
        ([np.zeros((9, 9))], [np.ones((9, 9), int)], {}, "No stroke shows the class 'object'"),
        ([np.zeros((9, 9))], [np.full((9, 9), 3)], {}, "hold the value 3"),
        ([np.zeros((9, 9))], [np.full((9, 9), -1)], {}, "hold the value -1"),
        ([np.zeros((9, 9))], [np.ones((9, 8), int)], {}, "have shape"),
        ([np.zeros((9, 9))], [np.ones((9, 9))], {}, "whole numbers"),
        ([np.zeros((9, 9))], [np.ones((9, 9), int)], {"trees": 0}, "at least 1"),
        ([np.zeros((9, 9))], [np.ones((9, 9), int)], {"classes": ("one",)}, "at least two"),
        ([np.zeros((9, 9))], [pl.DataFrame({"x_um": [99.0], "y_um": [0.0], "class": [1]})], {}, "outside the image"),
        ([np.zeros((9, 9))], [pl.DataFrame({"x_um": [0.0], "y_um": [0.0], "class": ["objct"]})], {}, "'object'"),
    ],
)
def test_strokes_that_do_not_fit_are_refused(images, strokes, options, says):
    with pytest.raises(ParameterError, match=says):
        train_pixel_classifier(images, strokes, SCALE, **options)


def test_a_file_gives_back_what_was_saved(model, tmp_path):
    file = tmp_path / "model.npz"
    model.save(file)
    again = PixelModel.load(file)
    image, _ = scene(seed=4)
    np.testing.assert_array_equal(again.probabilities(image, SCALE), model.probabilities(image, SCALE))
    assert (again.bank, again.channels, again.classes, again.spacing_um) == (
        model.bank, model.channels, model.classes, model.spacing_um,
    )  # fmt: skip
    with np.load(file, allow_pickle=False) as arrays:
        assert json.loads(arrays["description"].tobytes())["version"] == 1


def rewritten(file, **changes):
    with np.load(file, allow_pickle=False) as arrays:
        parts = {name: arrays[name] for name in arrays.files}
    for name, change in changes.items():
        parts[name] = change(parts[name].copy())
    out = io.BytesIO()
    np.savez(out, **parts)
    return out.getvalue()


def described(**changes):
    def change(text):
        about = json.loads(text.tobytes()) | changes
        return np.frombuffer(json.dumps(about).encode(), np.uint8)

    return change


def put(index, value):
    def change(array):
        array[index] = value
        return array

    return change


HARM = {
    "no archive": lambda f: b"hello",
    "empty": lambda f: b"",
    "cut off": lambda f: f.read_bytes()[:-200],
    "objects": lambda f: rewritten(f, share=lambda a: np.array([{"a": 1}], dtype=object)),
    "cycle": lambda f: rewritten(f, children=put((0, 0), 0)),
    "beyond the tree": lambda f: rewritten(f, children=put((0, 1), 1 << 30)),
    "negative child": lambda f: rewritten(f, children=put((0, 1), -5)),
    "feature beyond": lambda f: rewritten(f, feature=put(0, 999)),
    "feature below": lambda f: rewritten(f, feature=put(0, -7)),
    "threshold": lambda f: rewritten(f, threshold=put(0, np.nan)),
    "share": lambda f: rewritten(f, share=lambda a: a * np.float32(7)),
    "share shape": lambda f: rewritten(f, share=lambda a: a[:-1]),
    "roots": lambda f: rewritten(f, roots=put(0, 3)),
    "root beyond": lambda f: rewritten(f, roots=put(-1, 1 << 40)),
    "dtype": lambda f: rewritten(f, feature=lambda a: a.astype(np.int64)),
    "version": lambda f: rewritten(f, description=described(version=99)),
    "format": lambda f: rewritten(f, description=described(format="other")),
    "extra key": lambda f: rewritten(f, description=described(run="me")),
    "classes": lambda f: rewritten(f, description=described(classes=["a", "b", "c"])),
    "number of features": lambda f: rewritten(f, description=described(n_features=9999)),
    "channels": lambda f: rewritten(f, description=described(channels=["a", "b"])),
    "spacing": lambda f: rewritten(f, description=described(spacing_um=[0.0, 0.5])),
    "scales": lambda f: rewritten(f, description=described(bank={"sigmas_um": [-1.0], "kinds": ["log"]})),
    "no json": lambda f: rewritten(f, description=lambda a: np.frombuffer(b"{", np.uint8)),
    "list": lambda f: rewritten(f, description=lambda a: np.frombuffer(b"[]", np.uint8)),
}


@pytest.mark.parametrize("harm", HARM)
def test_hostile_files_are_refused(model, tmp_path, harm):
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    model.save(good)
    bad.write_bytes(HARM[harm](good))
    with pytest.raises(InputFileError, match=r"bad\.npz is no pixel classifier"):
        PixelModel.load(bad)


def test_an_array_that_claims_more_than_it_has_is_refused(model, tmp_path):
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    model.save(good)
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(bad, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "roots.npy":
                head = io.BytesIO()
                np.lib.format.write_array_header_1_0(
                    head, {"descr": "<i8", "fortran_order": False, "shape": (1 << 50,)}
                )
                data = head.getvalue() + b"\0" * 64
            new.writestr(name, data)
    with pytest.raises(InputFileError, match="claims the shape"):
        PixelModel.load(bad)


def test_what_does_not_fit_the_model_is_refused(model, tmp_path):
    image, _ = scene()
    with pytest.raises(CalibrationError, match="max_scale_ratio"):
        model.probabilities(image, Scale.isotropic(0.3))
    assert model.probabilities(image, Scale.isotropic(0.3), max_scale_ratio=2).shape == (2, *image.shape)
    with pytest.raises(ParameterError, match="no channel 'a'"):
        model.probabilities({"b": image}, SCALE)
    with pytest.raises(ParameterError, match="2D images"):
        model.probabilities(np.zeros((4, 4, 4)), DEEP)
    with pytest.raises(ParameterError, match="complex"):
        model.probabilities(np.zeros((4, 4), complex), SCALE)
    with pytest.raises(InputFileError, match="There is no pixel classifier"):
        PixelModel.load(tmp_path / "absent.npz")
    with pytest.raises(InputFileError, match="There is no pixel classifier"):
        PixelClassifier(model=str(tmp_path / "absent.npz")).segment(image, SCALE)
    model.save(tmp_path / "m.npz")
    with pytest.raises(ParameterError, match="no class 'cell'"):
        PixelClassifier(model=str(tmp_path / "m.npz"), object_class="cell").segment(image, SCALE)
    with pytest.raises(ParameterError, match="names 2 channels"):
        PixelClassifier(model=str(tmp_path / "m.npz"), channel=("a", "b")).segment({"a": image, "b": image}, SCALE)


def test_a_model_that_was_trained_again_is_read_again(model, tmp_path):
    file = tmp_path / "m.npz"
    model.save(file)
    image, inside = scene(seed=5)
    method = PixelClassifier(model=str(file), min_area_um2=None)
    before = method.segment({"a": image}, SCALE)
    assert ((before > 0) == inside).mean() > 0.8
    train_pixel_classifier([image], [strokes_on(~inside)], SCALE, trees=9, channels=("a",)).save(file)
    assert ((method.segment({"a": image}, SCALE) > 0) == ~inside).mean() > 0.8
    assert method.channels == ("a",)


@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (3, 200)])
def test_frames_of_odd_size(model, shape):
    assert model.probabilities(np.full(shape, 100.0), SCALE).shape == (2, *shape)


def test_pixels_without_a_value_hold_no_object(model, tmp_path):
    image, _ = scene(seed=6)
    image[20:40, 20:40] = np.nan
    image[0, 0] = np.inf
    model.save(tmp_path / "m.npz")
    labels = PixelClassifier(model=str(tmp_path / "m.npz")).segment(image, SCALE)
    assert not labels[20:40, 20:40].any()
    assert set(np.unique(labels)) == set(range(int(labels.max()) + 1))
    assert not PixelClassifier(model=str(tmp_path / "m.npz")).segment(np.full((30, 30), np.nan), SCALE).any()


def f1(truth, labels):
    found = int((overlaps(relabel(truth), labels).iou > 0.5).sum())
    return 2 * found / (int(labels.max()) + len(np.unique(truth)) - 1)


def test_real_nuclei_from_few_strokes(data, tmp_path):
    """One pixel in 200 of an image tells the rest of it about as well as the default threshold or better."""
    folder = data / "dsb2018" / "test"
    mine, plain = [], []
    for file in sorted((folder / "images").glob("*.tif"))[::12]:
        image, truth = tifffile.imread(file), tifffile.imread(folder / "masks" / file.name)
        strokes = strokes_on(truth > 0, part=0.005)
        train_pixel_classifier([image], [strokes], SCALE, trees=50, channels=("dna",)).save(tmp_path / "m.npz")
        mine.append(f1(truth, PixelClassifier(model=str(tmp_path / "m.npz")).segment(image, SCALE)))
        plain.append(f1(truth, Threshold(channel="dna").segment(image, SCALE)))
    assert np.mean(mine) > 0.8
    assert np.mean(mine) > np.mean(plain) - 0.02
