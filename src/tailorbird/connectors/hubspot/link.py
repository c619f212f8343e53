"""The way to HubSpot: one transport with its limits, searches no faster than they are allowed, and what its properties are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tailorbird.connectors.hubspot.answers import body_of, path_of, refuse
from tailorbird.connectors.hubspot.words import READ
from tailorbird.connectors.rest import Answer, Auth, Forbidden, Limiter, RateLimited, RemoteNotFound, Retry, Transport
from tailorbird.core.context import SECOND, Clock
from tailorbird.core.event import Json

__all__ = ["HOSTS", "Link"]

HOSTS: Final = ("api.hubapi.com",)

_PATIENCE: Final = 15 * SECOND


class Link:
    """Asks HubSpot. ``requests`` are allowed in ten seconds until an answer says less, ``searches`` in a second.

    Searches have a limit of their own, which no header tells of.
    """

    def __init__(
        self, url: str, *, auth: Auth, clock: Clock, requests: int, searches: int, properties: Sequence[str] = (),
        retry: Retry | None = None, sleep: Callable[[float], None] = time.sleep, timeout: float = 15.0,
    ) -> None:  # fmt: skip
        self.limiter = Limiter({"ten_seconds": requests}, clock=clock)
        self._searches = Limiter({"second": searches}, clock=clock)
        self._patience = (retry or Retry()).patience
        self._sleep = sleep
        self._http = Transport(
            "HubSpot", url, auth=auth, hosts=HOSTS, retry=retry, limiter=self.limiter, refuse=refuse, observe=self._observe,
            clock=clock, sleep=sleep, timeout=timeout,
        )  # fmt: skip
        self._wanted = tuple(properties)
        self._told: dict[str, dict[str, Any]] | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return repr(self._http)

    def send(
        self, method: str, path: str, *, json: Json = None, params: Mapping[str, str] | None = None, safe: bool = False
    ) -> dict[str, Any]:
        """Send a request and return the object that is answered; empty where there is no content."""
        answer = self._http.request(method, path, json=json, params=params, safe=safe or method == "GET")
        return {} if answer.status == 204 or not answer.body else body_of(answer)

    def search(self, kind: str, body: Json) -> dict[str, Any]:
        """Search objects of a kind, waiting until a search is allowed."""
        patience = self._patience
        while wait := self._searches.take():
            if wait > patience:
                raise RateLimited("HubSpot: our limit of searches is reached", retry_after=wait)
            patience -= wait
            self._sleep(wait / 1000)
        return self.send("POST", path_of(kind, "search"), json=body, safe=True)

    def described(self, *, again: bool = False) -> dict[str, dict[str, Any]]:
        """Return the properties of contacts by name, as HubSpot describes them; asked for once."""
        with self._lock:
            if self._told is None or again:
                told = self.send("GET", "crm/v3/properties/contacts").get("results") or ()
                self._told = {one["name"]: one for one in told}
            return self._told

    def read(self) -> list[str]:
        """Return the properties to read of a contact: the usual, those asked for, and all that the account made itself."""
        try:
            described = self.described()
        except (Forbidden, RemoteNotFound):  # without the scope for schemas the usual ones are read
            return list(dict.fromkeys([*READ, *self._wanted]))
        own = [name for name, told in described.items() if not told.get("hubspotDefined") and not told.get("hidden")]
        return [name for name in dict.fromkeys([*READ, *self._wanted, *own]) if name in described or name in READ]

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._http.close()

    def _observe(self, answer: Answer) -> None:
        told = answer.headers
        if told.get("x-hubspot-ratelimit-interval-milliseconds") == "10000":
            most, left = _number(told.get("x-hubspot-ratelimit-max")), _number(told.get("x-hubspot-ratelimit-remaining"))
            self.limiter.observe("ten_seconds", limit=most, left=left)
        most, left = _number(told.get("x-hubspot-ratelimit-daily")), _number(told.get("x-hubspot-ratelimit-daily-remaining"))
        if most is not None:
            self.limiter.observe("day", limit=most, left=left)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdecimal() and len(text) < 12 else None
