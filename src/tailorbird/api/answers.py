"""Answers as they go out: JSON by msgspec, problems in one form, and the raw ASGI messages of the short path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec
from starlette.responses import Response

from tailorbird.api import problems
from tailorbird.errors import TailorbirdError

__all__ = ["JSON", "Answer", "Page", "Send", "encode", "refusal", "reply", "send_answer"]

Send = Callable[[Mapping[str, Any]], Awaitable[None]]
T = TypeVar("T")

JSON: Final = b"application/json"
_PROBLEM: Final = problems.CONTENT_TYPE.encode()
_encoder = msgspec.json.Encoder()
_START: Final = "http.response.start"
_BODY: Final = "http.response.body"


class Answer:
    """A whole answer of the short path."""

    __slots__ = ("body", "headers", "kind", "status")

    def __init__(self, body: bytes, status: int = 200, kind: bytes = JSON, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.body = body
        self.status = status
        self.kind = kind
        self.headers = headers


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Some of many: ``next`` is the cursor of those that follow, null at the end."""

    items: tuple[T, ...]
    next: str | None = None


def encode(value: Any) -> bytes:
    """Return a value as JSON."""
    return _encoder.encode(value)


def reply(value: Any, status: int = 200) -> Response:
    """Return a value as the answer of an ordinary route."""
    return Response(_encoder.encode(value), status, media_type="application/json")


def refusal(error: TailorbirdError, *, status: int | None = None) -> Answer:
    """Return one of our errors as problem details."""
    problem = problems.problem_of(error, status=status)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if problem.status == 401:
        headers = ((b"www-authenticate", b'Bearer realm="tailorbird"'),)
    elif problem.status == 503:
        headers = ((b"retry-after", b"1"),)
    return Answer(problems.encode(problem), problem.status, _PROBLEM, headers)


async def send_answer(send: Send, answer: Answer) -> None:
    """Send a whole answer."""
    headers = [(b"content-type", answer.kind), (b"content-length", b"%d" % len(answer.body))]
    if answer.headers:
        headers += answer.headers
    await send({"type": _START, "status": answer.status, "headers": headers})
    await send({"type": _BODY, "body": answer.body})
