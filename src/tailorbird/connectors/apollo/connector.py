"""The connector to Apollo: one person by people match, up to ten by bulk match; nobody is paid for twice.

Source: https://docs.apollo.io/reference/people-enrichment, …/bulk-people-enrichment, …/rate-limits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from tailorbird.connectors.apollo.answers import read_person
from tailorbird.connectors.enrichment import Asking, Ledger, definition_of, settled
from tailorbird.connectors.rest import (
    Answer,
    AuthExpired,
    Limiter,
    QuotaExhausted,
    RateLimited,
    RemoteError,
    RemoteInvalid,
    Retry,
    Transport,
)
from tailorbird.core.action import Action, Outcome
from tailorbird.core.context import HOUR, MINUTE, SECOND, Clock
from tailorbird.core.event import Json
from tailorbird.enrichment.answers import Found

if TYPE_CHECKING:
    import httpx2

__all__ = ["BULK", "ApolloConnector"]

BULK: Final = 10
"""How many people one bulk match may ask about."""

HOSTS: Final = ("api.apollo.io",)
LIMITS: Final = {"minute": 1_000}
"""Requests that a paid team may send to enrichment; the headers of the answers say what really holds."""

_LONG: Final = 30 * SECOND
"""How long several people are asked about one by one before the rest is left for another time."""

_WINDOWS: Final = {"minute": "minute", "hourly": "hour", "24-hour": "day"}
_TOLD: Final = re.compile(r"is (\d+) times per (minute|hour|day)")
_ASK_AGAIN: Final = {"minute": 15 * SECOND, "hour": 10 * MINUTE, "day": HOUR}
"""When to ask again after a 429 that names its window and says nothing of when that ends."""

_NAMES: Final = {
    "email": "email", "first_name": "first_name", "last_name": "last_name", "name": "name", "company": "organization_name",
    "domain": "domain", "linkedin_url": "linkedin_url",
}  # fmt: skip
_FLAGS: Final = ("reveal_personal_emails", "reveal_phone_number")


class ApolloConnector(Asking):
    """Asks Apollo about people. ``key`` goes into the header ``x-api-key`` and is never shown.

    The vendor has no idempotency keys: a question whose answer was lost is not asked again (see ``Ledger``). One limiter
    stands for the team's limits of both endpoints. Mobile numbers need a public ``webhook_url``, which Apollo calls.
    """

    name = "apollo"
    together = BULK

    def __init__(
        self, *, key: str = "", url: str = "https://api.apollo.io/api/v1", webhook_url: str = "",
        ledger: Ledger | None = None, timeout: float = 20.0, retry: Retry | None = None, clock: Clock | None = None,
        allow_private: bool = False, transport: httpx2.BaseTransport | None = None,
    ) -> None:  # fmt: skip
        super().__init__(key=key, key_name="TAILORBIRD_APOLLO_KEY", ledger=ledger, clock=clock)
        self._webhook_url = webhook_url
        self._limiter = Limiter(LIMITS, clock=self.clock)
        self._http = Transport(
            "Apollo", url, headers=lambda: {"x-api-key": key}, hosts=() if allow_private else HOSTS, allow_private=allow_private,
            timeout=timeout, retry=retry or Retry(), limiter=self._limiter, refuse=_refuse, observe=self._observe,
            clock=self.clock, transport=transport,
        )  # fmt: skip

    def destination(self, action: Action) -> str:
        """Return the host with what questions of one call have in common."""
        options = action.payload.get("options")
        flags = [name for name in _FLAGS if isinstance(options, dict) and options.get(name)]
        single = ["single"] if action.payload.get("single") else []
        return " ".join([self._http.host, definition_of(action), *flags, *single])

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._http.close()

    def _at_once(self, action: Action) -> int:
        return 10

    def ask(self, actions: Sequence[Action]) -> list[Outcome]:
        """Ask about one person, or about up to ten in one call; equal questions of different people are asked once."""
        if actions[0].payload.get("limits"):
            self._limiter.configure(actions[0].payload["limits"])
        granted, outcomes = self.reserve(actions)
        questions: dict[str, list[Action]] = {}
        for action in granted:
            questions.setdefault(str(action.payload.get("question_digest")), []).append(action)
        firsts = [group[0] for group in questions.values()]
        if firsts:
            single = len(firsts) == 1 or bool(firsts[0].payload.get("single"))
            found = self._singly(firsts) if single else self._bulk(firsts)
            for group in questions.values():
                outcome = found[group[0].key]
                outcomes[group[0].key] = outcome if isinstance(outcome, Outcome) else self._paid(group[0], outcome)
                for twin in group[1:]:  # what the first has cost, the others have not
                    outcomes[twin.key] = self._twin(twin, outcome)
        return [outcomes[action.key] for action in actions]

    def _twin(self, action: Action, found: Found | Outcome) -> Outcome:
        self.ledger.release(self.name, [action.key])
        if isinstance(found, Outcome):
            return Outcome(ok=False, again=found.again or SECOND, detail=found.detail)
        free = Found(**{**{f: getattr(found, f) for f in found.__struct_fields__}, "credits": 0})
        return settled(action, free, self.clock.now())

    def _paid(self, action: Action, found: Found) -> Outcome:
        self.ledger.settle(self.name, {action.key: found.credits})
        return settled(action, found, self.clock.now())

    def _singly(self, actions: Sequence[Action]) -> dict[str, Found | Outcome]:
        found: dict[str, Found | Outcome] = {}
        begun = self.clock.now()
        for action in actions:
            if self.clock.now() - begun > _LONG:  # one by one they may take long, and a lease is short
                self.ledger.release(self.name, [action.key])
                found[action.key] = Outcome(ok=False, again=0)
                continue
            try:
                params = {**_details(action), **self._flags(action)}
                body = _json(self._http.request("POST", "people/match", params=params))
                person = body.get("person") if isinstance(body, dict) else body
                found[action.key] = read_person(person, credits=int(action.payload.get("cost") or 1))
            except RemoteError as error:
                found[action.key] = self.failed([action], error)[0]
        return found

    def _bulk(self, actions: Sequence[Action]) -> dict[str, Found | Outcome]:
        details: Json = {"details": [_details(action) for action in actions]}
        try:
            answer = self._http.request("POST", "people/bulk_match", params=self._flags(actions[0]), json=details)
        except RemoteInvalid:  # one of them spoils the call: each goes alone next
            self.ledger.release(self.name, [action.key for action in actions])
            return {a.key: Outcome(ok=False, again=0, payload={**a.payload, "single": True}) for a in actions}
        except RemoteError as error:
            return dict(zip([a.key for a in actions], self.failed(actions, error), strict=True))
        body = _json(answer)
        matches = body.get("matches") if isinstance(body, dict) else None
        if not isinstance(matches, list) or len(matches) != len(actions):
            # By their place alone the answers are known: with another number nobody can be told from another.
            broken = Found(
                what="failed", raw=body, faults=("matches",), reason="Apollo's answer broke its schema",
                credits=int(actions[0].payload.get("cost") or 1),
            )  # fmt: skip
            return {action.key: broken for action in actions}
        return {
            action.key: read_person(person, credits=int(action.payload.get("cost") or 1))
            for action, person in zip(actions, matches, strict=True)
        }

    def _flags(self, action: Action) -> dict[str, str]:
        options = action.payload.get("options") or {}
        flags = {name: "true" for name in _FLAGS if options.get(name)}
        if "reveal_phone_number" in flags:
            if not self._webhook_url:
                del flags["reveal_phone_number"]  # Apollo refuses the whole call without an address to call back
            else:
                flags["webhook_url"] = self._webhook_url
        return flags

    def _observe(self, answer: Answer) -> None:
        for theirs, ours in _WINDOWS.items():
            limit = _number(answer.headers.get(f"x-rate-limit-{theirs}"))
            left = _number(answer.headers.get(f"x-{theirs}-requests-left"))
            if limit is not None or left is not None:
                self._limiter.observe(ours, limit=limit, left=left)


def _refuse(answer: Answer, error: RemoteError | None) -> RemoteError | None:
    """Refine what a status says by what Apollo says besides: a 401 is plain text, a 429 names its window."""
    if answer.status == 401:
        return AuthExpired(
            "Apollo API error: 401 - Unauthorized", hint="Set TAILORBIRD_APOLLO_KEY to a key that is in force.", http_status=401
        )
    if answer.status == 429:
        told = _TOLD.search(answer.body[:2_000].decode(errors="replace"))
        window = told[2] if told else "minute"
        wait = (error.retry_after if error is not None else None) or _ASK_AGAIN[window]
        kind: type[RemoteError] = QuotaExhausted if window == "day" else RateLimited
        return kind(f"Apollo API error: 429 - limit per {window}", http_status=429, retry_after=wait)
    return error


def _details(action: Action) -> dict[str, str]:
    question: dict[str, Any] = action.payload["question"]
    return {theirs: str(question[ours]) for ours, theirs in _NAMES.items() if question.get(ours)}


def _json(answer: Answer) -> Json:
    try:
        return answer.json()
    except ValueError:
        return answer.body[:2_000].decode(errors="replace")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdecimal() and len(text) < 12 else None
