"""The transport: one request to a vendor's API, within limits, tried again where that is safe, answered or refused in our words."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urljoin, urlsplit

import msgspec

from tailorbird.connectors.base import retry_after
from tailorbird.connectors.rest.address import Resolve, check_address, check_resolved, resolve
from tailorbird.connectors.rest.auth import Auth
from tailorbird.connectors.rest.breaker import Breaker
from tailorbird.connectors.rest.errors import AuthExpired, RateLimited, RemoteError, Transient, by_status
from tailorbird.connectors.rest.limits import Limiter
from tailorbird.core.context import SECOND, Clock, SystemClock
from tailorbird.core.event import Json
from tailorbird.errors import InvalidInput

# httpx2 is imported where something is sent: most commands open an engine and never do.
if TYPE_CHECKING:
    import httpx2

__all__ = ["Answer", "Retry", "Transport"]

MAX_ANSWER: Final = 8 * 1024 * 1024
"""Bytes of an answer, unpacked, that are read unless told otherwise; a longer one is a failure."""

_HOPS: Final = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What the vendor answered: the status, the headers (names in lower case) and the body, which ``repr`` does not show."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Json:
        """Return the body as JSON; raise ``ValueError`` where it is none."""
        return msgspec.json.decode(self.body)

    def __repr__(self) -> str:
        return f"Answer(status={self.status}, {len(self.body)} bytes)"


_Params = Mapping[str, str] | Sequence[tuple[str, str]] | None


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request as it is sent, however often."""

    method: str
    path: str
    params: _Params
    content: bytes | None
    kind: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Retry:
    """How often to try, and how long to wait in between: ``first`` ms, doubling up to ``most``, give or take a half.

    ``patience``: how many ms one call may spend waiting in all; what would take longer is told to the caller instead.
    """

    tries: int = 3
    first: int = 500
    most: int = 8 * SECOND
    patience: int = 15 * SECOND

    def delay(self, failed: int, chance: float) -> int:
        """Return how long to wait after so many failed tries.

        >>> Retry().delay(1, 0.5), Retry().delay(2, 0.0), Retry().delay(9, 0.5)
        (500, 500, 8000)
        """
        return int(min(self.first * 2 ** (failed - 1), self.most) * (0.5 + chance))


class Transport:
    """Speaks to one API with one credential; used from several threads.

    ``url`` is the base; only its host is called: https unless it is loopback (or ``allow_http``), no address inside a
    network (unless ``allow_private``), among ``hosts`` if given. Redirects are followed for GET within the host only.
    ``headers`` are asked for before each request; they are never shown. ``auth`` gives headers, too, and is asked to renew them
    once after a 401; where it knows an address that came with the token, that one is called. ``refuse`` maps an
    answer to an error, or to None where it is good; by default every status below 300 is. ``observe`` is shown every answer.
    Clock, sleep (seconds) and chance ([0, 1)) are arguments.
    """

    def __init__(
        self, vendor: str, url: str, *,
        headers: Callable[[], Mapping[str, str]] = dict, auth: Auth | None = None,
        hosts: Collection[str] = (), allow_http: bool = False, allow_private: bool = False,
        timeout: float = 15.0, max_answer: int = MAX_ANSWER,
        retry: Retry | None = None, limiter: Limiter | None = None, breaker: Breaker | None = None,
        refuse: Callable[[Answer, RemoteError | None], RemoteError | None] | None = None,
        observe: Callable[[Answer], None] | None = None,
        clock: Clock | None = None, sleep: Callable[[float], None] = time.sleep, chance: Callable[[], float] = random.random,
        look_up: Resolve = resolve, transport: httpx2.BaseTransport | None = None,
    ) -> None:  # fmt: skip
        self.vendor = vendor
        self._checked = partial(check_address, hosts=hosts, allow_http=allow_http, allow_private=allow_private)
        self.host, self._look = self._checked(url)
        self._url = url.rstrip("/")
        self._bases: dict[str, tuple[str, bool]] = {}
        self._headers = headers
        self._auth = auth
        self._timeout = timeout
        self._max_answer = max_answer
        self._retry = retry or Retry()
        self._clock = clock or SystemClock()
        self.limiter = limiter or Limiter(clock=self._clock)
        self.breaker = breaker or Breaker(clock=self._clock)
        self._refuse = refuse
        self._observe = observe
        self._sleep = sleep
        self._chance = chance
        self._look_up = look_up
        self._transport = transport
        self._opened: httpx2.Client | None = None
        self._lock = threading.Lock()
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # at INFO it writes whole addresses, people's e-mail included

    def __repr__(self) -> str:
        return f"Transport({self.vendor!r}, host={self.host!r})"

    def request(
        self, method: str, path: str, *, params: Mapping[str, str] | Sequence[tuple[str, str]] | None = None, json: Json = None,
        form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None, safe: bool | None = None,
    ) -> Answer:  # fmt: skip
        """Send a request and return the answer; raise a ``RemoteError``.

        ``path`` is below the base, or a whole address below it (a link of an earlier answer). ``json`` or ``form`` is the body.
        ``safe``: whether it may be sent again when it may have taken effect the first time; by default for GET only. What
        certainly took no effect (no connection, 429, 503) is always tried again, as long as patience lasts.
        """
        asked = _Asked(method, path, params, *_body(json, form), dict(headers or {}))
        again = method == "GET" if safe is None else safe
        patience = self._retry.patience
        failed = 0
        renewed = False
        while True:
            patience -= self._admit(patience)
            shown: Mapping[str, str] = {}
            try:
                shown = self._auth.headers() if self._auth is not None else shown
                answer = self._judged(self._send(asked, shown))
            except RemoteError as error:
                self._note(error)
                if isinstance(error, AuthExpired) and self._auth is not None and not renewed:
                    renewed = True
                    if self._auth.renew(shown):
                        continue
                failed += 1
                wait = error.retry_after or self._retry.delay(failed, self._chance())
                if not _worth(error, safe=again) or failed >= self._retry.tries or wait > patience:
                    raise
                patience -= wait
                self._sleep(wait / 1000)
                continue
            except BaseException:
                self.breaker.bad()
                raise
            self.breaker.good()
            return answer

    def close(self) -> None:
        """Close the connections that are kept alive."""
        if self._opened is not None:
            self._opened.close()

    def _admit(self, patience: int) -> int:
        """Wait for the breaker and the limiter; return for how many ms, or raise when it would be longer than ``patience``."""
        waited = 0
        while wait := self.limiter.take():
            if waited + wait > patience:
                raise RateLimited(f"{self.vendor}: our limit is reached", retry_after=wait)
            self._sleep(wait / 1000)
            waited += wait
        wait = self.breaker.wait()
        if wait:
            raise Transient(f"{self.vendor} failed too often and is left alone", retry_after=wait)
        return waited

    def _note(self, error: RemoteError) -> None:
        """Note on breaker and limiter what an error tells."""
        if isinstance(error, Transient):
            self.breaker.bad()
        else:  # a refusal is an answer: the other side is alive
            self.breaker.good()
        if isinstance(error, RateLimited) and error.retry_after:
            self.limiter.close(error.retry_after)

    def _judged(self, answer: Answer) -> Answer:
        """Return a good answer, or raise what it stands for."""
        if self._observe is not None:
            self._observe(answer)
        error: RemoteError | None = None
        if answer.status >= 300:
            said = retry_after(answer.headers.get("retry-after"), self._clock.now())
            error = by_status(self.vendor, answer.status, retry_after=said)
        if self._refuse is not None:
            error = self._refuse(answer, error)
        if error is not None:
            raise error
        return answer

    def _send(self, asked: _Asked, shown: Mapping[str, str]) -> Answer:
        import httpx2

        method, params, content = asked.method, asked.params, asked.content
        headers = {"accept": "application/json", **self._headers(), **shown, **asked.headers}
        if asked.kind:
            headers.setdefault("content-type", asked.kind)
        try:
            url = self._address(asked.path)
            for _ in range(_HOPS):
                answer = self._once(method, url, params, content, headers)
                if not 300 <= answer.status < 400 or answer.status == 304:
                    return answer
                url, params = self._next_hop(method, url, answer), None
        except InvalidInput as error:
            raise RemoteError(f"{self.vendor}: {error.message}", hint=error.hint) from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, OSError) as error:
            raise Transient(f"{self.vendor} cannot be reached ({type(error).__name__})") from None
        except httpx2.TimeoutException:
            raise Transient(f"{self.vendor} did not answer within {self._timeout:g} s", sent=True) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, ValueError) as error:
            raise Transient(f"{self.vendor}: the connection broke ({type(error).__name__})", sent=True) from None
        raise RemoteError(f"{self.vendor} redirects in a circle")

    def _address(self, path: str) -> str:
        """Return the whole address of a path; raise ``InvalidInput`` for one that is not below the base or leads inside."""
        told = self._auth.base_url() if self._auth is not None else None
        base, host, look = self._url, self.host, self._look
        if told is not None:
            base = told.rstrip("/")
            if base not in self._bases:
                self._bases = {base: self._checked(base)}
            host, look = self._bases[base]
        if look:
            check_resolved(host, self._look_up)
        if "://" not in path:
            return f"{base}/{path.lstrip('/')}"
        one, other = urlsplit(base), urlsplit(path)
        if (one.scheme, one.netloc) != (other.scheme, other.netloc):
            raise InvalidInput("a link of an answer leads to another host, which is not followed.")
        return path

    def _once(self, method: str, url: str, params: _Params, content: bytes | None, headers: Mapping[str, str]) -> Answer:
        deadline = time.monotonic() + self._timeout
        with self._client().stream(method, url, params=params, content=content, headers=dict(headers)) as response:
            parts, size = [], 0
            for chunk in response.iter_bytes():
                size += len(chunk)
                if size > self._max_answer:
                    raise RemoteError(f"{self.vendor} answered more than {self._max_answer} bytes", sent=True)
                if time.monotonic() > deadline:
                    raise Transient(f"{self.vendor} did not finish answering within {self._timeout:g} s", sent=True)
                parts.append(chunk)
            return Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, b"".join(parts))

    def _next_hop(self, method: str, url: str, answer: Answer) -> str:
        target = urljoin(url, answer.headers.get("location", ""))
        one, other = urlsplit(url), urlsplit(target)
        if method != "GET" or (one.scheme, one.netloc) != (other.scheme, other.netloc):
            raise RemoteError(
                f"{self.vendor} redirects elsewhere ({answer.status}), which is not followed", http_status=answer.status
            )
        return target

    def _client(self) -> Any:
        import httpx2

        with self._lock:
            if self._opened is None:
                self._opened = httpx2.Client(
                    timeout=httpx2.Timeout(self._timeout, connect=min(self._timeout, 5.0)), follow_redirects=False,
                    transport=self._transport, headers={"user-agent": "Tailorbird/1"}, trust_env=False,
                    limits=httpx2.Limits(max_connections=100, max_keepalive_connections=20),
                )  # fmt: skip
            return self._opened


def _body(json: Json, form: Mapping[str, str] | None) -> tuple[bytes | None, str]:
    """Return the body and its type."""
    if form is not None:
        return urlencode(form).encode(), "application/x-www-form-urlencoded"
    return (None, "") if json is None else (msgspec.json.encode(json), "application/json")


def _worth(error: RemoteError, *, safe: bool) -> bool:
    """Return whether trying again may help and does no harm."""
    return isinstance(error, RateLimited) or (isinstance(error, Transient) and (safe or not error.sent))
