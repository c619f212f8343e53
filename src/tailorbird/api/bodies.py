"""Request bodies: read whole and within a limit, unpacked within the same limit, decoded with a message for what is wrong."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeVar

import msgspec

from tailorbird.errors import InvalidInput, TooLarge

__all__ = ["MAX_BODY", "MAX_WEBHOOK", "BadRequest", "Disconnected", "Receive", "UnsupportedEncoding", "decode", "read_body"]

MAX_BODY: Final = 4 * 1024 * 1024
"""Bytes of a body that is not event intake: a folder of definitions, say."""

MAX_WEBHOOK: Final = 1024 * 1024
"""Bytes of a webhook, which anybody may send before its signature is checked."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
T = TypeVar("T")

_PACKED: Final = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}


class BadRequest(InvalidInput):
    """The body is not what it says it is: broken JSON, not UTF-8, nested too deeply, or packed wrongly."""

    code = "bad_request"
    status = 400


class UnsupportedEncoding(InvalidInput):
    """The body is packed in a way that is not known here."""

    code = "unsupported_encoding"
    status = 415


class Disconnected(Exception):
    """The client went away before its body was complete; there is nobody to answer."""


async def read_body(receive: Receive, limit: int, *, length: bytes = b"", encoding: bytes = b"") -> bytes:
    """Return a request's body, unpacked. Raises ``TooLarge`` as soon as more than ``limit`` bytes are known to come.

    ``length`` and ``encoding`` are the values of the headers Content-Length and Content-Encoding.
    """
    if length.isdigit() and int(length[:20]) > limit:
        raise _too_large(limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body") or message["type"] == "http.disconnect":
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise _too_large(limit)
        if message["type"] == "http.disconnect":
            raise Disconnected
        body = b"".join(parts)
    if len(body) > limit:
        raise _too_large(limit)
    return _unpack(body, encoding.strip().lower(), limit) if encoding else body


def decode(decoder: msgspec.json.Decoder[T], body: bytes | msgspec.Raw) -> T:
    """Return the decoded body; raise ``BadRequest`` for broken JSON and ``InvalidInput`` for JSON of another form."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the body has another form than expected: {error}") from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}", hint="send UTF-8 JSON; NaN and Infinity are not JSON") from None
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise BadRequest("the body nests too deeply", hint="flatten it") from None


def _unpack(body: bytes, encoding: bytes, limit: int) -> bytes:
    """Unpack gzip or deflate, stopping where the limit is passed: a small body may unpack to any size."""
    if encoding in (b"identity", b""):
        return body
    form = _PACKED.get(encoding)
    if form is None:
        raise UnsupportedEncoding(
            f"Content-Encoding {encoding.decode('latin-1')[:40]!r} is not known here", hint="send gzip, deflate or plain"
        )
    unpacker = zlib.decompressobj(form)
    try:
        plain = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise BadRequest(f"the body is not valid {encoding.decode()}: {error}") from None
    if len(plain) > limit or unpacker.unconsumed_tail:
        raise _too_large(limit)
    if not unpacker.eof:
        raise BadRequest(f"the {encoding.decode()} body ends early")
    return plain


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body has more than {limit} bytes, the limit here", hint="send it in smaller parts")
