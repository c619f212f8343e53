"""Consent: what a person allows us to send, over which channel, for which purpose, and what proves it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from tailorbird.core.event import CONSENT_GRANTED, CONSENT_WITHDRAWN, Event, Json
from tailorbird.errors import InvalidEvent, Mistake
from tailorbird.profiles.drafts import Draft

__all__ = ["Consent", "Proof", "check_consent", "consent_draft", "consents"]

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}\Z")
_PROOF_FIELDS: Final = {"method": 100, "at": 40, "ip": 64, "text": 5_000, "url": 2_000, "by": 200}
"""What a proof may hold and how many characters of it."""


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """One consent event as it was given: when, by which word, and what proves it."""

    at: int
    granted: bool
    explicit: bool
    source: str
    event: str
    proof: dict[str, Json] | None = None


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """Where consent for a channel and purpose stands: ``given``, since when, and all that was said about it, oldest first.

    ``since`` is the instant of the event from which on it stands as it does.
    """

    channel: str
    purpose: str
    given: bool
    since: int
    history: tuple[Proof, ...]


def check_consent(data: Mapping[str, Json]) -> list[Mistake]:
    """Return everything that is wrong with the data of a consent event.

    >>> check_consent({"channel": "email", "purpose": "marketing", "explicit": True, "proof": {"method": "form"}})
    []
    >>> [m.where for m in check_consent({"channel": "E-mail", "purpose": "marketing", "proof": {"method": 1}})]
    ['channel', 'proof.method']
    """
    mistakes: list[Mistake] = []
    for name in ("channel", "purpose"):
        value = data.get(name)
        if not isinstance(value, str) or not _NAME.match(value):
            hint = "lower-case letters, digits, _ . -, beginning with a letter, such as email or marketing"
            mistakes.append(Mistake("invalid_value", f"{value!r:.80} is not a {name}", hint, where=name))
    if not isinstance(data.get("explicit", False), bool):
        mistakes.append(Mistake("invalid_value", "must be true or false", "true only where the person said so", where="explicit"))
    return mistakes + _check_proof(data.get("proof"))


def _check_proof(proof: Json) -> list[Mistake]:
    if proof is None:
        return []
    known = ", ".join(_PROOF_FIELDS)
    if not isinstance(proof, dict):
        return [Mistake("invalid_value", "must be a mapping", f"known: {known}", where="proof")]
    mistakes = []
    if "method" not in proof:
        mistakes.append(
            Mistake("missing_field", "is missing", "how it was given, such as form, double_opt_in, phone", where="proof.method")
        )
    for name, value in proof.items():
        if name not in _PROOF_FIELDS:
            mistakes.append(Mistake("unknown_field", f"{name!r:.80} is not part of a proof", f"known: {known}", where="proof"))
        elif not isinstance(value, str) or not 0 < len(value) <= _PROOF_FIELDS[name]:
            mistakes.append(
                Mistake("invalid_value", f"must be text of 1 to {_PROOF_FIELDS[name]} characters", where=f"proof.{name}")
            )
    return mistakes


def consent_draft(
    channel: str,
    purpose: str,
    granted: bool,
    *,
    explicit: bool = False,
    proof: Json = None,
    profile: str | None = None,
    identifiers: Mapping[str, str] | None = None,
    at: int | None = None,
    id: str | None = None,
    source: str = "api",
) -> Draft:
    """Return the event that gives or withdraws consent; raise ``InvalidEvent`` with every mistake.

    ``explicit`` says that it is the person's own word: only that brings back what was withdrawn. ``proof`` may hold
    ``method`` (needed in it), ``at``, ``ip``, ``text``, ``url`` and ``by``, each text.
    """
    data: dict[str, Json] = {"channel": channel, "purpose": purpose, "explicit": explicit}
    if proof is not None:
        data["proof"] = proof
    if mistakes := check_consent(data):
        raise InvalidEvent("; ".join(m.render() for m in mistakes), mistakes=tuple(mistakes))
    type_ = CONSENT_GRANTED if granted else CONSENT_WITHDRAWN
    return Draft(type=type_, data=data, profile=profile, identifiers=dict(identifiers or {}), at=at, id=id, source=source)


def consents(events: Iterable[Event]) -> list[Consent]:
    """Return where each consent of one profile stands, with its whole history, from its events in any order."""
    said: dict[tuple[str, str], list[Event]] = {}
    for event in sorted((e for e in events if e.type in (CONSENT_GRANTED, CONSENT_WITHDRAWN)), key=_place):
        name = event.data.get("channel"), event.data.get("purpose")
        if isinstance(name[0], str) and isinstance(name[1], str):
            said.setdefault((name[0], name[1]), []).append(event)
    return [_standing(channel, purpose, said[channel, purpose]) for channel, purpose in sorted(said)]


def _place(event: Event) -> tuple[int, int]:
    return event.at, event.seq


def _standing(channel: str, purpose: str, said: list[Event]) -> Consent:
    given: bool | None = None
    since = 0
    for event in said:
        explicit = event.data.get("explicit") is True
        now = event.type == CONSENT_GRANTED and (explicit or given is not False)
        if now is not given:
            given, since = now, event.at
    history = tuple(
        Proof(
            at=event.at, granted=event.type == CONSENT_GRANTED, explicit=event.data.get("explicit") is True, source=event.source,
            event=event.id, proof=event.data.get("proof"),
        )
        for event in said
    )  # fmt: skip
    return Consent(channel=channel, purpose=purpose, given=bool(given), since=since, history=history)
