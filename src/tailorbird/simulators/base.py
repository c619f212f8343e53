"""What simulators share: requests in and answers out, latency and trouble by seed, limits, and running on a port."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

__all__ = ["Reply", "Request", "Simulator", "person_of", "run"]

MAX_BODY: Final = 4 * 1024 * 1024
CONTROL: Final = "/_simulator/"
LOG: Final = 10_000

_FIRST: Final = ("Ada", "Ben", "Chloé", "Dmitri", "Eva", "Femi", "Grace", "Hugo", "Inés", "Jun", "Kofi", "Léa")
_LAST: Final = ("Abend", "Bauer", "Costa", "Dahl", "Evans", "Fischer", "Garnier", "Horvath", "Ivanova", "Jensen", "Kato", "Lund")
_TITLES: Final = ("CEO", "Head of Marketing", "Sales Director", "Product Manager", "CTO", "Office Manager", "Data Engineer")
_SENIORITY: Final = ("c_suite", "head", "director", "manager", "c_suite", "entry", "senior")
_INDUSTRIES: Final = ("software", "retail", "logistics", "education", "hospitality", "manufacturing")


class Request(NamedTuple):
    """A request as a simulator sees it; header names in lower case.

    ``body`` is the JSON or the form it holds, ``...`` where it is neither. ``pairs`` is the query with what is said twice, ``raw``
    the body as it came.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    pairs: tuple[tuple[str, str], ...] = ()
    raw: bytes = b""


class Reply(NamedTuple):
    """What is answered: a status, a JSON value (or text, sent as such), and further headers."""

    status: int
    body: Any
    headers: Mapping[str, str] = {}


class Simulator:
    """An ASGI application. The same seed and the same questions give the same answers, whatever order they come in.

    ``latency`` in ms, from and to. ``trouble`` is the share of requests that fail with 503, ``silent_429`` makes limits
    answer without ``Retry-After``. Switches (``down``, ``revoked``, ``limited``) may be set while it runs, from Python or over
    HTTP: ``POST /_simulator/{down,up,revoke,restore,limit}``, ``slow?ms=200``; ``GET /_simulator/log`` and ``/people`` show what
    was asked, and who there is. ``log`` holds each request (the newest ``LOG``). Clock (seconds) is an argument.
    """

    def __init__(
        self, *, key: str = "simulated", seed: int = 0, latency: tuple[int, int] = (0, 0), trouble: float = 0.0,
        silent_429: bool = False, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.key = key
        self.seed = seed
        self.latency = latency
        self.trouble = trouble
        self.silent_429 = silent_429
        self.clock = clock
        self.down = False
        self.revoked = False
        self.limited = 0  # how many of the next requests are answered as over the limit
        self.log: list[Request] = []
        self.delays: list[float] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        request = await _read(scope, receive)
        if request.path.startswith(CONTROL):
            await _answer(send, self._control(request))
            return
        if len(self.log) >= 2 * LOG:  # a day-long run must not fill the memory
            del self.log[:LOG], self.delays[:LOG]
        self.log.append(request)
        delay = random.Random(f"{self.seed} latency {len(self.log)}").uniform(*self.latency) / 1000
        self.delays.append(delay)
        if delay:
            await asyncio.sleep(delay)
        await _answer(send, self._reply(request))

    def _reply(self, request: Request) -> Reply:
        if self.down:
            return Reply(503, {"error": "Service Unavailable"})
        if self.trouble and random.Random(f"{self.seed} trouble {len(self.log)}").random() < self.trouble:
            return Reply(503, {"error": "Service Unavailable"})
        if self.limited > 0:
            self.limited -= 1
            return self.over_limit(request)
        return self.reply(request)

    def _control(self, request: Request) -> Reply:
        """Set a switch, or show what there is to see; keys and tokens are not shown."""
        what = request.path.removeprefix(CONTROL)
        if request.method == "GET" and what == "log":
            return Reply(200, [{"method": one.method, "path": one.path, "body": _shown(one)} for one in self.log])
        if request.method == "GET" and what == "people":
            return Reply(200, self.people_seen(_whole(request.query.get("limit"), 100)))
        if request.method != "POST" or what not in ("down", "up", "revoke", "restore", "limit", "slow"):
            return Reply(404, {"error": "not found"})
        if what in ("down", "up"):
            self.down = what == "down"
        elif what in ("revoke", "restore"):
            self.revoked = what == "revoke"
        elif what == "limit":
            self.limited = _whole(request.query.get("requests"), 5)
        else:
            self.latency = (_whole(request.query.get("ms"), 1_000),) * 2
        return Reply(200, {"down": self.down, "revoked": self.revoked, "limited": self.limited, "latency": list(self.latency)})

    def people_seen(self, limit: int) -> list[Any]:
        """Return the first people there are, for who looks on; a simulator of a CRM says whom it has."""
        return []

    def over_limit(self, request: Request) -> Reply:
        """Answer as over the limit; a simulator whose vendor says it in other words says them."""
        return Reply(429, {"error": "Too Many Requests"}, {} if self.silent_429 else {"retry-after": "1"})

    def reply(self, request: Request) -> Reply:
        """Answer a request; implemented by each vendor's simulator."""
        raise NotImplementedError

    def chance(self, *what: object) -> random.Random:
        """Return chance that is the same for the same seed and the same things."""
        return random.Random(f"{self.seed} " + " ".join(str(part) for part in what))


def person_of(chance: random.Random, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return somebody who does not exist and fits what was asked: names, work and where."""
    email = str(asked.get("email") or "")
    local, _, domain = email.partition("@")
    first, _, last = local.partition(".")
    place = chance.randrange(len(_TITLES))
    name = str(asked.get("name") or asked.get("full_name") or "").split()
    company = str(asked.get("organization_name") or asked.get("company") or domain.split(".")[0].title() or "Acme")
    return {
        "first": str(asked.get("first_name") or (name[0] if name else "") or first.title() or chance.choice(_FIRST)),
        "last": str(asked.get("last_name") or (name[-1] if len(name) > 1 else "") or last.title() or chance.choice(_LAST)),
        "title": _TITLES[place],
        "seniority": _SENIORITY[place],
        "company": company,
        "domain": str(asked.get("domain") or asked.get("website") or domain or f"{company.lower()}.example"),
        "industry": chance.choice(_INDUSTRIES),
        "size": chance.randrange(3, 5000),
        "phone": f"+1415555{chance.randrange(10000):04d}",
    }


async def _read(scope: Any, receive: Any) -> Request:
    raw = b""
    while True:
        message = await receive()
        raw += message.get("body", b"")
        if not message.get("more_body") or len(raw) > MAX_BODY:
            break
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
    body: Any
    try:
        if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            body = dict(parse_qsl(raw.decode(), keep_blank_values=True))
        else:
            body = json.loads(raw) if raw else None
    except ValueError:
        body = ...  # what is neither is told from what is nothing
    pairs = tuple(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
    return Request(scope["method"], scope["path"], dict(pairs), headers, body, pairs, raw)


def _shown(request: Request) -> Any:
    """Return the body of a request where it is JSON; forms hold keys and tokens."""
    return (
        request.body
        if request.headers.get("content-type", "").startswith("application/json") and request.body is not ...
        else None
    )


def _whole(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 7 else otherwise


async def _answer(send: Any, reply: Reply) -> None:
    text = isinstance(reply.body, str)
    raw = b"" if reply.status == 204 else reply.body.encode() if text else json.dumps(reply.body).encode()
    kind = "text/plain; charset=utf-8" if text else "application/json; charset=utf-8"
    headers = {"content-type": kind, "content-length": str(len(raw)), **reply.headers}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
    await send({"type": "http.response.body", "body": raw})


def run(app: Simulator, *, host: str = "127.0.0.1", port: int = 0, ready: Callable[[int], None] | None = None) -> None:
    """Serve a simulator until a signal comes; ``ready`` is told the port."""
    import uvicorn

    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
        if ready is not None:
            listener.listen(128)
            ready(listener.getsockname()[1])
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        listener.close()
