"""What BioImage.IO packages do to an image before and after the network, in the words of RDF 0.4 and 0.5."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError, nearest

Singles = NDArray[np.float32]

#: values are limited so that the exponential does not overflow
_STEEPEST = 80.0


def run(
    operations: Sequence[Mapping[str, Any]], image: Singles, axes: Sequence[str], *, reference: Singles | None = None
) -> Singles:
    """Return an image after a list of operations.

    Parameters
    ----------
    operations : sequence of mapping
        Entries ``preprocessing`` or ``postprocessing`` of a description: ``name`` or ``id``, and ``kwargs``.
    image : ndarray of float32
        One image with the axes named.
    axes : sequence of str
        ``channel z y x``, in order of the image.
    reference : ndarray, optional
        The input image, for operations that scale an output by it.

    Raises
    ------
    InputFileError
        If an operation is not one of BioImage.IO's, or its parameters are not understood.
    """
    for entry in operations:
        name = str(entry.get("id") or entry.get("name"))
        if name not in _OPERATIONS:
            msg = (
                f"The model package asks for the operation '{name}', which is not known; {nearest(name, _OPERATIONS)}."
            )
            raise InputFileError(msg)
        kwargs = dict(entry.get("kwargs") or {})
        try:
            image = np.asarray(_OPERATIONS[name](image, _Given(kwargs, axes, reference)), np.float32)
        except (KeyError, TypeError, ValueError) as error:
            msg = f"The parameters {kwargs} of the operation '{name}' of the model package are not understood: {error}."
            raise InputFileError(msg) from error
    return image


class _Given:
    """Parameters of an operation and the axes they speak of."""

    def __init__(self, kwargs: Mapping[str, Any], axes: Sequence[str], reference: Singles | None) -> None:
        self.kwargs, self.axes, self.reference = kwargs, list(axes), reference

    def over(self) -> tuple[int, ...]:
        """Return the places of the axes that statistics are taken over: those named, or all."""
        named = self.kwargs.get("axes")
        if named is None:
            return tuple(range(len(self.axes)))
        listed = [_plain(a) for a in named]
        return tuple(i for i, a in enumerate(self.axes) if a in listed)

    def spread(self, name: str, default: float | None = None) -> Any:
        """Return a number, or one for each place along ``axis`` (or the first axis that statistics leave out)."""
        value = self.kwargs[name] if default is None else self.kwargs.get(name, default)
        array = np.asarray(value, np.float64)
        if array.ndim == 0:
            return float(array)
        axis = self.kwargs.get("axis")
        place = self.axes.index(_plain(axis)) if axis is not None else self.axes.index("channel")
        shape = [1] * len(self.axes)
        shape[place] = array.size
        return array.reshape(shape)


def _plain(axis: str) -> str:
    return {"c": "channel", "b": "batch"}.get(str(axis), str(axis))


def _zero_mean_unit_variance(image: Singles, given: _Given) -> Any:
    if given.kwargs.get("mode") == "fixed" or "mean" in given.kwargs:
        return _fixed(image, given)
    over, eps = given.over(), float(given.kwargs.get("eps", 1e-6))
    values = image.astype(np.float64)
    return (values - values.mean(over, keepdims=True)) / (values.std(over, keepdims=True) + eps)


def _fixed(image: Singles, given: _Given) -> Any:
    return (image - given.spread("mean")) / (given.spread("std") + float(given.kwargs.get("eps", 0.0)))


def _scale_range(image: Singles, given: _Given) -> Any:
    over, eps = given.over(), float(given.kwargs.get("eps", 1e-6))
    low, high = (float(given.kwargs.get(k, d)) for k, d in (("min_percentile", 0.0), ("max_percentile", 100.0)))
    if not 0 <= low < high <= 100:
        msg = f"percentiles {low:g} and {high:g}"
        raise ValueError(msg)
    source = image
    if given.kwargs.get("reference_tensor") is not None:
        if given.reference is None or given.reference.ndim != image.ndim:
            msg = f"reference_tensor {given.kwargs['reference_tensor']}"
            raise ValueError(msg)
        source = given.reference
    bottom, top = np.percentile(source, (low, high), axis=over, keepdims=True)
    return (image - bottom) / (top - bottom + eps)


def _scale_mean_variance(image: Singles, given: _Given) -> Any:
    if given.reference is None:
        msg = "there is no reference tensor"
        raise ValueError(msg)
    over, eps = given.over(), float(given.kwargs.get("eps", 1e-6))
    wanted = given.reference.mean(over, keepdims=True), given.reference.std(over, keepdims=True)
    return (image - image.mean(over, keepdims=True)) / (image.std(over, keepdims=True) + eps) * (
        wanted[1] + eps
    ) + wanted[0]


def _softmax(image: Singles, given: _Given) -> Any:
    axis = given.axes.index(_plain(given.kwargs.get("axis", "channel")))
    power = np.exp(image - image.max(axis=axis, keepdims=True))
    return power / power.sum(axis=axis, keepdims=True)


_OPERATIONS: Mapping[str, Callable[[Singles, _Given], Any]] = {
    "binarize": lambda x, g: x > g.spread("threshold"),
    "clip": lambda x, g: np.clip(x, g.kwargs.get("min"), g.kwargs.get("max")),
    "ensure_dtype": lambda x, g: x.astype(np.dtype(str(g.kwargs["dtype"]))),
    "fixed_zero_mean_unit_variance": _fixed,
    "scale_linear": lambda x, g: x * g.spread("gain", 1.0) + g.spread("offset", 0.0),
    "scale_mean_variance": _scale_mean_variance,
    "scale_range": _scale_range,
    "sigmoid": lambda x, _: 1.0 / (1.0 + np.exp(-np.clip(x, -_STEEPEST, _STEEPEST))),
    "softmax": _softmax,
    "zero_mean_unit_variance": _zero_mean_unit_variance,
}
