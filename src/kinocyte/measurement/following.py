"""Motion of a population that was followed: of each object, link and track, beside the tables of the tracking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import polars as pl

from kinocyte.core.method import Method, param
from kinocyte.core.schema import MEMBERS

#: columns of links that are stored; middle and duration follow from the objects
OF_LINKS = (
    "displacement_um",
    "speed_um_per_min",
    "directional_change_rad",
    "directional_change_rate_rad_per_min",
)
#: columns of tracks that come from their place in the lineage
OF_BRANCHES = (
    "n_predecessors",
    "n_successors",
    "mean_predecessors_delay_min",
    "mean_successors_delay_min",
    "cycle_time_min",
    "first_object_id",
    "last_object_id",
)


@dataclass(frozen=True)
class Followed:
    """Tables of the tracking with motion beside them."""

    links: pl.DataFrame
    tracks: pl.DataFrame
    members: pl.DataFrame


class Motion(Method):
    """Speed, path and directionality of every object at its time, of every link, and of every track and branch.

    The speed of an object is that from one end of a window of frames to the other. What TrackMate measures too follows
    its definitions.
    """

    kind: ClassVar[str] = "motion"
    references: ClassVar[tuple[str, ...]] = (
        "Ershov et al., Nat Methods 19, 829 (2022), doi:10.1038/s41592-022-01507-1",
        "Fuerth, Z Phys 2, 244 (1920), doi:10.1007/BF01731632",
    )

    method: Literal["window"] = "window"
    window_frames: int = param(
        1, ge=1, help="Frames the window reaches forward, backward, or both ways; more frames make speeds smoother."
    )
    direction: Literal["centred", "forward", "backward"] = param(
        "centred", help="Where the window lies: around the frame, after it, or before it."
    )
    arrest_speed_um_per_min: float = param(
        2.0, ge=0, help="A link slower than this counts as arrested, for the arrest coefficient.", unit="um_per_min"
    )
    max_lag_frames: int = param(10, ge=3, help="Longest lag of the mean squared displacement.")

    def measure(
        self, objects: pl.DataFrame, links: pl.DataFrame, tracks: pl.DataFrame, members: pl.DataFrame
    ) -> Followed:
        """Return links, tracks and members with their motion.

        Parameters
        ----------
        objects : polars.DataFrame
            ``object_id frame time_min x_um y_um z_um``, and ``quality`` where known; one position.
        links, tracks, members : polars.DataFrame
            As `kinocyte.core.schema.LINKS`, ``TRACKS`` and ``MEMBERS`` say; columns of an earlier measurement go.

        Returns
        -------
        Followed
            ``links`` with the columns of `link_features` that `OF_LINKS` names; ``tracks`` with those of
            `track_features` and, of `branch_features`, `OF_BRANCHES`; ``members`` with those of `object_motion`.
        """
        from kinocyte.measurement.branches import branch_features
        from kinocyte.measurement.links import link_features
        from kinocyte.measurement.speeds import object_motion
        from kinocyte.measurement.tracks import track_features

        members = members.select(list(MEMBERS))
        tracked = objects.drop("track_id", strict=False).join(
            members, on="object_id", how="left", maintain_order="left"
        )
        of_tracks = track_features(
            tracked,
            links,
            arrest_speed_um_per_min=self.arrest_speed_um_per_min,
            max_lag_frames=self.max_lag_frames,
        )
        of_branches = branch_features(tracked, links, of_tracks=of_tracks).select("track_id", *OF_BRANCHES)
        of_objects = object_motion(tracked, window_frames=self.window_frames, direction=self.direction)
        if not (objects["z_um"] != 0).any():
            of_objects = of_objects.drop("velocity_z_um_per_min")
        for motion in (of_tracks, of_branches):
            own = motion.select("track_id", *(c for c in motion.columns if c not in tracks.columns))
            tracks = tracks.join(own, on="track_id", how="left", maintain_order="left")
        return Followed(
            links.drop(OF_LINKS, strict=False).hstack(link_features(objects, links).select(OF_LINKS)),
            tracks,
            members.join(of_objects, on="object_id", how="left", maintain_order="left"),
        )
