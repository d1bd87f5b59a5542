"""A headless Chromium, driven over its DevTools socket: loads a page and says what it did."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tornado.websocket import WebSocketClientConnection, websocket_connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--no-default-browser-check", "--disable-extensions", "--disable-dev-shm-usage",
    "--disable-features=Translate,OptimizationHints,MediaRouter", "--remote-debugging-port=0",
)  # fmt: skip


def find() -> str | None:
    """Return the path of a Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name)) is not None), None)


@dataclass
class Visit:
    """What a page did while it was open."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)


class Browser:
    """Context manager around one Chromium process."""

    def __init__(self, executable: str) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        command = [executable, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._address = self._wait_for_socket()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)
        self._profile.cleanup()

    def _wait_for_socket(self) -> str:
        port_file = Path(self._profile.name, "DevToolsActivePort")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            lines = port_file.read_text().split() if port_file.is_file() else []
            if len(lines) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            time.sleep(0.05)
        msg = "Chromium did not open its DevTools port within a minute."
        raise RuntimeError(msg)

    def visit(
        self,
        page: Path,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        media: str = "screen",
        reduced_motion: bool = False,
        ask: dict[str, str] | None = None,
        screenshot: Path | None = None,
        clip: str | None = None,
    ) -> Visit:
        """Load a file, evaluate JavaScript expressions in it, take a picture of it or of ``clip``."""
        run = _Session(
            page.as_uri(),
            width,
            height,
            {"dark": dark, "media": media, "still": reduced_motion},
            ask or {},
            screenshot,
            clip,
        )
        return asyncio.run(run.run(self._address))


@dataclass
class _Session:
    url: str
    width: int
    height: int
    emulate: dict[str, Any]
    ask: dict[str, str]
    screenshot: Path | None
    clip: str | None
    visit: Visit = field(default_factory=Visit)
    _number: int = 0
    _loaded: bool = False

    async def run(self, address: str) -> Visit:
        socket = await websocket_connect(address, max_message_size=2**28)
        target = await self._call(socket, "Target.createTarget", {"url": "about:blank"})
        attached = await self._call(socket, "Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
        session = attached["sessionId"]

        async def call(method: str, **parameters: Any) -> dict[str, Any]:
            return await self._call(socket, method, parameters, session)

        for domain in ("Page", "Runtime", "Log", "Network"):
            await call(f"{domain}.enable")
        size = {"width": self.width, "height": self.height, "deviceScaleFactor": 1, "mobile": self.width < 600}
        await call("Emulation.setDeviceMetricsOverride", **size)
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if self.emulate["dark"] else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if self.emulate["still"] else "no-preference"},
        ]
        await call("Emulation.setEmulatedMedia", media=self.emulate["media"], features=features)
        await call("Page.navigate", url=self.url)
        while not self._loaded:
            self._note(json.loads(str(await socket.read_message())))
        for name, expression in self.ask.items():
            found = await call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
            if "exceptionDetails" in found:
                self.visit.errors.append(f"{name}: {found['exceptionDetails']}")
            self.visit.answers[name] = found["result"].get("value")
        await call("Runtime.evaluate", expression="new Promise(f => setTimeout(f, 150))", awaitPromise=True)
        if self.screenshot is not None:
            await self._picture(call)
        await self._call(socket, "Target.closeTarget", {"targetId": target["targetId"]})
        socket.close()
        while await socket.read_message() is not None:
            pass
        return self.visit

    async def _picture(self, call: Callable[..., Any]) -> None:
        box = "document.documentElement" if self.clip is None else f"document.querySelector({json.dumps(self.clip)})"
        where = (
            f"(() => {{ const b = {box}.getBoundingClientRect(); "
            "return [b.x + scrollX, b.y + scrollY, b.width, b.height]; })()"
        )
        found = await call("Runtime.evaluate", expression=where, returnByValue=True)
        x, y, width, height = found["result"]["value"]
        area = {"x": x, "y": y, "width": width, "height": min(height, 12000), "scale": 1}
        shot = await call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=area)
        assert self.screenshot is not None
        self.screenshot.write_bytes(base64.b64decode(shot["data"]))

    async def _call(
        self, socket: WebSocketClientConnection, method: str, parameters: dict[str, Any], session: str | None = None
    ) -> dict[str, Any]:
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        await socket.write_message(json.dumps(message))
        while True:
            answer = json.loads(str(await socket.read_message()))
            if answer.get("id") == number:
                if "error" in answer:
                    msg = f"{method}: {answer['error']}"
                    raise RuntimeError(msg)
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        method, about = event.get("method"), event.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Runtime.exceptionThrown":
            self.visit.errors.append(str(about["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and about["type"] in {"error", "warning", "assert"}:
            self.visit.errors.append(str(about["args"]))
        elif method == "Log.entryAdded" and about["entry"]["level"] in {"error", "warning"}:
            self.visit.errors.append(str(about["entry"]))
        elif method == "Network.requestWillBeSent":
            url = about["request"]["url"]
            if not url.startswith(("data:", "about:")) and url != self.url:
                self.visit.requests.append(url)
