"""A language model behind an OpenAI-compatible endpoint: chat completions with a JSON schema, within time and budget.

Sources: https://platform.openai.com/docs/api-reference/chat/create (request, ``response_format``, ``refusal``,
``finish_reason``); https://learn.microsoft.com/azure/ai-foundry (``api-version`` in the query, ``api-key`` header,
400 with the code ``content_filter``).
"""

from __future__ import annotations

import ipaddress
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from tailorbird.connectors.base import retry_after
from tailorbird.connectors.redaction import Redaction, StrangePlaceholder
from tailorbird.core.context import DAY, Clock, SystemClock
from tailorbird.errors import InvalidInput
from tailorbird.ports import NoAnswer

# httpx2 is imported where something is asked: most commands open an engine and never do.
if TYPE_CHECKING:
    import httpx2

__all__ = ["Budget", "Endpoint", "OpenAIModel", "Spent", "read_endpoint"]

Shape = TypeVar("Shape", bound=msgspec.Struct)
Form = Literal["json_schema", "json_object"]

MAX_RESPONSE: Final = 512 * 1024
"""Bytes of a response that are read; a longer one is no answer."""
MAX_TEXT: Final = 60_000
"""Characters of a text that is sent; a longer one is refused."""
_RETRIED: Final = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
_LETTERS_PER_TOKEN: Final = 3
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
_OWN: Final = frozenset({"model", "auth", "timeout", "retries", "calls", "tokens", "answer", "format"})


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a model is and how much of it may be used.

    ``url`` is the whole address of its chat completions; ``timeout`` (seconds) bounds an exchange with all its tries;
    ``calls`` and ``tokens`` are per day (UTC) and process; ``answer`` is how many tokens an answer may have.
    ``auth`` is the header that the key travels in: ``bearer`` (Authorization) or ``api-key`` (Azure).
    """

    url: str
    key: str = field(default="", repr=False)
    model: str = ""
    auth: Literal["bearer", "api-key"] = "bearer"
    timeout: float = 20.0
    retries: int = 2
    calls: int = 1_000
    tokens: int = 1_000_000
    answer: int = 1_500
    format: Form = "json_schema"


@dataclass(frozen=True)
class Spent:
    """What was used on a day (UTC, days since 1970)."""

    day: int
    calls: int
    tokens: int


class Budget:
    """Counts calls and tokens per day (UTC), for one process; tokens are reserved before a call and settled after."""

    def __init__(self, calls: int, tokens: int) -> None:
        self._calls = calls
        self._tokens = tokens
        self._spent = Spent(0, 0, 0)
        self._lock = threading.Lock()

    def reserve(self, tokens: int, now: int) -> bool:
        """Take a call with its tokens at an instant (ms); False when the day's budget does not allow it."""
        with self._lock:
            spent = self._today(now)
            if spent.calls + 1 > self._calls or spent.tokens + tokens > self._tokens:
                return False
            self._spent = replace(spent, calls=spent.calls + 1, tokens=spent.tokens + tokens)
            return True

    def settle(self, reserved: int, used: int, now: int) -> None:
        """Replace what was reserved by what was used."""
        with self._lock:
            spent = self._today(now)
            self._spent = replace(spent, tokens=max(0, spent.tokens - reserved + used))

    def spent(self, now: int) -> Spent:
        """Return what was used on the day of an instant."""
        with self._lock:
            return self._today(now)

    def _today(self, now: int) -> Spent:
        return self._spent if self._spent.day == now // DAY else Spent(now // DAY, 0, 0)


def read_endpoint(setting: str, key: str) -> Endpoint:
    """Return the endpoint that a setting names: the base address, with our own options in its query.

    ``model`` (OpenAI and those like it need it), ``auth`` (``bearer`` or ``api-key``, the default at ``….azure.com``),
    ``timeout`` in seconds, ``retries``, ``calls`` and ``tokens`` a day, ``answer`` in tokens, ``format``
    (``json_schema``; ``json_object`` for servers that know no schemas). Anything else in the query, such as
    ``api-version``, is sent along. Raises ``InvalidInput``; the message never holds the key.

    >>> read_endpoint("https://x.openai.azure.com/openai/deployments/mini?api-version=2024-10-21&calls=50", "k")
    ... # doctest: +NORMALIZE_WHITESPACE
    Endpoint(url='https://x.openai.azure.com/openai/deployments/mini/chat/completions?api-version=2024-10-21', model='',
             auth='api-key', timeout=20.0, retries=2, calls=50, tokens=1000000, answer=1500, format='json_schema')
    """
    try:
        parts = urlsplit(setting.strip())
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if not host or parts.scheme not in ("http", "https") or parts.username or parts.fragment:
        raise _wrong("is not an address such as https://api.openai.com/v1?model=…")
    if parts.scheme == "http" and not _is_loopback(host):
        raise _wrong("is plain http, which is for loopback only; use https")
    query = parse_qsl(parts.query, keep_blank_values=True)
    own = {name: value for name, value in query if name in _OWN}
    path = parts.path.rstrip("/")
    path = path if path.endswith("/chat/completions") else f"{path}/chat/completions"
    rest = urlencode([(name, value) for name, value in query if name not in _OWN])
    url = urlunsplit((parts.scheme, parts.netloc, path, rest, ""))
    auth = own.get("auth") or ("api-key" if host.endswith(".azure.com") else "bearer")
    form = own.get("format", "json_schema")
    if auth not in ("bearer", "api-key") or form not in ("json_schema", "json_object"):
        raise _wrong("says auth or format in a way that is not known; see docs/reference/settings.md")
    base = Endpoint(url=url)
    return Endpoint(
        url=url, key=key.strip(), model=own.get("model", ""), auth=auth, format=form,  # type: ignore[arg-type]  # checked above
        timeout=_positive(own, "timeout", base.timeout, 600), retries=int(_positive(own, "retries", base.retries, 10, least=0)),
        calls=int(_positive(own, "calls", base.calls, 10**9, least=0)),
        tokens=int(_positive(own, "tokens", base.tokens, 10**12, least=0)),
        answer=int(_positive(own, "answer", base.answer, 100_000)),
    )  # fmt: skip


def _positive(own: Mapping[str, str], name: str, default: float, most: float, least: float = 0.001) -> float:
    try:
        value = float(own.get(name, default))
    except ValueError:
        value = -1.0
    if not least <= value <= most:
        raise _wrong(f"says {name} as no number from {least:g} to {most:g}")
    return value


def _wrong(what: str) -> InvalidInput:
    return InvalidInput(f"The address of the language model (TAILORBIRD_LLM_URL) {what}.", hint="Correct it or unset it.")


class OpenAIModel:
    """Asks one endpoint, and only that host: redirects are not followed, proxies of the environment not used.

    E-mail addresses, phone numbers, links and what is given as ``hidden`` are replaced by placeholders before anything is
    sent. The answer has to be JSON of the shape asked for. Busy servers, broken connections and answers that are not of the
    shape are tried again, ``retries`` times at most and within ``timeout``. ``wait`` sleeps (seconds). Neither the key nor
    any text is logged or put into an error.
    """

    def __init__(
        self, endpoint: Endpoint, *, clock: Clock | None = None, wait: Callable[[float], None] = time.sleep,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:  # fmt: skip
        self.endpoint = endpoint
        self.budget = Budget(endpoint.calls, endpoint.tokens)
        self._clock = clock or SystemClock()
        self._wait = wait
        self._transport = transport
        self._opened: httpx2.Client | None = None
        self._lock = threading.Lock()
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # at INFO it writes whole addresses

    def ask(self, task: str, text: str, shape: type[Shape], *, hidden: Mapping[str, str] | None = None) -> Shape:
        """Return the model's answer to a task about a text, in a shape; raises ``NoAnswer``."""
        if len(text) > MAX_TEXT:
            raise NoAnswer("too_large", f"the text has {len(text)} characters; at most {MAX_TEXT} are sent")
        redaction = Redaction(hidden)
        body = self._body(task, redaction.hide(text), shape)
        deadline = time.monotonic() + self.endpoint.timeout
        for attempt in range(self.endpoint.retries + 1):
            try:
                return self._understood(self._exchange(body, deadline), shape, redaction)
            except _Again as problem:
                pause = 0.5 * 2**attempt if problem.after is None else problem.after / 1000
                if attempt == self.endpoint.retries or time.monotonic() + pause >= deadline:
                    raise problem.cause from None
                self._wait(pause)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _body(self, task: str, text: str, shape: type[msgspec.Struct]) -> bytes:
        schema = _schema(shape)
        rules = "What stands in square brackets, such as [PERSON_1], is a placeholder: copy it exactly, and invent none."
        said = f"{task}\n\n{rules}"
        form: dict[str, Any] = {"type": "json_object"}
        if self.endpoint.format == "json_schema":
            form = {"type": "json_schema", "json_schema": {"name": shape.__name__.lower(), "strict": True, "schema": schema}}
        else:
            said += "\n\nAnswer with one JSON object of this schema: " + msgspec.json.encode(schema).decode()
        body: dict[str, Any] = {
            "messages": [{"role": "system", "content": said}, {"role": "user", "content": text}],
            "response_format": form,
            "max_tokens": self.endpoint.answer,
            "temperature": 0,
        }
        if self.endpoint.model:
            body["model"] = self.endpoint.model
        return msgspec.json.encode(body)

    def _exchange(self, body: bytes, deadline: float) -> dict[str, Any]:
        """Post once within the budget; return the decoded response."""
        import httpx2

        now = self._clock.now()
        reserved = len(body) // _LETTERS_PER_TOKEN + self.endpoint.answer
        if not self.budget.reserve(reserved, now):
            raise NoAnswer("budget", "the day's budget for the language model is used up")
        left = max(0.05, deadline - time.monotonic())
        used = 0
        try:
            status, after, content = self._post(body, left, deadline)
            found = _decoded(content)
            used = _used(found, reserved) if 200 <= status < 300 else 0
        except httpx2.TimeoutException:
            used = reserved  # it may have been worked on
            raise _Again(NoAnswer("timeout", f"the language model did not answer within {self.endpoint.timeout:g} s")) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise _Again(NoAnswer("unreachable", f"the language model cannot be reached ({type(error).__name__})")) from None
        finally:
            self.budget.settle(reserved, used, now)
        if 200 <= status < 300:
            return found
        raise _failure(status, found, retry_after(after, now))

    def _post(self, body: bytes, left: float, deadline: float) -> tuple[int, str | None, bytes]:
        import httpx2

        timeout = httpx2.Timeout(left, connect=min(left, 5.0))
        pieces: list[bytes] = []
        size = 0
        with self._client().stream("POST", self.endpoint.url, content=body, timeout=timeout) as response:
            for chunk in response.iter_bytes():
                size += len(chunk)
                if size > MAX_RESPONSE:
                    raise NoAnswer("too_large", f"the language model's answer has more than {MAX_RESPONSE} bytes")
                if time.monotonic() > deadline:
                    raise httpx2.ReadTimeout("the answer drips")
                pieces.append(chunk)
            return response.status_code, response.headers.get("retry-after"), b"".join(pieces)

    def _understood(self, found: Mapping[str, Any], shape: type[Shape], redaction: Redaction) -> Shape:
        try:
            choice = found["choices"][0]
            message = choice["message"]
            ended, refusal, content = choice.get("finish_reason"), message.get("refusal"), message.get("content")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise _Again(NoAnswer("invalid", "the language model's response is not a chat completion")) from None
        if ended == "content_filter" or refusal:
            raise NoAnswer("filtered", "the language model declined to answer")
        if ended == "length":
            raise NoAnswer("cut_off", f"the answer was cut off at {self.endpoint.answer} tokens")
        try:
            answer = msgspec.json.decode(content if isinstance(content, str) else "")
            return msgspec.convert(redaction.reveal_all(answer), shape, strict=True)
        except (msgspec.DecodeError, msgspec.ValidationError, StrangePlaceholder, RecursionError):
            raise _Again(NoAnswer("invalid", "the language model's answer does not have the form that was asked for")) from None

    def _client(self) -> httpx2.Client:
        import httpx2

        with self._lock:
            if self._opened is None:
                headers = {"content-type": "application/json", "accept": "application/json", "user-agent": "Tailorbird/1"}
                if self.endpoint.key and self.endpoint.auth == "bearer":
                    headers["authorization"] = f"Bearer {self.endpoint.key}"
                elif self.endpoint.key:
                    headers["api-key"] = self.endpoint.key
                self._opened = httpx2.Client(
                    follow_redirects=False, trust_env=False, transport=self._transport, headers=headers,
                    limits=httpx2.Limits(max_connections=20, max_keepalive_connections=5),
                )  # fmt: skip
            return self._opened


class _Again(Exception):
    """Trying again may help; ``after`` (ms) is when, if the server said so."""

    def __init__(self, cause: NoAnswer, after: int | None = None) -> None:
        super().__init__(cause.why)
        self.cause = cause
        self.after = after


def _failure(status: int, found: Mapping[str, Any], after: int | None) -> Exception:
    """Return what a status other than 2xx means; the server's own text is not repeated, it may quote key or prompt."""
    error = found.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    code = code if isinstance(code, str) and _CODE.match(code) else ""
    if code in ("content_filter", "content_policy_violation"):
        return NoAnswer("filtered", "the language model's filter declined the text")
    if code == "insufficient_quota":
        return NoAnswer("budget", "the provider's quota for the language model is used up")
    if status in (401, 403):
        return NoAnswer("unauthorized", f"the language model refused the key ({status})")
    said = f"the language model answered {status}" + (f" ({code})" if code else "")
    if status in _RETRIED:
        return _Again(NoAnswer("busy", said), after)
    return NoAnswer("rejected", said)


def _decoded(content: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _used(found: Mapping[str, Any], reserved: int) -> int:
    usage = found.get("usage")
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if isinstance(total, int) and not isinstance(total, bool) and 0 <= total < 10**9 else reserved


def _schema(shape: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON schema of a struct as the strict mode wants it: an object at the root, nothing additional, all required."""
    _, components = msgspec.json.schema_components([shape], ref_template="#/$defs/{name}")
    root = {k: v for k, v in components.pop(shape.__name__).items() if k != "title"}
    root["additionalProperties"] = False
    return {**root, "$defs": components} if components else root


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
