"""The connector to Dropcontact: up to 250 people in a batch, asked for until it is ready; restarts lose no batch.

Source: https://developer.dropcontact.com (quickstart, rate limits, errors).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from tailorbird.connectors.dropcontact.answers import ROW, read_record, row_of
from tailorbird.connectors.enrichment import Asking, Ledger, definition_of, settled, waiting
from tailorbird.connectors.rest import Answer, AuthExpired, Limiter, RemoteError, Retry, Transport
from tailorbird.core.action import Action, Outcome
from tailorbird.core.context import SECOND, Clock
from tailorbird.core.event import Json
from tailorbird.enrichment.answers import Found

if TYPE_CHECKING:
    import httpx2

__all__ = ["BATCH", "DropcontactConnector"]

BATCH: Final = 250
"""How many people one batch may hold."""

HOSTS: Final = ("api.dropcontact.com", "api.dropcontact.io")
LIMITS: Final = {"second": 1}
"""Requests; far below what the vendor allows (60 a second), and more than batches and polling need."""

_KEPT: Final = 50  # answers that are held for the rest of a batch, which may be delivered in parts
_NAMES: Final = {
    "email": "email", "first_name": "first_name", "last_name": "last_name", "name": "full_name", "phone": "phone",
    "company": "company", "domain": "website", "linkedin_url": "linkedin", "country": "country",
}  # fmt: skip


class DropcontactConnector(Asking):
    """Asks Dropcontact about people. ``key`` goes into the header ``X-Access-Token`` and is never shown.

    ``poll`` in ms is the pause between two looks at a batch, ``polls`` how many looks there are; at the last one what is
    there so far is taken. The batch's id is in the action's payload, so that polling goes on after a restart.
    ``callback_url`` is told to the vendor if given; its call has no signature, so polling alone is believed.
    """

    name = "dropcontact"
    together = BATCH

    def __init__(
        self, *, key: str = "", url: str = "https://api.dropcontact.com", path: str = "v1/enrich/all",
        poll: int = 30 * SECOND, polls: int = 20, language: str = "en", callback_url: str = "",
        ledger: Ledger | None = None, timeout: float = 20.0, retry: Retry | None = None, clock: Clock | None = None,
        allow_private: bool = False, transport: httpx2.BaseTransport | None = None,
    ) -> None:  # fmt: skip
        super().__init__(key=key, key_name="TAILORBIRD_DROPCONTACT_KEY", ledger=ledger, clock=clock)
        self._path = path.strip("/")
        self._poll = poll
        self._polls = polls
        self._language = language
        self._callback_url = callback_url
        self._limiter = Limiter(LIMITS, clock=self.clock)
        self._seen: OrderedDict[str, tuple[int, list[Json] | None]] = OrderedDict()
        self._http = Transport(
            "Dropcontact", url, headers=lambda: {"x-access-token": key}, hosts=() if allow_private else HOSTS,
            allow_private=allow_private, timeout=timeout, retry=retry or Retry(), limiter=self._limiter, refuse=_refuse,
            clock=self.clock, transport=transport,
        )  # fmt: skip

    def destination(self, action: Action) -> str:
        """Return the host, and the batch where there is one: looking at batches must not hold up new ones."""
        batch = action.payload.get("request_id")
        return f"{self._http.host} {definition_of(action)} {batch or ''}".rstrip()

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._http.close()

    def _at_once(self, action: Action) -> int:
        return 4  # few: what waits meanwhile goes together into the next batch

    def ask(self, actions: Sequence[Action]) -> list[Outcome]:
        """Send a batch, or look whether one is ready; all actions of a call are of one batch, or of none."""
        if actions[0].payload.get("limits"):
            self._limiter.configure(actions[0].payload["limits"])
        if actions[0].payload.get("request_id"):
            return self._look(actions, str(actions[0].payload["request_id"]))
        granted, outcomes = self.reserve(actions)
        if granted:
            outcomes |= self._send(granted)
        return [outcomes[action.key] for action in actions]

    def _send(self, actions: Sequence[Action]) -> dict[str, Outcome]:
        firsts: dict[str, Action] = {}
        for action in actions:
            firsts.setdefault(str(action.payload.get("question_digest")), action)
        rows = list(firsts.values())
        twins = [action.key for action in actions if action not in rows]
        body: dict[str, Json] = {"data": [_record(action) for action in rows], "siren": False, "language": self._language}
        if self._callback_url:
            body["custom_callback_url"] = self._callback_url
        try:
            answer = self._http.request("POST", self._path, json=body)
        except RemoteError as error:
            return dict(zip([action.key for action in actions], self.failed(actions, error), strict=True))
        said = _object(answer)
        batch = said.get("request_id")
        if not isinstance(batch, str) or not batch.isascii() or not batch.isalnum():
            self.ledger.release(self.name, [action.key for action in actions])
            reason = "Dropcontact did not accept the batch"
            refused = Found(what="failed", raw=said, reason=reason)
            return {action.key: settled(action, refused, self.clock.now()) for action in actions}
        self.ledger.release(self.name, twins)
        places = {action.key: place for place, action in enumerate(rows)}
        state: dict[str, dict[str, Json]] = {}
        for action in actions:
            first = firsts[str(action.payload.get("question_digest"))].key
            state[action.key] = {
                "request_id": batch, "row": first, "place": places[first], "of": len(rows), "polls": 0, "twin": first != action.key
            }  # fmt: skip
        return {a.key: Outcome(ok=False, again=self._poll, payload={**a.payload, **state[a.key]}) for a in actions}

    def _look(self, actions: Sequence[Action], batch: str) -> list[Outcome]:
        """Look at a batch, at most once in ``poll`` ms whatever number of actions wait for it."""
        now = self.clock.now()
        with self._lock:
            at, records = self._seen.get(batch, (0, None))
        if records is None and at and now - at < self._poll:
            return [waiting(action, self._poll - (now - at), now, "the batch is not ready") for action in actions]
        polls = max(int(action.payload.get("polls") or 0) for action in actions) + 1
        if records is None:
            records = self._fetch(batch, last=polls >= self._polls)
            with self._lock:
                self._seen[batch] = (now, records)
                while len(self._seen) > _KEPT:
                    self._seen.popitem(last=False)
        if records is None:
            return [self._not_ready(action, polls, now) for action in actions]
        by_row = {row: record for record in records if (row := row_of(record)) is not None}
        return [self._answered(action, by_row, records, now) for action in actions]

    def _fetch(self, batch: str, *, last: bool) -> list[Json] | None:
        params = {"forceResults": "true"} if last else None
        said = _object(self._http.request("GET", f"{self._path}/{batch}", params=params))
        records = said.get("data")
        if said.get("success") is True and isinstance(records, list):
            return records
        return None

    def _not_ready(self, action: Action, polls: int, now: int) -> Outcome:
        if polls < self._polls:
            payload = {**action.payload, "polls": polls}
            return waiting(action, self._poll, now, "the batch is not ready", payload)
        paid = 0 if action.payload.get("twin") else int(action.payload.get("cost") or 1)
        return settled(action, Found(what="failed", reason=f"no answer after {polls} looks", credits=paid), now)

    def _answered(self, action: Action, by_row: dict[str, Json], records: Sequence[Json], now: int) -> Outcome:
        payload = action.payload
        record: Json = by_row.get(str(payload.get("row")))
        if not by_row and len(records) == payload.get("of"):  # the custom fields were not echoed: the order is the same
            record = records[int(payload.get("place") or 0)]
        cost = 0 if payload.get("twin") else int(payload.get("cost") or 1)
        if record is None:
            found = Found(what="missed", reason="Dropcontact left the person out of its answer")
        else:
            found = read_record(record, payload["question"].get("email"), credits=cost)
        if not payload.get("twin"):
            self.ledger.settle(self.name, {action.key: found.credits})
        return settled(action, found, now)

    def failed(self, actions: Sequence[Action], error: RemoteError) -> list[Outcome]:
        """Return what an error means. Looking again costs nothing, so it is done as often as looks are left."""
        if not actions[0].payload.get("request_id") or isinstance(error, AuthExpired):
            return super().failed(actions, error)
        now = self.clock.now()
        polls = max(int(action.payload.get("polls") or 0) for action in actions) + 1
        return [self._not_ready(action, polls, now) for action in actions]


def _record(action: Action) -> dict[str, Json]:
    question: dict[str, Any] = action.payload["question"]
    record: dict[str, Json] = {theirs: str(question[ours]) for ours, theirs in _NAMES.items() if question.get(ours)}
    if "first_name" in record and "last_name" in record:
        record.pop("full_name", None)
    return {**record, "custom_fields": {ROW: action.key}}


def _object(answer: Answer) -> dict[str, Json]:
    try:
        said = answer.json()
    except ValueError:
        return {"text": answer.body[:2_000].decode(errors="replace")}
    return said if isinstance(said, dict) else {"value": said}


def _refuse(answer: Answer, error: RemoteError | None) -> RemoteError | None:
    if answer.status == 401:
        hint = "Set TAILORBIRD_DROPCONTACT_KEY to a key that is in force."
        return AuthExpired("Dropcontact API error: 401 - Unauthorized", hint=hint, http_status=401)
    return error
