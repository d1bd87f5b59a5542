"""Who killed whom: candidates for every death, ranked, with the reasons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import polars as pl

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import Method, param
from kinocyte.core.schema import require
from kinocyte.interactions._cells import as_tuple

_PARTS = ("contact", "arrest", "marker", "exclusivity")
#: no part but the contact counts as less
_LEAST = 0.05


class KillerRanking(Method):
    """Rank the effectors that may have killed a target.

    Four things speak for an effector, each from 0 to 1, looked at in the stretch of time before the death:

    ``contact``: the part of that time in which both were neighbours. ``arrest``: how much slower than usual it moved
    relative to the target while they were (0: as fast as it usually is, 1: not at all). ``marker``: how unlikely the
    marker (degranulation, say) reaches by chance what it reached while they were: the probability that as many values,
    taken at random from the other effectors of the table, all lie below. ``exclusivity``: the mean of 1 / number of
    targets it was with at once.

    The score is the geometric mean of all four by their weights; those that could not be measured are left out, and
    none but the contact counts as less than 0.05, so that no single other one rules an effector out. It is a suggestion
    for a person to look at, not a probability.
    """

    kind: ClassVar[str] = "killing"

    method: Literal["killer_ranking"] = "killer_ranking"
    window_min: float = param(
        60.0, gt=0, unit="min", help="How long before the death a contact may have been what caused it."
    )
    marker: str | None = param(
        None, help="Signal of the effector that rises when it kills, such as mean_lamp1; left out: none."
    )
    contact_weight: float = param(1.0, gt=0, help="How much the time in contact counts.", advanced=True)
    arrest_weight: float = param(0.25, ge=0, help="How much slowing down at the target counts.", advanced=True)
    marker_weight: float = param(2.0, ge=0, help="How much the marker counts.", advanced=True)
    exclusivity_weight: float = param(
        0.5, ge=0, help="How much it counts to have no other target at the same time.", advanced=True
    )

    def rank(self, deaths: pl.DataFrame, signals: pl.DataFrame, *, by: str | Sequence[str] = ()) -> pl.DataFrame:
        """Return the candidates for every death.

        Parameters
        ----------
        deaths : polars.DataFrame
            ``track_id time_min`` of the targets that died, one row a death; rows whose ``class`` (if there is such a
            column) is not ``event``, or whose time is null, are left out.
        signals : polars.DataFrame
            What `kinocyte.interactions.pair_signals` returned with targets as references and effectors as neighbours,
            and with the marker among its signals.
        by : str or sequence of str
            Columns that tell positions apart.

        Returns
        -------
        polars.DataFrame
            One row a death and effector that was its neighbour at any time up to the death, sorted by death and rank:
            the ``by`` columns, ``reference_track_id death_min neighbour_track_id pair_id rank`` (from 1), ``score``,
            ``contact arrest marker exclusivity``, ``contact_min`` (time together in the window),
            ``last_contact_min`` (minutes from the last contact to the death) and ``reason``, a sentence. A death with
            no candidate has one row in which all but the reason is null.

        Raises
        ------
        TableError
            If a column is missing.
        ParameterError
            If the marker is not among the signals.
        """
        names = as_tuple(by)
        needed = ("pair_id", "reference_track_id", "neighbour_track_id", "frame", "time_min", "together")
        require(signals, (*names, *needed, "relative_speed_um_per_min", "neighbour_speed_um_per_min"), table="signals")
        require(deaths, (*names, "track_id", "time_min"), table="deaths")
        if self.marker is not None and f"neighbour_{self.marker}" not in signals.columns:
            msg = f"The signals lack 'neighbour_{self.marker}'; name '{self.marker}' among the signals of pair_signals."
            raise ParameterError(msg)
        died = deaths.filter(pl.col("time_min").is_finite())
        if "class" in deaths.columns:
            died = died.filter(pl.col("class") == "event")
        died = died.select(*names, reference_track_id=pl.col("track_id").cast(pl.Int64), death_min="time_min").unique()
        from kinocyte.interactions._killing import parts_of_candidates

        parts = parts_of_candidates(died, signals, window_min=self.window_min, marker=self.marker, by=names)
        return self._ranked(died, self._scored(parts), names)

    def _scored(self, parts: pl.DataFrame) -> pl.DataFrame:
        """Return the candidates with their score."""
        weights = {
            "contact": self.contact_weight,
            "arrest": self.arrest_weight,
            "marker": self.marker_weight,
            "exclusivity": self.exclusivity_weight,
        }
        logs = [
            pl.col(n).clip(0.0 if n == "contact" else _LEAST, 1.0).log().fill_null(0.0) * w for n, w in weights.items()
        ]
        known = [pl.col(n).is_not_null().cast(pl.Float64) * w for n, w in weights.items()]
        return parts.with_columns(score=(pl.sum_horizontal(logs) / pl.sum_horizontal(known)).exp())

    def _ranked(self, died: pl.DataFrame, scored: pl.DataFrame, by: tuple[str, ...]) -> pl.DataFrame:
        """Return all deaths, candidates in order, each with its reason."""
        death = [*by, "reference_track_id", "death_min"]
        ordered = scored.sort(
            [*death, "score", "last_contact_min", "neighbour_track_id"],
            descending=[*([False] * len(death)), True, False, False],
        )
        ordered = ordered.with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over(death))
        out = died.join(ordered, on=death, how="left", nulls_equal=True).sort(*death, "rank")
        reasons = [self._reason(row) for row in out.iter_rows(named=True)]
        head = [*death, "neighbour_track_id", "pair_id", "rank", "score", *_PARTS, "contact_min", "last_contact_min"]
        return out.with_columns(pl.Series("reason", reasons, dtype=pl.String)).select(*head, "reason")

    def _reason(self, row: dict[str, Any]) -> str:
        """Return the sentence that explains a row."""
        target, effector = f"target {row['reference_track_id']}", f"Effector {row['neighbour_track_id']}"
        if row["neighbour_track_id"] is None:
            return f"No effector was seen beside {target} before it died at {row['death_min']:.1f} min."
        if not row["contact_min"]:
            return (
                f"{effector} was not beside {target} in the {self.window_min:g} min before it died; "
                f"the last time was {row['last_contact_min']:.1f} min before."
            )
        beside = f"was beside {target} for {row['contact_min']:.1f} of the {self.window_min:g} min before it died"
        clauses = [f"{beside}, last {row['last_contact_min']:.1f} min before"]
        if row["contact_speed"] is not None:
            usual = "" if row["usual_speed"] is None else f" (its usual speed is {row['usual_speed']:.2f})"
            clauses.append(f"moved at {row['contact_speed']:.2f} um/min relative to it{usual}")
        if row["marker"] is not None:
            clauses.append(
                f"reached a {self.marker} of {row['_peak']:.4g} (by chance in {_percent(1 - row['marker'])})"
            )
        if row["exclusivity"] is not None:
            alone = row["exclusivity"] > 0.999
            clauses.append("had no other target then" if alone else "had other targets at the same time")
        return f"{effector} {', '.join(clauses[:-1])}{' and ' if len(clauses) > 1 else ''}{clauses[-1]}."


def _percent(part: float) -> str:
    """Return a part as a person reads it."""
    return f"{100 * part:.0f} %" if part >= 0.01 else "less than 1 %"
