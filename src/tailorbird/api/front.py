"""The short path: event intake and feature reads are answered ahead of FastAPI; everything else is let through, checked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
from anyio.to_thread import run_sync

from tailorbird.api import forms
from tailorbird.api.answers import Answer, Send, encode, refusal, send_answer
from tailorbird.api.bodies import MAX_BODY, MAX_WEBHOOK, BadRequest, Disconnected, Receive, UnsupportedEncoding, decode, read_body
from tailorbird.api.guard import Guard, is_signed
from tailorbird.api.idempotency import Replies
from tailorbird.api.logs import Log, fault
from tailorbird.api.metrics import Metrics
from tailorbird.api.problems import CONTENT_TYPE, problem
from tailorbird.api.problems import encode as encode_problem
from tailorbird.api.segment import CALLS, MAX_BATCH, MAX_CALL
from tailorbird.api.shapes import instant
from tailorbird.core.ids import digest
from tailorbird.engine import Engine
from tailorbird.errors import InvalidEvent, InvalidInput, Mistake, TailorbirdError
from tailorbird.runtime.ingest import Incoming, Receipt

__all__ = ["Front", "Scope", "Take"]

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Take = Callable[[list[Incoming]], Awaitable[list[Receipt]]]

_PEOPLE: Final = "/api/v1/profiles/"
_FEATURES: Final = "/features"
_DEPTH: Final = 5
_SUCCESS: Final = b'{"success":true}'
_anything = msgspec.json.Decoder()


class Front:
    """The outermost ASGI application of a server."""

    def __init__(
        self, inner: App, engine: Engine, guard: Guard, metrics: Metrics, log: Log, take: Take, replies: Replies,
        describe: Callable[[], dict[str, Any]],
    ) -> None:  # fmt: skip
        self._inner = inner
        self._describe = describe
        self._engine = engine
        self._guard = guard
        self._metrics = metrics
        self._log = log
        self._region = engine.settings.default_region or None
        self._take = take
        self._replies = replies
        self._calls = {f"/v1/{call}": call for call in (*CALLS, "batch")} | {"/api/v1/events": "events"}
        self._limits = {"batch": MAX_BATCH, "events": MAX_BODY}
        self._asked: dict[bytes, tuple[str, ...] | None] = {b"": None}
        self._seconds = metrics.seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        started = perf_counter()
        route = "api"
        method, path = scope["method"], scope["path"]
        try:
            caller = self._guard.allow(method, path, scope["headers"])
            if path in self._calls:
                route = "intake"
                answer = await self._intake(self._calls[path], scope, receive) if method == "POST" else _not_allowed(b"POST")
            elif path.endswith(_FEATURES) and path.startswith(_PEOPLE) and path.count("/") == _DEPTH:
                route = "features"
                ref = path[len(_PEOPLE) : -len(_FEATURES)]
                if method == "GET":
                    answer = self._warm_features(ref, scope["query_string"]) or await self._features(ref, scope["query_string"])
                else:
                    answer = _not_allowed(b"GET")
            else:
                await self._pass(scope, receive, send, caller)
                self._seconds[route].add(perf_counter() - started)
                return
        except TailorbirdError as error:
            if error.__cause__ is not None:
                self._fault(route, error.__cause__)
            answer = refusal(error, status=400 if error.status == 422 and path.startswith("/v1/") else None)
        except Disconnected:
            return
        except Exception as error:
            answer = self._fault(route, error)
        await send_answer(send, answer)
        if answer.status >= 400:
            self._metrics.answered(route, answer.status)
        self._seconds[route].add(perf_counter() - started)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document of everything that is answered here."""
        return self._describe()

    def close(self) -> None:
        """Close the engine of an application that was never started."""
        self._engine.close()

    # ---- events

    async def _intake(self, call: str, scope: Scope, receive: Receive) -> Answer:
        length = encoding = key = caller = b""
        for name, value in scope["headers"]:
            if name == b"content-length":
                length = value
            elif name == b"content-encoding":
                encoding = value
            elif name == b"idempotency-key":
                key = value
            elif name == b"authorization":
                caller = value
        full = _wants_receipts(scope["query_string"]) if scope["query_string"] and call != "events" else False
        body = await read_body(receive, self._limits.get(call, MAX_CALL), length=length, encoding=encoding)
        read = self._read(call, body)
        if key:
            # The caller and the body belong to the name: nobody's events are taken for somebody else's, or for other ones.
            read.name("k" + digest("request", call, *(part.decode("latin-1") for part in (key, caller, body))))
        receipts = read.receipts(await self._take(read.good) if read.good else [])
        counts = self._metrics.events[call]
        rejected = -counts["rejected"]
        for receipt in receipts:
            counts[receipt.status] += 1
        rejected += counts["rejected"]
        if call == "events":
            return _own_answer(read, receipts, rejected)
        return _segment_answer(receipts, rejected, read.single, full)

    def _read(self, call: str, body: bytes) -> forms.Reading:
        try:
            if call == "events":
                return forms.read_events(body)
            now = self._engine.clock.now()
            if call == "batch":
                return forms.read_batch(body, now, self._region)
            return forms.read_call(call, body, now, self._region)
        except TailorbirdError:
            self._metrics.events[call]["rejected"] += 1
            raise

    # ---- features

    def _warm_features(self, ref: str, query: bytes) -> Answer | None:
        """Answer a question asked before about a profile that is in memory, else return None; microseconds either way."""
        names = self._asked.get(query, ...)
        if names is ...:
            return None
        now = self._engine.now()
        found = self._engine.encoded_features(ref, names, now)
        return None if found is None else Answer(b'{"as_of":%d,"features":%s}' % (now, found))

    async def _features(self, ref: str, query: bytes) -> Answer:
        _check_address(ref, query)
        names, as_of = self._read_query(query)
        if as_of is not None:
            past = await run_sync(lambda: self._engine.features(ref, names, as_of=as_of))
            return Answer(encode({"as_of": as_of, "features": past}))
        values = await run_sync(self._engine.read_features, ref, names)
        return Answer(encode({"as_of": self._engine.clock.now(), "features": values}))

    def _read_query(self, query: bytes) -> tuple[tuple[str, ...] | None, Any]:
        asked = parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=100)
        unknown = sorted(set(asked) - {"names", "as_of"})
        if unknown:
            raise InvalidInput(f"{unknown[0]!r:.60} is not a parameter here", hint="known: names, as_of")
        given = [name for text in asked.get("names", ()) for name in text.split(",") if name]
        names = tuple(dict.fromkeys(given)) if "names" in asked else None
        as_of = asked.get("as_of", [""])[-1]
        if as_of:
            return names, instant(as_of, "as_of")
        if len(self._asked) < 10_000:
            self._asked[query] = names
        return names, None

    # ---- the rest

    async def _pass(self, scope: Scope, receive: Receive, send: Send, caller: str) -> None:
        """Let FastAPI answer, once the body is here, within the limit, and JSON where it says so."""
        status = 0

        async def noting(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        _check_address(scope["path"], scope["query_string"])
        named = dict(scope["headers"])
        body = b""
        if is_signed(scope["method"], scope["path"]):  # what is signed is these very bytes, whatever they are
            body = await read_body(receive, MAX_WEBHOOK, length=named.get(b"content-length", b""))
        elif scope["method"] not in ("GET", "HEAD"):
            body = await read_body(
                receive, MAX_BODY, length=named.get(b"content-length", b""), encoding=named.get(b"content-encoding", b"")
            )
            _check_kind(body, named.get(b"content-type", b""))
        again = _once(body, receive)
        key = named.get(b"idempotency-key")
        try:
            if key and self._replies.concerns(scope["method"], scope["path"]):
                await self._replies.answer(self._inner, scope, again, noting, body=body, key=key, caller=caller)
            else:
                await self._inner(scope, again, noting)
        except Exception:
            if not status:  # a defect is answered and logged where it is caught, and raised all the same
                raise
        if status >= 400:
            self._metrics.answered("api", status)

    def _fault(self, route: str, error: BaseException) -> Answer:
        self._metrics.faults.labels(route).inc()
        fault(self._log, route, error)
        return refusal(TailorbirdError("something went wrong here; it was logged", hint="try again, or report it"))


def _wants_receipts(query: bytes) -> bool:
    asked = parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=100).get("receipts", ["false"])
    if asked not in (["true"], ["false"]):
        raise InvalidInput("receipts is not true or false", hint="write ?receipts=true")
    return asked == ["true"]


def _own_answer(read: forms.Reading, receipts: list[Receipt], rejected: int) -> Answer:
    if not read.single and (not receipts or rejected < len(receipts)):
        return Answer(encode(forms.Receipts(receipts=receipts, rejected=rejected)))
    if rejected:
        raise _rejected(receipts[0], of=0 if read.single else rejected)
    return Answer(encode(receipts[0]))


def _segment_answer(receipts: list[Receipt], rejected: int, single: bool, full: bool) -> Answer:
    if rejected and rejected == len(receipts):
        raise _rejected(receipts[0], of=0 if single else rejected)
    if full:
        return Answer(encode({"success": True, "rejected": rejected, "receipts": receipts}))
    if rejected:
        told = [{"index": i, "mistakes": r.mistakes} for i, r in enumerate(receipts) if r.status == "rejected"]
        return Answer(encode({"success": True, "rejected": rejected, "mistakes": told}))
    return Answer(_SUCCESS)


def _rejected(receipt: Receipt, of: int = 0) -> InvalidEvent:
    head = f"all {of} events were rejected; the first: " if of else ""
    told = tuple(Mistake("invalid_event", text) for text in receipt.mistakes)
    return InvalidEvent(head + "; ".join(receipt.mistakes), mistakes=told)


def _not_allowed(method: bytes) -> Answer:
    found = problem(405, "method_not_allowed", "this path has another method", hint=f"send {method.decode()}")
    return Answer(encode_problem(found), 405, CONTENT_TYPE.encode(), ((b"allow", method),))


def _check_kind(body: bytes, kind: bytes) -> None:
    """Refuse a body that is not what its Content-Type says, or that says nothing of use."""
    if not body:
        return
    name = kind.partition(b";")[0].strip().lower()
    if name == b"application/json" or name.endswith(b"+json"):
        value = decode(_anything, body)
        if b"\\u0000" in body and _has_nul(value):
            raise InvalidInput("the body has a text with a NUL in it", hint="send text without control characters")
    elif name not in (b"application/yaml", b"text/yaml", b"application/x-yaml"):
        raise UnsupportedEncoding("the body's Content-Type is not known here", hint="send application/json")


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(part) for item in value.items() for part in item)
    return isinstance(value, list) and any(_has_nul(item) for item in value)


def _check_address(path: str, query: bytes) -> None:
    """Refuse what no database can be asked for."""
    if "\0" in path or "\ufffd" in path or b"%00" in query:
        raise BadRequest("the address contains a NUL or is not UTF-8", hint="percent-encode UTF-8 text")


def _once(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the body first and then what the connection says."""
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
