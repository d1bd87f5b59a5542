"""Test hosts: network namespaces on one bridge, each with an address of its own, that can be cut off and killed."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

#: Lost connections are noticed within seconds here, not minutes.
QUICK = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "20s",
}


def missing() -> str:
    """Return why there can be no such hosts here, or an empty string."""
    if os.name == "nt" or os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "not installed: ip (apt-get install iproute2)"
    tried = subprocess.run(["ip", "netns", "add", f"kino-try-{os.getpid()}"], capture_output=True, check=False)
    if tried.returncode:
        return f"no network namespaces here: {tried.stderr.decode().strip()}"
    subprocess.run(["ip", "netns", "delete", f"kino-try-{os.getpid()}"], check=True)
    return ""


def _ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=True)


@dataclass
class Hosts:
    """Context manager around hosts ``10.213.N.10`` and up; this process is ``10.213.N.1`` among them.

    N differs from process to process, so that what a killed process left behind is in nobody's way.
    """

    names: Sequence[str]
    log: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _number: int = field(default_factory=itertools.count().__next__)  # the kernel takes its time to remove devices

    @property
    def _tag(self) -> str:
        return f"k{os.getpid() % 100000}x{self._number}"

    @property
    def _net(self) -> str:
        return f"10.213.{os.getpid() % 250 + 1}"

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _build(self) -> None:
        bridge = f"{self._tag}b"
        _ip("link", "add", bridge, "type", "bridge")
        _ip("addr", "add", f"{self._net}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for name in self.names:
            space, outside = self._space(name), self._outside(name)
            _ip("netns", "add", space)
            _ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("link", "set", outside, "master", bridge, "up")
            _ip("-n", space, "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")
            _ip("-n", space, "link", "set", "lo", "up")

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self.processes):
            self.kill(name)
        for name in self.names:
            _ip("netns", "delete", self._space(name), check=False)
        _ip("link", "delete", f"{self._tag}b", check=False)

    def _space(self, name: str) -> str:
        return f"{self._tag}{name}"

    def _outside(self, name: str) -> str:
        return f"{self._tag}v{self.names.index(name)}"

    def address(self, name: str) -> str:
        """Return the address of a host."""
        return f"{self._net}.{10 + self.names.index(name)}"

    def start(self, name: str, *words: str) -> None:
        """Start a Python module on a host: a scheduler or a worker; output goes to the log folder."""
        with (self.log / f"{name}.txt").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                ["ip", "netns", "exec", self._space(name), sys.executable, "-m", *words],
                env={**os.environ, **QUICK},
                stdout=log,
                stderr=log,
                cwd=self.log,
                start_new_session=True,
            )

    def cut_off(self, name: str) -> None:
        """Take the network from a host; its processes go on."""
        _ip("link", "set", self._outside(name), "down")

    def kill(self, name: str) -> None:
        """End all processes of a host at once, as a power failure does."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
