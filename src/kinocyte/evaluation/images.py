"""Scores of an image against the truth: PSNR, SSIM, root mean square error, correlation, and maps of where it errs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

#: standard deviation of the Gaussian window of SSIM and where it is cut, as Wang et al. 2004 have them (11 x 11)
_SIGMA_PX, _TRUNCATE = 1.5, 3.5
_K1, _K2 = 0.01, 0.03
_HALF_WINDOW_PX = 5


@dataclass(frozen=True)
class ImageScores:
    """Scores of one image, or their means; None where nothing defines them.

    With the truth ``a``, the result ``b`` and ``RMSE = sqrt(mean((a - b)**2))``:

    - ``psnr_db = 20 log10(R / RMSE)``, ``R`` the range of the truth; None for identical images.
    - ``ssim``: mean structural similarity (Wang et al. 2004, doi:10.1109/TIP.2003.819861), Gaussian window of 1.5
      pixels, plane by plane, from -1 to 1.
    - ``rmse`` in grey values; ``nrmse_range = RMSE / R``, ``nrmse_mean = RMSE / mean(a)``,
      ``nrmse_norm = RMSE / sqrt(mean(a**2))``, ``nrmse_sd = RMSE / sd(a)``.
    - ``mean_absolute_error`` and ``bias = mean(b - a)`` in grey values.
    - ``pearson``: correlation of grey values.
    """

    psnr_db: float | None
    ssim: float | None
    rmse: float
    nrmse_range: float | None
    nrmse_mean: float | None
    nrmse_norm: float | None
    nrmse_sd: float | None
    mean_absolute_error: float
    bias: float
    pearson: float | None

    def as_dict(self) -> dict[str, float | None]:
        """Return plain numbers by name, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class ImageReport:
    """Scores of many images."""

    per_image: pl.DataFrame
    """One row an image and channel: ``image``, ``channel`` and the names of `ImageScores`."""

    @property
    def mean(self) -> dict[str, float | None]:
        """Mean of every score over the images that define it."""
        names = [n for n in self.per_image.columns if n not in {"image", "channel"}]
        means = {n: self.per_image[n].cast(pl.Float64).mean() for n in names}
        return {n: None if v is None else float(v) for n, v in means.items()}  # type: ignore[arg-type] # the mean of a numeric column is a number


def score_image(
    reference: NDArray[Any],
    result: NDArray[Any],
    *,
    data_range: float | None = None,
    fit: Literal["none", "linear"] = "none",
) -> ImageScores:
    """Score one image of one channel against the truth.

    Parameters
    ----------
    reference, result : ndarray, (y, x) or (z, y, x)
        Of equal shape and any real type.
    data_range : float, optional
        Range of grey values for PSNR, SSIM and NRMSE; that of the truth when left out.
    fit : {"none", "linear"}
        linear: gain and offset that bring the result nearest to the truth are applied first, for results whose grey
        values have another scale (as an input of few photons has).

    Raises
    ------
    ParameterError
        If the shapes differ, there is no pixel, or a value is not finite.
    """
    a, b = _checked(reference, result)
    if fit == "linear":
        b = _fitted(a, b)
    span = float(np.ptp(a)) if data_range is None else float(data_range)
    error = b - a
    rmse = math.sqrt(float(np.mean(error**2)))
    return ImageScores(
        psnr_db=20 * math.log10(span / rmse) if rmse > 0 and span > 0 else None,
        ssim=_mean_ssim(a, b, span),
        rmse=rmse,
        nrmse_range=_ratio(rmse, span),
        nrmse_mean=_ratio(rmse, abs(float(a.mean()))),
        nrmse_norm=_ratio(rmse, math.sqrt(float(np.mean(a**2)))),
        nrmse_sd=_ratio(rmse, float(a.std())),
        mean_absolute_error=float(np.mean(np.abs(error))),
        bias=float(error.mean()),
        pearson=_pearson(a, b),
    )


def score_images(
    pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]],
    names: Iterable[str] | None = None,
    *,
    fit: Literal["none", "linear"] = "none",
) -> ImageReport:
    """Score many images of several channels; memory holds one pair.

    Parameters
    ----------
    pairs : iterable of (reference, result)
        (channels, y, x) or (channels, z, y, x) each.
    names : iterable of str, optional
        What to call the images; ``0``, ``1`` .. where left out.
    fit : {"none", "linear"}
        See `score_image`.

    Raises
    ------
    ParameterError
        If an image cannot be scored; the message names it.
    """
    rows = []
    titles = iter(names) if names is not None else None
    for n, (reference, result) in enumerate(pairs):
        name = str(n) if titles is None else next(titles, str(n))
        try:
            if np.shape(reference) != np.shape(result) or np.ndim(reference) not in {3, 4}:
                msg = f"the truth has the shape {np.shape(reference)}, the result {np.shape(result)}."
                raise ParameterError(msg)
            for channel, (a, b) in enumerate(zip(reference, result, strict=True)):
                rows.append({"image": name, "channel": channel} | score_image(a, b, fit=fit).as_dict())
        except ParameterError as error:
            msg = f"Image {name}: {error}"
            raise ParameterError(msg) from error
    schema: dict[str, type[pl.DataType]] = {"image": pl.String, "channel": pl.Int64}
    schema |= dict.fromkeys(ImageScores.__dataclass_fields__, pl.Float64)
    return ImageReport(pl.DataFrame(rows, schema=schema))


def ssim_map(reference: NDArray[Any], result: NDArray[Any], *, data_range: float | None = None) -> Singles:
    """Return the structural similarity around every pixel, float32 from -1 to 1, of the shape of the images.

    Negative values, where structures are inverted, stay negative.

    Raises
    ------
    ParameterError
        As `score_image`.
    """
    a, b = _checked(reference, result)
    span = float(np.ptp(a)) if data_range is None else float(data_range)
    planes = zip(a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *b.shape[-2:]), strict=True)
    return np.stack([_ssim(x, y, span) for x, y in planes]).reshape(a.shape).astype(np.float32)


def error_map(reference: NDArray[Any], result: NDArray[Any]) -> Singles:
    """Return result minus truth, float32: negative where the result is too dark.

    Raises
    ------
    ParameterError
        As `score_image`.
    """
    a, b = _checked(reference, result)
    return (b - a).astype(np.float32)


def _checked(reference: NDArray[Any], result: NDArray[Any]) -> tuple[Floats, Floats]:
    if np.shape(reference) != np.shape(result):
        msg = f"The truth has the shape {np.shape(reference)} and the result {np.shape(result)}; they must be alike."
        raise ParameterError(msg)
    # subtraction of unsigned numbers wraps around; here it cannot
    a, b = np.asarray(reference, np.float64), np.asarray(result, np.float64)
    if a.ndim not in {2, 3} or a.size == 0:
        msg = f"An image of the shape {a.shape} cannot be scored; it needs (y, x) or (z, y, x)."
        raise ParameterError(msg)
    for what, image in (("truth", a), ("result", b)):
        if not np.isfinite(image).all():
            msg = f"The {what} holds NaN or infinite values, which have no score; mend or leave it out."
            raise ParameterError(msg)
    return a, b


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _fitted(a: Floats, b: Floats) -> Floats:
    """Return ``gain * b + offset`` nearest to ``a``."""
    spread = float(b.var())
    gain = float(np.mean((a - a.mean()) * (b - b.mean()))) / spread if spread > 0 else 0.0
    fitted: Floats = gain * (b - b.mean()) + a.mean()
    return fitted


def _pearson(a: Floats, b: Floats) -> float | None:
    # relative to the values: a constant image in floating point has a deviation of rounding
    sd_a, sd_b = float(a.std()), float(b.std())
    tiny = 1e-12
    if sd_a <= tiny * abs(float(a.mean())) or sd_b <= tiny * abs(float(b.mean())) or 0 in {sd_a, sd_b}:
        return None
    return float(np.clip(np.mean((a - a.mean()) * (b - b.mean())) / (sd_a * sd_b), -1, 1))


def _mean_ssim(a: Floats, b: Floats, span: float) -> float | None:
    """Return the mean over pixels whose window lies inside the image, as the reference implementation does."""
    if min(a.shape[-2:]) < 2 * _HALF_WINDOW_PX + 1 or span <= 0:
        return None
    inner = slice(_HALF_WINDOW_PX, -_HALF_WINDOW_PX)
    planes = zip(a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *b.shape[-2:]), strict=True)
    return float(np.mean([_ssim(x, y, span)[inner, inner].mean() for x, y in planes]))


def _ssim(a: Floats, b: Floats, span: float) -> Floats:
    """Return the map of SSIM of one plane (equation 13 of Wang et al. 2004)."""
    from scipy.ndimage import gaussian_filter

    def mean(x: Floats) -> Floats:
        filtered: Floats = gaussian_filter(x, _SIGMA_PX, truncate=_TRUNCATE, mode="reflect")
        return filtered

    # differences of large squares lose digits; SSIM's variances do not depend on a common shift of both images
    shift = a.mean()
    x, y = a - shift, b - shift
    mx, my = mean(x), mean(y)
    var_x, var_y, both = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    mx, my = mx + shift, my + shift
    c1, c2 = (_K1 * span) ** 2, (_K2 * span) ** 2
    divisor = (mx * mx + my * my + c1) * (np.maximum(var_x, 0) + np.maximum(var_y, 0) + c2)
    numerator = (2 * mx * my + c1) * (2 * both + c2)
    similar: Floats = np.divide(numerator, divisor, out=np.ones_like(divisor), where=divisor > 0)
    return similar
