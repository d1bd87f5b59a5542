"""The shared U-Net: shapes, exact reach, tiles, determinism."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from kinocyte.core.errors import ParameterError  # noqa: E402 - torch may be missing
from kinocyte.learning.networks.extent import divisor, reach  # noqa: E402
from kinocyte.learning.networks.unet import UNet  # noqa: E402

CASES = [
    {"ndim": 2, "depth": 0, "stride": 1},
    {"ndim": 2, "depth": 2, "stride": 1},
    {"ndim": 2, "depth": 2, "stride": 2, "last_width": 5},
    {"ndim": 2, "depth": 1, "stride": 4},
    {"ndim": 3, "depth": 1, "stride": 1},
    {"ndim": 3, "depth": 1, "stride": 2, "flat": 1},
    {"ndim": 3, "depth": 1, "stride": 1, "flat": 1},
]


def network(**keys: Any) -> Any:
    torch.manual_seed(0)
    net = UNet(keys.pop("n_inputs", 1), keys.pop("n_outputs", 2), keys.pop("ndim"), width=2, **keys).double()
    with torch.no_grad():
        for weight in net.parameters():  # all positive and larger than 0: no path is shut
            weight.copy_(weight.abs() + 0.05)
    return net


def reached(net: Any, n_steps: int) -> tuple[int, ...]:
    """Return how far the gradient of any output pixel of one period goes, by autograd on a strictly monotone net."""
    stride = getattr(net, "_stem_factors", [])
    grid = tuple(int(np.prod([f[a] for f in stride], initial=1)) for a in range(net.ndim))
    # a max pool passes the gradient to one of its pixels only, so its mean, which reaches as far, takes its place
    size = tuple(n_steps * d + 2 * (-(-r // d) * d) for d, r in zip(net.divisor, net.reach, strict=True))
    most = np.zeros(net.ndim, int)
    centre = tuple(-(-r // d) * d // g for d, r, g in zip(net.divisor, net.reach, grid, strict=True))
    for axis in range(net.ndim):
        for step in range(net.divisor[axis] // grid[axis]):
            x = torch.ones((1, 1, *size), dtype=torch.float64, requires_grad=True)
            at = [c + (step if a == axis else 0) for a, c in enumerate(centre)]
            net(x)[(0, 0, *at)].backward()
            touched = np.argwhere(x.grad[0, 0].numpy() != 0)[:, axis]
            first = at[axis] * grid[axis]
            most[axis] = max(most[axis], first - touched.min(), touched.max() - (first + grid[axis] - 1))
    return tuple(int(m) for m in most)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_reach_is_the_one_that_gradients_show(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    functional = torch.nn.functional
    monkeypatch.setattr(functional, "max_pool2d", functional.avg_pool2d)
    monkeypatch.setattr(functional, "max_pool3d", functional.avg_pool3d)
    net = network(**case)
    assert reached(net, 2) == net.reach


@pytest.mark.parametrize("case", CASES, ids=str)
def test_tiles_with_halo_give_what_the_whole_image_gives(case: dict[str, Any]) -> None:
    torch.manual_seed(1)
    net = UNet(2, 3, case["ndim"], width=4, **{k: v for k, v in case.items() if k != "ndim"})
    halo = [-(-r // d) * d for r, d in zip(net.reach, net.divisor, strict=True)]
    core = [max(d, 4) // d * d * 2 for d in net.divisor]
    size = [2 * h + 2 * c for h, c in zip(halo, core, strict=True)]
    x = torch.randn((1, 2, *size))
    with torch.no_grad():
        whole = net(x)
        tile = net(x[(..., *(slice(0, c + 2 * h) for c, h in zip(core, halo, strict=True)))])
    grid = [s // o for s, o in zip(size, whole.shape[2:], strict=True)]
    part = (..., *(slice(h // g, (h + c) // g) for h, c, g in zip(halo, core, grid, strict=True)))
    assert tile[part].numel()
    torch.testing.assert_close(tile[part], whole[part], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_divisor_is_enough_and_the_output_has_the_grid(case: dict[str, Any]) -> None:
    net = network(**case)
    out = net(torch.zeros((2, 1, *net.divisor), dtype=torch.float64))
    ratio = [d / n for d, n in zip(net.divisor, out.shape[2:], strict=True)]
    assert ratio[-2:] == [case["stride"], case["stride"]]
    assert out.shape[:2] == (2, 2)
    assert net.divisor == divisor(case["ndim"], depth=case["depth"], stride=case["stride"], flat=case.get("flat", 0))


def test_a_sample_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    net = UNet(1, 1, 2, width=4, depth=1)
    x = torch.randn(3, 1, 16, 16)
    torch.testing.assert_close(net(x)[1:2], net(x[1:2]), rtol=1e-5, atol=1e-6)


def test_a_residual_network_starts_near_its_input() -> None:
    torch.manual_seed(0)
    net = UNet(2, 1, 2, width=8, depth=1, residual=True)
    x = torch.randn(1, 2, 16, 16)
    assert float((net(x) - x[:, :1]).abs().mean().detach()) < 0.3


def test_the_reach_grows_with_depth() -> None:
    assert reach(2, depth=0) == (2, 2)
    assert reach(2, depth=1)[0] < reach(2, depth=2)[0] < reach(2, depth=3)[0]


@pytest.mark.parametrize(("keys", "what"), [({"ndim": 1}, "axes"), ({"ndim": 2, "stride": 3}, "stride")])
def test_what_cannot_be_built_is_refused(keys: dict[str, Any], what: str) -> None:
    with pytest.raises(ParameterError, match=what):
        UNet(1, 1, **keys)


def test_a_residual_network_needs_its_inputs() -> None:
    with pytest.raises(ParameterError, match="residual"):
        UNet(1, 2, 2, residual=True)
