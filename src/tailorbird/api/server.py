"""Serving: one process, one event loop, until it is told to stop; it then finishes what it has taken on."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

import uvicorn

from tailorbird.api.app import create_app
from tailorbird.api.logs import Log, open_log
from tailorbird.api.security import Keyring, is_loopback
from tailorbird.engine import Engine
from tailorbird.errors import Forbidden, InvalidInput
from tailorbird.settings import Settings

__all__ = ["check_listening", "listen", "make_server", "serve"]

_GRACE: Final = 20  # seconds for requests under way when the server stops


def check_listening(keyring: Keyring, host: str) -> bool:
    """Return whether ``host`` is loopback; raise ``Forbidden`` for any other while there are no keys."""
    if is_loopback(host):
        return True
    if keyring.empty:
        raise Forbidden(
            f"listening on {host} would let anybody on the network in: there are no API keys.",
            hint="Make one first with `tailorbird keys create shop --scope ingest`, or listen on 127.0.0.1.",
        )
    return False


def serve(
    engine_or_url: Engine | str, *, host: str = "127.0.0.1", port: int = 8321, settings: Settings | None = None,
    ready: Callable[[int], None] | None = None, log: Log | None = None,
) -> None:  # fmt: skip
    """Serve until a signal comes; call ``ready`` with the port that is listened on once requests are answered (0 takes a free one).

    An engine that is given stays open; one opened from a URL is closed at the end. Raises ``Forbidden`` rather than listen
    beyond loopback without keys, and ``InvalidInput`` where the port is taken.
    """
    if isinstance(engine_or_url, str):
        settings = replace(settings or Settings(), listen=f"{host}:{port}")
        engine = Engine.open(engine_or_url, settings=settings)
    else:
        engine = engine_or_url
    try:
        local = check_listening(Keyring(engine.store), host)
        _spare_collector()
        listener = listen(host, port)
        try:
            told = None if ready is None else partial(ready, listener.getsockname()[1])
            make_server(engine, settings=settings, local=local, ready=told, log=log).run(sockets=[listener])
        finally:
            listener.close()
    finally:
        if isinstance(engine_or_url, str):
            engine.close()


def _spare_collector() -> None:
    """Keep the cycle collector away from what stays.

    Profiles ready in memory are millions of objects that make no cycles; walking all of them stops the server for a second.
    Young garbage, where cycles of requests end up, is still collected.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 10_000)


def make_server(
    engine: Engine, *, settings: Settings | None = None, local: bool = True, ready: Callable[[], None] | None = None,
    log: Log | None = None,
) -> uvicorn.Server:  # fmt: skip
    """Return the server over an engine, ready to ``run``; setting its ``should_exit`` stops it."""
    chosen = settings or engine.settings
    app = create_app(engine, chosen, local=local, log=log or open_log(chosen.log_level))
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", ws="none", lifespan="on", access_log=False, log_level="warning",
        server_header=False, proxy_headers=False, timeout_keep_alive=75, timeout_graceful_shutdown=_GRACE, backlog=2048,
        limit_concurrency=chosen.max_connections,
    )  # fmt: skip
    return _Server(config, ready)


class _Server(uvicorn.Server):
    """uvicorn's server, which tells when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        if self._ready is not None and self.started and not self.should_exit:
            await asyncio.to_thread(self._ready)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one."""
    name = host.strip("[]")
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((name, port))
    except OSError as error:
        listener.close()
        raise InvalidInput(f"cannot listen on {host}:{port}: {error.strerror}", hint="Choose another --port.") from None
    listener.set_inheritable(True)
    return listener
