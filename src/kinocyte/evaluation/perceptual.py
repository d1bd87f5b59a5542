"""How different two images look: the shift-tolerant learned distance ST-LPIPS.

Networks that recognise things in photographs see two images as alike where people do. ST-LPIPS is retrained so that a
shift by a pixel, which nobody sees, does not count.

References
----------
Ghildyal & Liu 2022, "Shift-tolerant perceptual similarity metric", ECCV (the metric and its weights, BSD-2-Clause);
Zhang et al. 2018, CVPR, doi:10.1109/CVPR.2018.00068 (the distance of unit-length features).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import MissingExtraError, ParameterError

Singles = NDArray[np.float32]

#: smaller images have no pixel left in the deeper layers
LEAST_PX = 32
_CONVOLUTIONS = (("slice1.0", 2), ("slice2.5", 2), ("slice3.9", 1), ("slice4.11", 1), ("slice5.13", 1))
_SHAPES: Mapping[str, tuple[int, ...]] = {
    "scaling_layer.shift": (1, 3, 1, 1), "scaling_layer.scale": (1, 3, 1, 1),
    "net.slice1.0.weight": (64, 3, 11, 11), "net.slice1.0.bias": (64,), "net.slice1.1.filt": (64, 1, 3, 3),
    "net.slice2.4.filt": (64, 1, 3, 3), "net.slice2.5.weight": (192, 64, 5, 5), "net.slice2.5.bias": (192,),
    "net.slice3.8.filt": (192, 1, 3, 3), "net.slice3.9.weight": (384, 192, 3, 3), "net.slice3.9.bias": (384,),
    "net.slice4.11.weight": (256, 384, 3, 3), "net.slice4.11.bias": (256,), "net.slice5.13.weight": (256, 256, 3, 3),
    "net.slice5.13.bias": (256,), "lin0.model.1.weight": (1, 64, 1, 1), "lin1.model.1.weight": (1, 192, 1, 1),
    "lin2.model.1.weight": (1, 384, 1, 1), "lin3.model.1.weight": (1, 256, 1, 1), "lin4.model.1.weight": (1, 256, 1, 1),
}  # fmt: skip


class PerceptualDistance:
    """The network of ST-LPIPS (AlexNet) on the CPU.

    Parameters
    ----------
    weights : mapping of str to ndarray
        Its 20 tensors, of any floating type.

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    ParameterError
        If tensors are missing or of the wrong shape.
    """

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        try:
            import torch
        except ImportError as error:
            msg = "ST-LPIPS needs PyTorch, which is not installed; install it with: pip install 'kinocyte[deep]'"
            raise MissingExtraError(msg) from error
        for name, shape in _SHAPES.items():
            if name not in weights or weights[name].shape != shape:
                found = weights[name].shape if name in weights else "nothing"
                msg = f"These are no weights of ST-LPIPS (AlexNet): '{name}' has {found} instead of {shape}."
                raise ParameterError(msg)
        self._w = {n: torch.from_numpy(np.ascontiguousarray(weights[n], np.float32)) for n in _SHAPES}

    def distance(self, reference: NDArray[Any], result: NDArray[Any], *, data_range: float | None = None) -> float:
        """Return the distance of two images, 0 for identical ones.

        Parameters
        ----------
        reference, result : ndarray, (y, x) or (3, y, x)
            One channel, or red, green and blue; the range of the reference is scaled to what the network knows.
        data_range : float, optional
            Range of grey values from the minimum of the reference on; that of the reference when left out.

        Raises
        ------
        ParameterError
            If shapes differ or are too small, or a value is not finite.
        """
        return float(self.map(reference, result, data_range=data_range, upsample=False).mean())

    def map(
        self,
        reference: NDArray[Any],
        result: NDArray[Any],
        *,
        data_range: float | None = None,
        upsample: bool = True,
    ) -> Singles:
        """Return the distance around every pixel, (y, x) float32; its mean is near `distance`.

        Parameters
        ----------
        reference, result, data_range
            As in `distance`.
        upsample : bool
            False returns one pixel, the distance itself.
        """
        import torch
        from torch.nn import functional

        a, b = self._scaled(reference, result, data_range)
        total: Any = 0
        with torch.no_grad():
            for k, (x, y) in enumerate(zip(self._features(a), self._features(b), strict=True)):
                weight = self._w[f"lin{k}.model.1.weight"]
                part = functional.conv2d((_unit(x) - _unit(y)) ** 2, weight)
                if upsample:
                    part = functional.interpolate(part, size=a.shape[-2:], mode="bilinear", align_corners=False)
                else:
                    part = part.mean(dim=(2, 3), keepdim=True)
                total = total + part
        found: Singles = total[0, 0].numpy()
        return found

    def _scaled(self, reference: NDArray[Any], result: NDArray[Any], data_range: float | None) -> tuple[Any, Any]:
        import torch

        if np.shape(reference) != np.shape(result):
            msg = (
                f"The truth has the shape {np.shape(reference)} and the result {np.shape(result)}; they must be alike."
            )
            raise ParameterError(msg)
        a, b = np.asarray(reference, np.float64), np.asarray(result, np.float64)
        if a.ndim not in {2, 3} or (a.ndim == 3 and len(a) != 3) or min(a.shape[-2:]) < LEAST_PX:
            msg = f"ST-LPIPS looks at (y, x) or (3, y, x) of at least {LEAST_PX} pixels, not at {a.shape}."
            raise ParameterError(msg)
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            msg = "An image holds NaN or infinite values, which have no distance; mend or leave it out."
            raise ParameterError(msg)
        low, span = a.min(), float(np.ptp(a)) if data_range is None else float(data_range)
        made = []
        for image in (a, b):
            scaled = 2 * (image - low) / (span if span > 0 else 1.0) - 1
            colour = np.broadcast_to(scaled, (3, *scaled.shape[-2:]))
            tensor = torch.from_numpy(np.ascontiguousarray(colour, np.float32))[None]
            made.append((tensor - self._w["scaling_layer.shift"]) / self._w["scaling_layer.scale"])
        return made[0], made[1]

    def _features(self, image: Any) -> list[Any]:
        """Return the outputs of the five layers."""
        from torch.nn import functional

        blurs = {0: ("slice1.1",), 1: ("slice2.4",), 2: ("slice3.8",)}
        found, x = [], image
        for k, (name, padding) in enumerate(_CONVOLUTIONS):
            if k in {1, 2}:
                x = functional.max_pool2d(x, 3, stride=1)
                x = self._blurred(x, blurs[k][0])
            x = functional.conv2d(x, self._w[f"net.{name}.weight"], self._w[f"net.{name}.bias"], padding=padding)
            if k == 0:
                x = self._blurred(x, blurs[0][0])
            x = functional.relu(x)
            found.append(x)
        return found

    def _blurred(self, x: Any, name: str) -> Any:
        from torch.nn import functional

        kernel = self._w[f"net.{name}.filt"]
        padded = functional.pad(x, (2, 2, 2, 2), mode="reflect")
        return functional.conv2d(padded, kernel, stride=2, groups=x.shape[1])


def _unit(features: Any) -> Any:
    """Return features of length 1 at every pixel."""
    return features / (features.pow(2).sum(dim=1, keepdim=True).sqrt() + 1e-10)
