"""Idempotency keys: a request that is repeated under the same key gets the answer of the first, and is carried out once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from anyio.to_thread import run_sync

from tailorbird.api.answers import Answer, Send, send_answer
from tailorbird.api.bodies import Receive
from tailorbird.api.guard import scope_of
from tailorbird.core.ids import digest
from tailorbird.engine import Engine
from tailorbird.errors import Conflict, InvalidInput

__all__ = ["MAX_KEY", "Replies"]

MAX_KEY: Final = 200
"""Characters in an ``Idempotency-Key``."""

_MAX_REMEMBERED: Final = 1_000_000


class Replies:
    """Replies remembered for a day under (caller, key); only those that say that something was done or refused for good."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._under_way: set[str] = set()

    def concerns(self, method: str, path: str) -> bool:
        """Return whether such a request is carried out once only: one that changes something, and whose answer may be kept."""
        return method == "POST" and scope_of(method, path) not in ("read", "admin")

    async def answer(
        self, inner: Callable[[Any, Receive, Send], Awaitable[None]], scope: MutableMapping[str, Any], receive: Receive,
        send: Send, *, body: bytes, key: bytes, caller: str,
    ) -> None:  # fmt: skip
        """Answer with the remembered reply, or let the request be carried out and remember. Raises ``Conflict``."""
        text = key.decode("latin-1")
        if len(text) > MAX_KEY or not text.isascii() or not text.isprintable():
            raise InvalidInput("the Idempotency-Key is not usable", hint=f"send 1 to {MAX_KEY} printable ASCII characters")
        name = digest("reply", caller, text)
        same = digest(scope["method"], scope["path"], scope["query_string"].decode("latin-1"), body.hex())
        if name in self._under_way:
            raise Conflict("a request with this Idempotency-Key is under way", hint="wait for its answer, then repeat")
        self._under_way.add(name)
        try:
            store = self._engine.store
            known = await run_sync(store.recall_reply, name)
            if known is not None:
                if known[0] != same:
                    raise Conflict("this Idempotency-Key was used for another request", hint="use a new key for each request")
                said = known[1]
                again = Answer(
                    said["body"].encode(), said["status"], said["kind"].encode(), ((b"idempotency-replayed", b"true"),)
                )
                await send_answer(send, again)
                return
            heard = _Hearing()
            await inner(scope, receive, heard)
            if heard.status < 300 and len(heard.body) < _MAX_REMEMBERED:
                reply = {"status": heard.status, "kind": heard.kind, "body": heard.body.decode()}
                await run_sync(lambda: store.remember_reply(name, same, reply, self._engine.now()))
            for message in heard.messages:
                await send(message)
        finally:
            self._under_way.discard(name)


class _Hearing:
    """Keeps what an application answers, until it is remembered."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.status = 500
        self.kind = "application/json"
        self.body = b""

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.kind = next((v.decode() for k, v in message["headers"] if k == b"content-type"), self.kind)
        else:
            self.body += message.get("body", b"")
        self.messages.append(message)
