"""Servers on loopback for tests: an S3 server that can be made to fail, and a web server."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_BUSY = b"<?xml version='1.0'?><Error><Code>ServiceUnavailable</Code><Message>busy</Message></Error>"


class Faults:
    """What goes wrong in a server: a share of the requests is refused, or done and answered with a fault."""

    def __init__(self) -> None:
        self.share = 0.0
        self.requests = 0
        self.injected = 0
        self.methods: list[str] = []
        self._chance = random.Random(5)
        self._guard = threading.Lock()

    def draw(self, method: str) -> str:
        """Return ``""``, ``refuse`` or ``lose`` for the next request."""
        with self._guard:
            self.requests += 1
            self.methods.append(method)
            if self._chance.random() >= self.share:
                return ""
            self.injected += 1
            return "refuse" if self._chance.random() < 0.5 else "lose"


@contextmanager
def s3_server(faults: Faults) -> Iterator[str]:
    """Run an S3 server on loopback and yield its address."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    inner = DomainDispatcherApplication(create_backend_app)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        fate = faults.draw(environ["REQUEST_METHOD"])
        if fate == "lose":  # done, but the answer never comes
            list(inner(environ, lambda *_: lambda _: None))
        elif not fate:
            return inner(environ, start_response)
        start_response("503 Service Unavailable", [("Content-Type", "application/xml")])
        return [_BUSY]

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files; lists folders or not; fails now and then."""

    def __init__(self, faults: Faults, lists: bool, *args: Any, **kwargs: Any) -> None:
        self._faults, self._lists = faults, lists
        super().__init__(*args, **kwargs)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self._faults.draw("GET"):
            self.send_error(503)
        else:
            super().do_GET()

    def list_directory(self, path: Any) -> Any:
        if self._lists:
            return super().list_directory(path)
        self.send_error(404)
        return None


@contextmanager
def web_server(folder: Path, faults: Faults, *, lists: bool) -> Iterator[str]:
    """Serve a folder on loopback and yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, faults, lists, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()
