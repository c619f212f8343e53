"""MCP over streamable HTTP, at ``/mcp`` of the ASGI application: one server that reads, one that writes, chosen per request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from tailorbird.engine import Engine
from tailorbird.mcp.server import build_server

__all__ = ["MCPApp"]

Headers = Iterable[tuple[bytes, bytes]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class MCPApp:
    """The ASGI application of MCP. Every request stands for itself; nothing is kept between two.

    ``may_write`` says from a request's headers whether its caller has the scope ``write``. A request that comes from a web page
    of another site than the server's own is refused, whatever it carries (``ours`` says which host names are the server's).
    """

    def __init__(
        self, engine: Engine, *, may_write: Callable[[list[tuple[bytes, bytes]]], bool], ours: Callable[[str], bool],
        fault: Callable[[str, BaseException], None] | None = None,
    ) -> None:  # fmt: skip
        self._may_write = may_write
        self._ours = ours
        self._servers: dict[bool, Server[Any]] = {
            writes: build_server(engine, writes=writes, fault=fault) for writes in (False, True)
        }
        self._running: dict[bool, StreamableHTTPSessionManager] = {}

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Serve until the block ends; belongs into the application's lifespan."""
        made = {writes: StreamableHTTPSessionManager(server, stateless=True) for writes, server in self._servers.items()}
        async with made[False].run(), made[True].run():
            self._running = made
            try:
                yield
            finally:
                self._running = {}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        # What stands around a header's value is no part of it (RFC 9110, 5.5), and not every HTTP parser takes it off.
        headers = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        if scope["method"] != "POST":
            await _refuse(send, 405, b"this server sends nothing by itself; POST a message", ((b"allow", b"POST"),))
        elif not _same_site(headers, self._ours):
            await _refuse(send, 403, b"a web page of another site cannot use this server")
        elif not self._running:
            await _refuse(send, 503, b"the server is not running")
        else:
            await self._running[self._may_write(headers)].asgi_app({**scope, "headers": headers}, receive, send)


def _same_site(headers: Headers, ours: Callable[[str], bool]) -> bool:
    """Return whether a request comes from no web page, or from one of the server's own."""
    named = {name: value.decode("latin-1") for name, value in headers if name in (b"origin", b"host")}
    origin = named.get(b"origin")
    if origin is None:
        return True
    host = urlsplit(origin).netloc.lower()
    return bool(host) and (host == named.get(b"host", "").lower() or ours(host))


async def _refuse(send: Send, status: int, text: bytes, more: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text)), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
