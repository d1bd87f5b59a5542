"""Several processes that train one network, as ``torchrun`` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kinocyte.learning.devices import Device, pick


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is, and where it computes."""

    rank: int
    size: int
    device: str

    def wrapped(self, module: Any) -> Any:
        """Return a network whose gradients are the mean over all processes."""
        if self.size == 1:
            return module
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(module, device_ids=[self.device] if self.device.startswith("cuda") else None)

    def agreed(self, value: float) -> float:
        """Return what the first process holds, in all processes."""
        if self.size == 1:
            return value
        import torch

        told = torch.tensor([value], dtype=torch.float32, device=self.device)
        torch.distributed.broadcast(told, 0)
        return float(told[0])


@contextmanager
def ranks(device: Device) -> Iterator[Ranks]:
    """Join the other processes while this lasts, where ``torchrun`` has set WORLD_SIZE; else be the only one."""
    chosen = pick(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks(0, 1, chosen)
        return
    import torch

    rank = int(os.environ["RANK"])
    if chosen == "cuda":
        chosen = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(chosen)
    torch.distributed.init_process_group("nccl" if chosen.startswith("cuda") else "gloo")
    try:
        yield Ranks(rank, size, chosen)
    finally:
        torch.distributed.destroy_process_group()
