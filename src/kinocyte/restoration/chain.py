"""Several restorers in one pass over a movie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.scale import Scale
from kinocyte.restoration.base import Movie, Output, Restorer, State, as_image, as_output, check_frames


@dataclass(frozen=True, slots=True)
class Chain:
    """Restorers with their states, applied one after the other to each frame.

    Between the restorers a frame stays in floating point; it is rounded once, at the end.
    """

    restorers: tuple[Restorer, ...]
    states: tuple[State, ...]

    @property
    def output(self) -> Output:
        """Return ``float32`` if any of the restorers asks for it."""
        return "float32" if any(r.output == "float32" for r in self.restorers) else "same"

    def restore(self, frame: NDArray[Any], t: int) -> NDArray[Any]:
        """Return one frame after all restorers.

        Parameters
        ----------
        frame : array, (y, x) or (z, y, x)
            Any real dtype; not changed.
        t : int
            Number of the frame.

        Returns
        -------
        array
            Same shape, of the frame's dtype, or float32 where a restorer asks for it.

        Raises
        ------
        ParameterError
            If a restorer cannot work on the frame, or the dtype cannot hold the result.
        """
        frame = np.asarray(frame)
        if not self.restorers:
            return frame
        image = as_image(frame)
        for restorer, state in zip(self.restorers, self.states, strict=True):
            restorer.check(state, frame.dtype, self.output)
            image = restorer.correct(image, t, state)
        return as_output(image, frame.dtype, self.output)

    def then(self, restorer: Restorer, state: State) -> Chain:
        """Return the chain with one more restorer at its end."""
        return Chain((*self.restorers, restorer), (*self.states, state))

    def movie(self, movie: Movie) -> RestoredMovie:
        """Return the restored movie, each frame computed when it is asked for."""
        return RestoredMovie(movie, self)


@dataclass(frozen=True, slots=True)
class RestoredMovie:
    """A movie whose frames are restored when they are read; only one frame is in memory at a time."""

    raw: Movie
    chain: Chain

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.raw)

    def __getitem__(self, frame: int, /) -> NDArray[Any]:
        """Return one restored frame; negative numbers count from the end.

        Raises
        ------
        IndexError
            If there is no such frame.
        """
        t = frame + len(self) if frame < 0 else frame
        if not 0 <= t < len(self):
            msg = f"There is no frame {frame}; the movie has {len(self)}."
            raise IndexError(msg)
        return self.chain.restore(np.asarray(self.raw[t]), t)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Restore one frame after the other."""
        return (self[t] for t in range(len(self)))


@dataclass(frozen=True, slots=True)
class _FloatMovie:
    """A movie as a later restorer sees it: not rounded in between."""

    raw: Movie
    chain: Chain

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, frame: int, /) -> NDArray[Any]:
        image = as_image(np.asarray(self.raw[frame]))
        for restorer, state in zip(self.chain.restorers, self.chain.states, strict=True):
            image = restorer.correct(image, frame, state)
        return image


def fit_chain(
    restorers: Sequence[Restorer],
    movie: Movie,
    scale: Scale,
    seed: int = 0,
    *,
    references: Mapping[str, Movie] | None = None,
    well: Mapping[str, Movie] | None = None,
) -> Chain:
    """Return the restorers, each fitted to the movie as those before it leave it.

    Parameters
    ----------
    restorers : sequence of Restorer
        In the order in which they are applied.
    movie : movie
        One channel, read frame by frame.
    scale : Scale
        Calibration.
    seed : int
        Fixes whatever chance there is.
    references : mapping of str to movie, optional
        Reference images by name, for the methods that read those; taken as they are.
    well : mapping of str to movie, optional
        The movies of the well, this one among them, for the methods that read those. Each is seen as the restorers
        before leave it, fitted to that movie. Where left out, ``references`` stand for the well.

    Returns
    -------
    Chain
        Its `Chain.restore` mends a frame, its `Chain.movie` the movie.

    Raises
    ------
    ParameterError
        If the movie is empty or a method cannot be fitted.
    """
    check_frames(movie)
    last = max((i for i, r in enumerate(restorers) if r.reads == "well"), default=-1)
    others = {} if well is None or last < 1 else {n: m for n, m in well.items() if m is not movie}
    chains = dict.fromkeys(others, Chain((), ()))
    chain = Chain((), ())
    for i, restorer in enumerate(restorers):
        seen = {n: _seen(m, chains[n]) for n, m in others.items()}
        beside = references
        if restorer.reads == "well" and well is not None:
            beside = {n: _seen(movie, chain) if m is movie else seen.get(n, m) for n, m in well.items()}
        state = restorer.fit(_seen(movie, chain), scale, seed, references=beside)
        if i < last:
            for name, other in seen.items():
                # what is made from the whole well is the same for each of its movies
                theirs = state if restorer.reads == "well" else restorer.fit(other, scale, seed, references=references)
                chains[name] = chains[name].then(restorer, theirs)
        chain = chain.then(restorer, state)
    return chain


def _seen(movie: Movie, chain: Chain) -> Movie:
    """Return a movie as a later restorer sees it."""
    return _FloatMovie(movie, chain) if chain.restorers else movie
