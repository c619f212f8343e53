"""One organisation over REST: questions page by page, what its objects have, and many rows in one call.

Source: REST API Developer Guide, "Query", "sObject Describe", "sObject Collections".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tailorbird.connectors.rest import Answer, Auth, Limiter, RemoteError, Retry, Transport
from tailorbird.connectors.salesforce.answers import VENDOR, quota, refuse
from tailorbird.connectors.salesforce.objects import OBJECTS, Shown, read_field
from tailorbird.core.context import MINUTE, Clock
from tailorbird.core.event import Json

__all__ = ["HOSTS", "TOGETHER", "Org"]

TOGETHER: Final = 200
"""How many rows go into one call of the collections."""

HOSTS: Final = (".salesforce.com", ".salesforce.mil", ".cloudforce.com")
LONGEST: Final = 14_000
"""Characters of a question: it travels in an address, and Salesforce takes some 16,000 of that."""

_KNOWN_FOR: Final = 10 * MINUTE
"""How long what an object has is taken as known."""


class Org:
    """Speaks to an organisation of Salesforce with one session; used from several threads."""

    def __init__(
        self, url: str, *, auth: Auth, version: str, clock: Clock, daily: int | None = None, timeout: float = 30.0,
        retry: Retry | None = None, sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._clock = clock
        self._root = f"services/data/{version}"
        self._limiter = Limiter({"day": daily} if daily else {}, clock=clock)
        self._http = Transport(
            VENDOR, url, auth=auth, hosts=HOSTS, timeout=timeout, max_answer=32 * 1024 * 1024, retry=retry,
            limiter=self._limiter, refuse=refuse, observe=self._observe, clock=clock, sleep=sleep,
        )  # fmt: skip
        self._described: dict[str, tuple[int, dict[str, Shown]]] = {}

    @property
    def host(self) -> str:
        """Return the host that is called."""
        return self._http.host

    def ask(self, question: str, *, everything: bool = False) -> list[dict[str, Any]]:
        """Return all rows of a question, following ``nextRecordsUrl`` as it is given; ``everything``: deleted ones, too."""
        if len(question) > LONGEST:
            raise RemoteError(
                f"{VENDOR}: the question is too long for an address.", hint="Name the fields to be read in the setting `fields`."
            )
        path, params = f"{self._root}/{'queryAll' if everything else 'query'}", {"q": question}
        rows: list[dict[str, Any]] = []
        while True:
            body = self._read(self._http.request("GET", path, params=params))
            rows += _rows(body, "records")
            if body.get("done", True):
                return rows
            following = body.get("nextRecordsUrl")
            if not isinstance(following, str):
                raise _undocumented()
            path, params = following, {}

    def search(self, question: str) -> list[dict[str, Any]]:
        """Return the rows that a SOSL search finds."""
        return _rows(self._read(self._get("search/", {"q": question})), "searchRecords")

    def shown(self, object: str) -> Mapping[str, Shown]:
        """Return the fields of an object that this session may see, by name; asked again after some minutes."""
        now = self._clock.now()
        known = self._described.get(object)
        if known is None or now - known[0] > _KNOWN_FOR:
            told = self._read(self._get(f"sobjects/{OBJECTS.get(object, object)}/describe"))
            fields = [field for field in map(read_field, told["fields"]) if field is not None]
            known = self._described[object] = (now, {found.field.name: found for found in fields})
        return known[1]

    def user(self) -> str | None:
        """Return the name of the user of the session; None where the session may not ask."""
        try:
            told = self._read(self._http.request("GET", "services/oauth2/userinfo"))
        except RemoteError as error:
            if error.http_status in (403, 404):
                return None
            raise
        name = told.get("preferred_username") or told.get("user_id")
        return str(name) if name else None

    def create(self, kind: str, values: Mapping[str, Json]) -> str:
        """Make a record and return its id."""
        answer = self._http.request("POST", f"{self._root}/sobjects/{kind}", json=dict(values))
        made = self._read(answer).get("id")
        if not isinstance(made, str) or not made:
            raise _undocumented()
        return made

    def change(self, kind: str, id: str, values: Mapping[str, Json]) -> None:
        """Change the fields given of a record. That may be sent twice: the second time changes nothing."""
        self._http.request("PATCH", f"{self._root}/sobjects/{kind}/{id}", json=dict(values), safe=True)

    def create_many(self, rows: Sequence[tuple[str, Mapping[str, Json]]]) -> list[dict[str, Any]]:
        """Make records of (kind, values); return a result per row, in order."""
        return self._many("POST", "composite/sobjects", rows, safe=False)

    def change_many(self, rows: Sequence[tuple[str, Mapping[str, Json]]]) -> list[dict[str, Any]]:
        """Change records of (kind, values with ``Id``); return a result per row, in order."""
        return self._many("PATCH", "composite/sobjects", [(kind, _named(values)) for kind, values in rows], safe=True)

    def upsert_many(self, kind: str, field: str, rows: Sequence[Mapping[str, Json]]) -> list[dict[str, Any]]:
        """Make or change records by an external id, which stands among the values; return a result per row, in order."""
        path = f"composite/sobjects/{kind}/{field}"
        return self._many("PATCH", path, [(kind, values) for values in rows], safe=True)

    def delete_many(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Delete records; return a result per id, in order."""
        results: list[dict[str, Any]] = []
        for start in range(0, len(ids), TOGETHER):
            params = {"ids": ",".join(ids[start : start + TOGETHER]), "allOrNone": "false"}
            answer = self._http.request("DELETE", f"{self._root}/composite/sobjects", params=params, safe=True)
            results += self._read(answer, list)
        return results

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._http.close()

    def _many(
        self, method: str, path: str, rows: Sequence[tuple[str, Mapping[str, Json]]], *, safe: bool
    ) -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = []
        for start in range(0, len(rows), TOGETHER):
            part = rows[start : start + TOGETHER]
            body: Json = {
                "allOrNone": False,
                "records": [{"attributes": {"type": kind}, **values} for kind, values in part],
            }
            told = self._read(self._http.request(method, f"{self._root}/{path}", json=body, safe=safe), list)
            if len(told) != len(part):  # by their place alone results are known
                raise RemoteError(f"{VENDOR} answered {len(told)} results for {len(part)} rows", sent=True)
            results += told
        return results

    def _get(self, path: str, params: Mapping[str, str] | None = None) -> Answer:
        return self._http.request("GET", f"{self._root}/{path}", params=params)

    def _read(self, answer: Answer, kind: type = dict) -> Any:
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, kind):
            raise _undocumented()
        return body

    def _observe(self, answer: Answer) -> None:
        told = quota(answer)
        if told is not None:
            self._limiter.observe("day", limit=told[0], left=told[1])


def _named(values: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return values with the id under the name that the collections know it by."""
    return {"id" if name == "Id" else name: value for name, value in values.items()}


def _rows(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the rows of an answer; raise ``RemoteError`` for one that has none."""
    found = body.get(name)
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise _undocumented()
    return found


def _undocumented() -> RemoteError:
    return RemoteError(f"{VENDOR} answered something else than JSON as it is documented", sent=True)
