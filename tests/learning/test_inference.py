"""Networks applied to images: tiles, memory, calibration, orientations; torch is needed."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from kinocyte.core.errors import CalibrationError, ParameterError  # noqa: E402
from kinocyte.learning.inference import apply as applying  # noqa: E402
from kinocyte.learning.inference.apply import apply, network_output, restore, virtual_stain  # noqa: E402
from kinocyte.learning.inference.engine import TorchEngine  # noqa: E402
from kinocyte.learning.inference.tiles import Geometry, core_of, halved, parts  # noqa: E402
from kinocyte.learning.model import ImageModel, InputChannel  # noqa: E402
from kinocyte.learning.tasks.base import Reading, Task  # noqa: E402
from kinocyte.learning.tasks.stardist import StarDist  # noqa: E402
from kinocyte.learning.tasks.super_resolution import SuperResolution  # noqa: E402
from kinocyte.learning.tasks.virtual_stain import VirtualStain  # noqa: E402

#: where parts of any size give the same bits
X86_WITH_ONEDNN = platform.machine() in {"x86_64", "AMD64"} and torch.backends.mkldnn.is_available()


def made(task: Task, *, n_inputs: int = 1, ndim: int = 2, pixel_um: tuple[float, ...] | None = None) -> ImageModel:
    """Return a model with drawn weights."""
    torch.manual_seed(7)
    network = task.build(n_inputs, 1, ndim)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn_like(p))
    weights = {n: t.detach().numpy().copy() for n, t in network.state_dict().items()}
    inputs = tuple(InputChannel(name=f"c{i}") for i in range(n_inputs))
    return ImageModel(
        "made", task, inputs, (InputChannel(name="out"),), "yx" if ndim == 2 else "zyx", pixel_um, weights
    )  # fmt: skip


class Brightness(Task):
    """Calls what is brighter than half one object; its network gives the image back."""

    target: ClassVar[Literal["labels", "classes", "image", "none"]] = "labels"
    result: ClassVar[Literal["labels", "classes", "image"]] = "labels"
    untuned: ClassVar[Mapping[str, float]] = {"probability_threshold": 0.5}
    method: Literal["brightness"] = "brightness"

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Any:
        return torch.nn.Conv2d(n_inputs, 1, 1, bias=False)

    def prepare(self, image: Any, target: Any, rng: Any) -> Any:
        return image, target

    def loss(self, output: Any, target: Any) -> Any:
        return {"loss": output.mean()}

    def read(self, output: np.ndarray, settings: Mapping[str, float]) -> Reading:
        from scipy import ndimage as ndi

        labels, n = ndi.label(output[0] > settings["probability_threshold"])
        quality = ndi.mean(output[0], labels, np.arange(1, n + 1)) if n else []
        return Reading(labels=labels.astype(np.uint32), quality=np.asarray(quality, np.float32))

    def reach(self, ndim: int) -> tuple[int, ...]:
        return (0,) * ndim


@pytest.fixture
def bright() -> ImageModel:
    weights = {"weight": np.ones((1, 1, 1, 1), np.float32)}
    return ImageModel("b", Brightness(), (InputChannel(name="dna"),), (), "yx", (0.5, 0.5), weights)


def blobs(shape: tuple[int, int], *places: tuple[int, int, int]) -> np.ndarray:
    y, x = np.ogrid[: shape[0], : shape[1]]
    image = np.zeros(shape, np.uint16)
    for cy, cx, r in places:
        image[(y - cy) ** 2 + (x - cx) ** 2 <= r * r] = 1000
    return image


@pytest.mark.parametrize(
    ("task", "ndim", "shape"),
    [
        (StarDist(width=4, depth=2, grid=2, n_rays=8, last_width=8), 2, (150, 203)),
        (StarDist(width=4, depth=1, grid=1, n_rays=8, last_width=8), 3, (17, 40, 61)),
        (SuperResolution(width=4, depth=1), 2, (90, 111)),
        (VirtualStain(width=4, depth=1, flat=1), 3, (9, 47, 50)),
    ],
)
@pytest.mark.parametrize("tile_px", [16, 40])
def test_the_size_of_a_tile_does_not_change_the_result(
    task: Task, ndim: int, shape: tuple[int, ...], tile_px: int
) -> None:
    model = made(task, ndim=ndim)
    x = np.random.default_rng(1).uniform(0, 1, (1, *shape)).astype(np.float32)
    whole = network_output(model, x)
    tiled = network_output(model, x, tile_px=tile_px)
    assert whole.shape == tiled.shape
    assert np.abs(whole - tiled).max() <= 1e-5 * (whole.max() - whole.min())
    if X86_WITH_ONEDNN:  # elsewhere torch adds up in an order of its own
        np.testing.assert_array_equal(whole, tiled)


@pytest.mark.skipif(not X86_WITH_ONEDNN, reason="torch chooses the code of convolutions by itself elsewhere")
def test_few_and_many_numbers_are_added_up_in_one_order() -> None:
    """Torch takes other code for up to 20,480 numbers in a batch of one (ATen's Convolution.cpp, ``use_mkldnn``)."""
    engine = TorchEngine(made(VirtualStain(width=4, depth=1)), "cpu")
    x = np.random.default_rng(0).uniform(0, 1, (1, 200, 240)).astype(np.float32)
    reach = max(engine.geometry.reach)
    large, small = engine(x), engine(np.ascontiguousarray(x[:, :80, :96]))
    inside = (slice(None), slice(0, 80 - reach), slice(0, 96 - reach))
    assert large[inside].size > 1000
    np.testing.assert_array_equal(large[inside], small[inside])
    before = torch.get_num_threads()
    torch.set_num_threads(2 if before == 1 else 1)
    try:
        np.testing.assert_array_equal(engine(x), large)
    finally:
        torch.set_num_threads(before)
    with torch.inference_mode():
        plain = made(VirtualStain(width=4, depth=1)).network()(torch.from_numpy(x)[None])[0].numpy()
    np.testing.assert_allclose(large, plain, atol=1e-6)


def test_labels_are_the_same_with_any_tiles() -> None:
    model = made(StarDist(width=4, depth=2, grid=2, n_rays=16, last_width=8))
    image = np.random.default_rng(3).integers(0, 4000, (1, 120, 140)).astype(np.uint16)
    settings = {"probability_threshold": float(np.quantile(_probability(model, image), 0.9))}
    one = apply(model, image, settings=settings)
    other = apply(model, image, settings=settings, tile_px=32)
    assert one.labels is not None
    assert one.labels.max() > 3
    assert one.labels.shape == (120, 140)
    np.testing.assert_array_equal(one.labels, other.labels)
    assert len(one.quality) == one.labels.max()


def _probability(model: ImageModel, image: np.ndarray) -> np.ndarray:
    return apply(model, image).maps["probability"]


def test_every_pixel_is_kept_once() -> None:
    geometry = Geometry((4, 8), (5, 3), (1, 1), (2, 2))
    seen = np.zeros((24, 40), int)
    for read, keep in parts((24, 40), (8, 16), geometry):
        seen[keep] += 1
        assert all(r.start % d == 0 for r, d in zip(read, geometry.divisor, strict=True))
        assert all(r.start == 0 or k.start - r.start >= n for r, k, n in zip(read, keep, geometry.reach, strict=True))
    assert (seen == 1).all()
    assert core_of((24, 40), geometry, 1e9) == (24, 40)
    assert core_of((24, 40), geometry, 1) == (4, 8)
    assert halved((4, 8), (4, 8)) == (4, 8)


def test_a_gpu_without_memory_gets_smaller_tiles(bright: ImageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Small:
        geometry = Geometry((8, 8), (4, 4), (1, 1), (1, 1))
        name = "small"

        def most_pixels(self) -> float:
            return 1e9

        def __call__(self, x: np.ndarray) -> np.ndarray:
            asked.append(x.shape)
            if x.size > 2000:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
            return x

    monkeypatch.setattr(applying, "engine_of", lambda model, device: Small())
    x = np.random.default_rng(0).normal(size=(1, 100, 90)).astype(np.float32)
    np.testing.assert_array_equal(network_output(bright, x), x)
    assert asked[0] == (1, 104, 96)
    assert max(np.prod(s) for s in asked[-4:]) <= 2000

    class Full(Small):
        def __call__(self, x: np.ndarray) -> np.ndarray:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(applying, "engine_of", lambda model, device: Full())
    with pytest.raises(ParameterError, match="smallest tiles"):
        network_output(bright, x)

    class Wrong(Small):
        def __call__(self, x: np.ndarray) -> np.ndarray:
            raise RuntimeError("size mismatch")

    monkeypatch.setattr(applying, "engine_of", lambda model, device: Wrong())
    with pytest.raises(RuntimeError, match="mismatch"):
        network_output(bright, x)


def test_images_of_other_pixels_are_resampled_and_back(bright: ImageModel) -> None:
    image = blobs((80, 100), (20, 20, 9), (55, 70, 12))
    same = apply(bright, image[None], pixel_um=(0.5, 0.5))
    finer = apply(bright, image[None], pixel_um=(0.25, 0.25))
    assert finer.labels.shape == image.shape
    assert same.labels.max() == finer.labels.max() == 2
    assert (finer.labels > 0).sum() == pytest.approx((same.labels > 0).sum(), rel=0.1)
    with pytest.raises(CalibrationError, match=r"0\.01 x 0\.01 um"):
        apply(bright, image[None], pixel_um=(0.01, 0.01))


def test_settings_replace_those_of_the_model(bright: ImageModel) -> None:
    image = blobs((40, 40), (20, 20, 8))
    assert apply(bright, image[None], settings={"probability_threshold": 2.0}).labels.max() == 0
    with pytest.raises(ParameterError, match="it has: probability_threshold"):
        apply(bright, image[None], settings={"threshold": 2.0})


@pytest.mark.parametrize("shape", [(2, 40, 40), (40, 40), (1, 4, 40, 40)])
def test_images_of_other_channels_are_refused(bright: ImageModel, shape: tuple[int, ...]) -> None:
    with pytest.raises(ParameterError, match=r"reads 1 channel\(s\) \(dna\) of y x"):
        apply(bright, np.zeros(shape))


def test_pixels_without_a_value_belong_to_nothing(bright: ImageModel) -> None:
    image = blobs((40, 50), (20, 20, 8)).astype(float)
    image[18:22, 10:30] = np.nan
    found = apply(bright, image[None])
    assert not found.labels[18:22, 10:30].any()
    assert found.labels.max() == len(found.quality) >= 1
    with pytest.raises(ParameterError, match="finite"):
        apply(bright, np.full((1, 8, 8), np.nan))
    with pytest.raises(ParameterError, match="no pixel"):
        apply(bright, np.zeros((1, 0, 8)))


def test_a_constant_and_a_tiny_image_pass(bright: ImageModel) -> None:
    assert apply(bright, np.full((1, 9, 9), 7, np.uint8)).labels.shape == (9, 9)
    model = made(StarDist(width=4, depth=3, grid=2, n_rays=8, last_width=8))
    assert apply(model, np.ones((1, 1, 3), np.uint8)).labels.shape == (1, 3)


@pytest.mark.parametrize(("shape", "grid"), [((61, 75), 1), ((61, 74), 2), ((64, 64), 2), ((60, 63), 4)])
def test_orientations_of_star_convex_outputs_agree(shape: tuple[int, int], grid: int) -> None:
    """Give the true distances of each turned image: their mean must be the distances of the image."""
    from kinocyte.learning.inference.augmented import augmented_output
    from kinocyte.learning.star_convex import distances, edge_distance, rays_2d

    labels = (blobs(shape, (20, 20, 9)) > 0) + 2 * (blobs(shape, (42, 50, 12)) > 0).astype(np.int32)
    model = made(StarDist(width=2, depth=0, grid=grid, n_rays=32, last_width=2))
    geometry = Geometry((grid, grid), (9, 9), (1, 1), (grid, grid))

    def truth(x: np.ndarray) -> np.ndarray:
        seen = np.rint(x[0]).astype(np.int32)
        return np.concatenate(
            [edge_distance(seen, stride=grid)[None], distances(seen, rays_2d(32), stride=grid)]
        )  # fmt: skip

    x = labels[None].astype(np.float32)
    mean = augmented_output(model, x, geometry, truth)
    np.testing.assert_allclose(mean[0], truth(x)[0], atol=1e-5)
    assert (np.abs(mean[1:] - truth(x)[1:]) <= 1.01).all()  # a ray along the border of two pixels is rounded either way
    assert np.abs(mean[1:] - truth(x)[1:]).mean() < 0.01


def test_outputs_that_nobody_can_turn_are_refused(bright: ImageModel) -> None:
    with pytest.raises(ParameterError, match="leave augment out"):
        apply(bright, blobs((20, 20), (9, 9, 4))[None], augment=True)


def test_augmented_images_stay_where_they_are() -> None:
    model = made(VirtualStain(width=4, depth=1))
    image = np.random.default_rng(0).integers(0, 255, (1, 30, 45)).astype(np.uint8)
    plain, mean = apply(model, image), apply(model, image, augment=True)
    assert mean.image.shape == plain.image.shape == (1, 30, 45)
    turned = apply(model, image[:, ::-1], augment=True)
    np.testing.assert_allclose(turned.image[:, ::-1], mean.image, atol=1e-4)


def test_restored_images_have_grey_values() -> None:
    model = made(SuperResolution(width=4, depth=1))
    image = np.random.default_rng(0).integers(1000, 2000, (1, 30, 45)).astype(np.uint16)
    fine = restore(model, image)
    assert fine.shape == (1, 60, 90)
    assert fine.dtype == np.float32
    assert 500 < fine.mean() < 2500
    with pytest.raises(ParameterError, match="virtual_stain"):
        virtual_stain(model, image)
    assert virtual_stain(made(VirtualStain(width=4, depth=1)), image).shape == image.shape


def test_objects_are_no_image(bright: ImageModel) -> None:
    with pytest.raises(ParameterError, match="gives no image"):
        restore(bright, np.zeros((1, 8, 8), np.uint8))


def test_parts_fit_into_memory_and_read_little_twice() -> None:
    plane = Geometry((16, 16), (106, 106), (1, 1), (2, 2))
    for shape in ((1024, 1024), (6000, 6000), (2000, 9008), (64, 100_000)):
        whole = tuple(-(-n // 16) * 16 for n in shape)
        core = core_of(whole, plane, 5e6)
        reads = [[s.stop - s.start for s in r] for r, _ in parts(whole, core, plane)]
        assert max(a * b for a, b in reads) <= 5e6
        assert sum(a * b for a, b in reads) <= 1.16 * whole[0] * whole[1]
    assert core_of((1024, 1024), plane, 5e6) == (1024, 1024)
    assert core_of((1024, 1024), plane, 10.0) == (16, 16)  # never less than the network can take
    everywhere = Geometry((8, 8), (10**6, 10**6), (1, 1), (1, 1))
    assert core_of((4096, 4096), everywhere, 1e6) == (4096, 4096)
    volume = Geometry((4, 16, 16), (12, 106, 106), (1, 1, 1), (1, 1, 1))
    core = core_of((64, 2048, 2048), volume, 2e7)
    assert all(n % d == 0 for n, d in zip(core, volume.divisor, strict=True))


class _Everywhere:
    """A network that gives its input, and the mean of all it was shown."""

    name = "everywhere"
    geometry = Geometry((4, 4), (10**6, 10**6), (1, 1), (1, 1))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.concatenate([x, np.full_like(x, x.mean())])

    def most_pixels(self) -> float:
        return np.inf


def test_large_images_of_networks_that_look_everywhere_are_blended(monkeypatch: pytest.MonkeyPatch) -> None:
    from kinocyte.learning.inference import tiles

    image = np.random.default_rng(0).random((1, 50, 90)).astype(np.float32)
    plain = applying._whole(_Everywhere(), image, None)
    np.testing.assert_allclose(plain[1], np.pad(image, ((0, 0), (0, 2), (0, 2)), mode="symmetric").mean(), rtol=1e-5)
    for name, value in (("_MOST_WHOLE", 1000), ("_WINDOW_PX", 32), ("_BLENDED_PX", 8)):
        monkeypatch.setattr(tiles, name, value)
    cut = applying._whole(_Everywhere(), image, None)
    np.testing.assert_allclose(cut[0], image[0], atol=1e-6)  # every pixel is there, at its place
    assert np.abs(np.diff(cut[1], axis=1)).max() < 0.2 * np.ptp(cut[1])  # means of windows go over into each other
    np.testing.assert_array_equal(cut, applying._whole(_Everywhere(), image, 16))  # whatever the tiles
