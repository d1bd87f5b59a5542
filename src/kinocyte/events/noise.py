"""Thresholds that lie in the noise: how often a condition holds where it should not."""

from __future__ import annotations

from typing import Any

#: part of the observations that may contradict their event, and from how many observations on that is told
_MOST, _LEAST_COUNT = 0.05, 100


def noisy_threshold(name: str, when: str, counts: Any) -> str | None:
    """Return a sentence where a condition often contradicts the events that were found by it, else None.

    Parameters
    ----------
    name : str
        Name of the event.
    when : str
        The condition, as it was applied.
    counts : array (4,) of int
        Observations before the event, and of tracks without it; those of them in which the condition holds;
        observations after the event; those of them in which it does not hold.

    Returns
    -------
    str or None
    """
    before, holds, after, fails = (int(n) for n in counts)
    parts = (
        ("holds in {:.0%} of the observations before it", holds, before),
        ("does not hold in {:.0%} of the observations after it", fails, after),
    )
    said = [text.format(wrong / n) for text, wrong, n in parts if n >= _LEAST_COUNT and wrong / n > _MOST]
    if not said:
        return None
    return (
        f"The event '{name}': '{when}' {' and '.join(said)}, so its threshold lies in the noise and times are "
        "uncertain (see time_se_min); move it, or smooth the signal with rolling_median."
    )
