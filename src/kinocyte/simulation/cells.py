"""Movies of cells that move, touch, divide and die, with the exact truth beside every pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import model_validator

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import Method, param
from kinocyte.core.scale import Scale

if TYPE_CHECKING:
    from kinocyte.simulation._cells_lineage import Lineages

#: Mean length of a standard normal vector of two and of three components.
_MEAN_LENGTH = {2: math.sqrt(math.pi / 2), 3: 2 * math.sqrt(2 / math.pi)}


def photons_at(snr: float, background_photons: float, read_noise_photons: float) -> float:
    """Return the photons S above background B that give a ratio, from ``snr = S / sqrt(S + B + r**2)``."""
    dark = background_photons + read_noise_photons**2
    return (snr**2 + math.sqrt(snr**4 + 4 * snr**2 * dark)) / 2


class CellMovie(Method):
    """Settings of a simulated movie: nuclei as soft, textured blobs under a photon-counting camera."""

    kind: ClassVar[str] = "simulation"
    references: ClassVar[tuple[str, ...]] = (
        "Uhlenbeck and Ornstein 1930, doi:10.1103/PhysRev.36.823 (persistent random walk)",
        "EMVA standard 1288 (photon noise, read noise, gain and offset of a camera)",
    )

    method: Literal["cells"] = "cells"
    frames: int = param(50, ge=1, help="Number of frames.")
    height_px: int = param(512, ge=8, help="Height of the image.", unit="px")
    width_px: int = param(512, ge=8, help="Width of the image.", unit="px")
    planes: int | None = param(None, ge=1, help="Number of planes of a 3D movie; left out, the movie is 2D.")
    pixel_size_um: float = param(0.65, gt=0, help="Height and width of a pixel.", unit="um")
    plane_distance_um: float = param(2.0, gt=0, help="Distance of planes in a 3D movie.", unit="um")
    frame_interval_min: float = param(5.0, gt=0, help="Time between frames.", unit="min")

    cells: int = param(50, ge=0, help="Number of cells in the first frame.")
    density_per_mm2: float | None = param(
        None, ge=0, help="Cells per square millimetre in the first frame, in place of their number.", unit="1/mm2"
    )
    diameter_um: float = param(12.0, gt=0, help="Mean diameter of a full-grown cell.", unit="um")
    diameter_cv: float = param(0.12, ge=0, le=0.5, help="Spread of the diameter between cells, relative to its mean.")
    elongation: float = param(1.25, ge=1, le=3, help="Mean ratio of the long to the short axis.")
    spacing: float = param(
        0.95,
        ge=0.3,
        le=3,
        help="Closest distance of two centres relative to the mean of their diameters; cells touch below about 1.",
    )

    speed_um_per_min: float = param(0.3, ge=0, help="Mean speed of a cell that nothing pushes.", unit="um/min")
    persistence_min: float = param(20.0, ge=0, help="Time over which a cell keeps its direction.", unit="min")
    division_rate_per_h: float = param(0.03, ge=0, help="Divisions per hour of a cell past its shortest cycle.")
    shortest_cycle_min: float = param(240.0, ge=0, help="Time from birth in which no cell divides.", unit="min")
    death_rate_per_h: float = param(0.01, ge=0, help="Deaths per cell and hour.")
    death_duration_min: float = param(
        30.0, ge=0, help="Time a dying cell shrinks and brightens before it is gone.", unit="min"
    )
    gap_rate: float = param(
        0.0, ge=0, le=0.9, help="Chance that a cell is out of sight in a frame between the first and last of its track."
    )
    longest_gap_frames: int = param(1, ge=1, help="Most frames in a row a cell may be out of sight.")

    snr: float = param(8.0, gt=0, le=100, help="Mean signal of a cell above background, divided by its noise.")
    background_photons: float = param(10.0, ge=0, le=10_000, help="Mean photons per pixel beside the cells.")
    read_noise_photons: float = param(1.6, ge=0, help="Standard deviation of the camera's read noise.")
    gain_per_photon: float = param(1.0, gt=0, help="Grey values per photon.")
    offset: float = param(100.0, ge=0, help="Grey value of the camera without light.")
    brightness_cv: float = param(0.2, ge=0, le=1, help="Spread of the brightness between cells.")
    texture: float = param(0.15, ge=0, le=1, help="Spread of the brightness within a cell.")
    edge_softness_um: float = param(0.5, gt=0, help="Distance over which the edge of a cell fades.", unit="um")
    death_dye: bool = param(False, help="Add a second channel, 'death_dye', in which dying cells light up.")

    @model_validator(mode="after")
    def _one_number_of_cells(self) -> Self:
        if self.density_per_mm2 is not None and "cells" in self.model_fields_set:
            msg = "Give either cells or density_per_mm2, not both."
            raise ParameterError(msg)
        return self

    @property
    def ndim(self) -> int:
        """Number of spatial dimensions, 2 or 3."""
        return 2 if self.planes is None else 3

    @property
    def scale(self) -> Scale:
        """Calibration of the movie."""
        return Scale.isotropic(
            self.pixel_size_um, self.frame_interval_min, z_um=None if self.planes is None else self.plane_distance_um
        )

    @property
    def size_um(self) -> tuple[float, float, float]:
        """Distance from the first to the last pixel centre along z, y and x in micrometres."""
        return (
            ((self.planes or 1) - 1) * self.plane_distance_um,
            (self.height_px - 1) * self.pixel_size_um,
            (self.width_px - 1) * self.pixel_size_um,
        )

    @property
    def initial_cells(self) -> int:
        """Number of cells in the first frame, from their number or their density."""
        if self.density_per_mm2 is None:
            return self.cells
        area_mm2 = self.height_px * self.width_px * (self.pixel_size_um / 1000) ** 2
        return round(self.density_per_mm2 * area_mm2)

    @property
    def velocity_sd_um_per_min(self) -> float:
        """Standard deviation of one component of the velocity that gives the mean speed."""
        return self.speed_um_per_min / _MEAN_LENGTH[self.ndim]

    @property
    def signal_photons(self) -> float:
        """Mean photons S of a cell above background B, from ``snr = S / sqrt(S + B + r**2)``."""
        return photons_at(self.snr, self.background_photons, self.read_noise_photons)


@dataclass(frozen=True, eq=False)
class SimulatedMovie:
    """A simulated movie: frames and label images on demand, the truth as tables.

    Frames may be asked for in any order, any number of times, from several threads; each depends on the settings,
    the seed and its own number alone. Nothing that is rendered is kept.
    """

    settings: CellMovie
    seed: int
    _lineages: Lineages = field(repr=False)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return ("nuclei", "death_dye") if self.settings.death_dye else ("nuclei",)

    @property
    def scale(self) -> Scale:
        """Calibration of the movie."""
        return self.settings.scale

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one channel of one frame, (y, x) or (z, y, x)."""
        s = self.settings
        return (s.height_px, s.width_px) if s.planes is None else (s.planes, s.height_px, s.width_px)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the movie, (t, c, y, x) or (t, c, z, y, x)."""
        return (self.settings.frames, len(self.channels), *self.frame_shape)

    def frame(self, t: int) -> NDArray[np.uint16]:
        """Return what the camera sees in a frame.

        Parameters
        ----------
        t : int
            Frame, from 0.

        Returns
        -------
        array of uint16
            Shape (c, y, x) or (c, z, y, x), grey values.

        Raises
        ------
        ParameterError
            If the movie has no such frame.
        """
        from kinocyte.simulation._cells_render import expose

        rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(self.seed, spawn_key=(1, self._check(t)))))
        shown, _ = self._render(t)
        return np.stack([expose(channel, self.settings, rng) for channel in shown])

    def clean(self, t: int) -> NDArray[np.float32]:
        """Return the grey values a frame would have without any noise, shape as `frame`, float32."""
        s = self.settings
        shown, _ = self._render(self._check(t))
        grey = s.offset + s.gain_per_photon * (s.background_photons + s.signal_photons * shown)
        return grey.astype(np.float32, copy=False)

    def labels(self, t: int) -> NDArray[np.uint32]:
        """Return the true label image of a frame, (y, x) or (z, y, x); a cell's label is its ``track_id``."""
        return self._render(self._check(t))[1]

    @cached_property
    def objects(self) -> pl.DataFrame:
        """Every visible cell in every frame: the columns of `kinocyte.core.schema.OBJECTS` and ``radius_um``.

        The position is the centre of the simulated body; ``radius_um`` the mean of its semi-axes in the plane.
        """
        from kinocyte.simulation._cells_tables import objects_table

        return objects_table(self._lineages, self.settings)

    @cached_property
    def links(self) -> pl.DataFrame:
        """True links, gaps and divisions included: the columns of `kinocyte.core.schema.LINKS`."""
        from kinocyte.simulation._cells_tables import links_table

        return links_table(self._lineages)

    @cached_property
    def tracks(self) -> pl.DataFrame:
        """True lineage: the columns of `kinocyte.core.schema.TRACKS`."""
        from kinocyte.simulation._cells_tables import tracks_table

        return tracks_table(self._lineages)

    @cached_property
    def members(self) -> pl.DataFrame:
        """Track of every object: the columns of `kinocyte.core.schema.MEMBERS`."""
        return self.objects.select("object_id", pl.col("label").cast(pl.Int64).alias("track_id"))

    @cached_property
    def events(self) -> pl.DataFrame:
        """One row per track for ``division`` and for ``death``: the columns of `kinocyte.core.schema.EVENTS`."""
        from kinocyte.simulation._cells_tables import events_table

        return events_table(self._lineages)

    @property
    def ctc_tracks(self) -> pl.DataFrame:
        """The lineage as the Cell Tracking Challenge writes it: ``label begin end parent``, parent 0 for none."""
        return self.tracks.select(
            pl.col("track_id").alias("label"),
            pl.col("first_frame").cast(pl.Int64).alias("begin"),
            pl.col("last_frame").cast(pl.Int64).alias("end"),
            pl.col("parent_id").fill_null(0).alias("parent"),
        )

    def _check(self, t: int) -> int:
        if not 0 <= t < self.settings.frames:
            msg = f"Frame {t} does not exist: the movie has frames 0 to {self.settings.frames - 1}."
            raise ParameterError(msg)
        return int(t)

    def _render(self, t: int) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
        from kinocyte.simulation._cells_render import render

        shown, owner = render(self._lineages, self.settings, t)
        return shown.reshape(len(self.channels), *self.frame_shape), owner.reshape(self.frame_shape)


def simulate_cells(settings: CellMovie, seed: int = 0) -> SimulatedMovie:
    """Simulate the lives of cells and return the movie that shows them.

    Cells walk persistently (Ornstein-Uhlenbeck velocity), push each other apart, divide after their shortest cycle
    at a constant rate unless the dish is full, and die at a constant rate. Where bodies overlap, a pixel belongs to
    the cell in whose body it lies deepest, so that label images are exact and never overlap.

    Parameters
    ----------
    settings : CellMovie
        Size, calibration, number and habits of the cells, and the camera.
    seed : int
        Fixes everything that chance decides.

    Returns
    -------
    SimulatedMovie
        Lives are simulated at once (some 100 bytes per cell and frame); images only when asked for.

    Raises
    ------
    ParameterError
        If so many cells of that size do not fit into the image.

    Examples
    --------
    >>> movie = simulate_cells(CellMovie(frames=3, cells=5, height_px=128, width_px=128), seed=1)
    >>> movie.frame(0).shape, movie.labels(2).dtype
    ((1, 128, 128), dtype('uint32'))
    """
    from kinocyte.simulation._cells_lineage import simulate_lineages

    if seed < 0:
        msg = f"The seed {seed} is negative; give 0 or a positive whole number."
        raise ParameterError(msg)
    return SimulatedMovie(settings, seed, simulate_lineages(settings, seed))
