"""Single images of many kinds with what the camera would have seen without noise, for networks that remove it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kinocyte.simulation.cells import CellMovie, simulate_cells


def varied_exposures(
    n: int, *, seed: int, size_px: int = 256
) -> Iterator[tuple[CellMovie, NDArray[np.uint16], NDArray[np.float32]]]:
    """Yield simulated images of cells, each of another density, size, brightness and noise.

    Diameters from 8 to 40 pixels, ratios of signal to noise from 1 to 12, 1 to 100 photons of background, 0.5 to 4 grey
    values a photon, soft and sharp edges, smooth and textured bodies, that cover 3 to 40 % of the image.

    Parameters
    ----------
    n : int
        Number of images.
    seed : int
        Fixes all of them; a larger ``n`` adds images and leaves the first ones as they are.
    size_px : int
        Height and width.

    Yields
    ------
    settings : CellMovie
        What was simulated.
    exposed : ndarray of uint16, shape (1, y, x)
        What the camera sees.
    clean : ndarray of float32, shape (1, y, x)
        The same without noise.
    """
    for i in range(n):
        rng = np.random.default_rng((seed, i))
        diameter_px = float(np.exp(rng.uniform(np.log(8), np.log(40))))
        covered = rng.uniform(0.03, 0.4)
        settings = CellMovie(
            frames=1, height_px=size_px, width_px=size_px, pixel_size_um=0.5, diameter_um=0.5 * diameter_px,
            cells=max(1, round(covered * size_px**2 / (np.pi / 4 * diameter_px**2))),
            elongation=rng.uniform(1, 2), spacing=rng.uniform(0.75, 1.1),
            snr=float(np.exp(rng.uniform(0, np.log(12)))),
            background_photons=float(np.exp(rng.uniform(0, np.log(100)))),
            gain_per_photon=float(np.exp(rng.uniform(np.log(0.5), np.log(4)))), brightness_cv=rng.uniform(0.1, 0.6),
            texture=rng.uniform(0, 0.5), edge_softness_um=rng.uniform(0.2, 1.0),
        )  # fmt: skip
        movie = simulate_cells(settings, seed=int(rng.integers(2**31)))
        yield settings, movie.frame(0), movie.clean(0)
