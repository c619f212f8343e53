"""The place on this machine where a browser arrives after a person has allowed access at a vendor's page."""

from __future__ import annotations

import hmac
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

from tailorbird.errors import Unavailable

__all__ = ["Callback"]

_PATH: Final = "/callback"
_DONE: Final = b"<!doctype html><meta charset=utf-8><title>Tailorbird</title><p>Thank you. You can close this page."
_OTHER: Final = b"<!doctype html><meta charset=utf-8><title>Tailorbird</title><p>Nobody is waited for here."


class Callback:
    """Waits on loopback for one visit with the right state; any other visit is turned away and nothing is learnt from it."""

    def __init__(self, port: int) -> None:
        self._state = ""
        self._found: dict[str, list[str]] | None = None
        self._arrived = threading.Event()
        outer = self

        class Visit(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                known = outer._take(self.path)
                body = _DONE if known else _OTHER
                self.send_response(200 if known else 404)
                for name, value in (
                    ("content-type", "text/html; charset=utf-8"), ("content-length", str(len(body))),
                    ("cache-control", "no-store"), ("referrer-policy", "no-referrer"),
                ):  # fmt: skip
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing: the address holds the code."""

        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), Visit)
        except OSError as error:
            raise Unavailable(
                f"port {port} of this machine cannot be used to wait for the browser ({error.strerror}).",
                hint="Give another one with --port (the app must know it), or use --no-browser.",
            ) from None
        self._server.daemon_threads = True
        self.url = f"http://localhost:{self._server.server_address[1]}{_PATH}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def expect(self, state: str) -> None:
        """Let the visit with this state in."""
        self._state = state

    def wait(self, seconds: float) -> dict[str, list[str]] | None:
        """Return what the browser brought; None when it did not come in time."""
        return self._found if self._arrived.wait(seconds) else None

    def _take(self, path: str) -> bool:
        parts = urlsplit(path)
        said = parse_qs(parts.query)
        given = (said.get("state") or [""])[0]
        if parts.path != _PATH or not self._state or not hmac.compare_digest(given.encode(), self._state.encode()):
            return False
        if not self._arrived.is_set():
            self._found = said
            self._arrived.set()
        return True
