"""What a provider's answer means for a person: attributes, what is known of the address, and the evidence that is kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from tailorbird.core.action import Told
from tailorbird.core.event import PROFILE_UPDATED, Json

__all__ = ["FAILED", "FINISHED", "MISSED", "RECEIVED", "Found", "evidence", "instant_text", "told"]

RECEIVED: Final = "enrichment.received"
MISSED: Final = "enrichment.missed"
FAILED: Final = "enrichment.failed"
FINISHED: Final = "enrichment.finished"

MAX_EVIDENCE: Final = 20_000
"""Bytes of an answer that are kept; of a longer one the beginning, as text."""

_UNFIT: Final = re.compile("[\x00\ud800-\udfff]")
_LONGEST: Final = 500
_TEXTS: Final = frozenset({
    "first_name", "last_name", "name", "email", "company", "domain", "title", "linkedin_url", "phone", "industry",
    "seniority_level", "city", "country",
})  # fmt: skip

Verification = Literal["verified", "invalid", "unknown"]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What came of asking one provider about one person.

    ``raw`` is its answer as it came; ``faults`` names the fields that broke the answer's own schema and were left out.
    ``credits`` is what it cost, as far as known. ``verification`` is its word on the address.
    """

    what: Literal["received", "missed", "failed"]
    attributes: dict[str, Json] = {}
    verification: Verification | None = None
    credits: int = 0
    raw: Json = None
    reason: str = ""
    faults: tuple[str, ...] = ()


def told(payload: Mapping[str, Any], found: Found, now: int) -> tuple[Told, ...]:
    """Return the events of an answer: attributes first, so that whoever reacts to the answer sees them."""
    provider = str(payload["provider"])
    events: list[Told] = []
    faults = list(found.faults)
    if found.what == "received":
        attributes, wrong = _clean(found.attributes, payload.get("take") or ())
        faults += wrong
        events += _updates(provider, attributes, payload.get("over") or {})
        mark: dict[str, Json] = {"enriched_at": instant_text(now), "enrichment_source": provider}
        events.append(Told(type=PROFILE_UPDATED, data={"attributes": mark}, source=provider))
    else:
        attributes = {}
    verdict = found.verification if payload.get("verifies") else None
    if verdict in ("verified", "invalid"):
        said: dict[str, Json] = {"email_verified": verdict == "verified", "email_verification": verdict}
        events.append(Told(type=PROFILE_UPDATED, data={"attributes": said}, source=provider))
    run = {**payload["run"], "verification": verdict or payload["run"].get("verification")}
    data: dict[str, Json] = {
        "provider": provider, "definition": payload["run"]["definition"], "question": payload["question_digest"],
        "credits": found.credits, "attributes": attributes, "verification": verdict, "raw": evidence(found.raw), "run": run,
        "reason": found.reason or None, "faults": sorted(set(faults)) or None,
    }  # fmt: skip
    type_ = {"received": RECEIVED, "missed": MISSED, "failed": FAILED}[found.what]
    events.append(Told(type=type_, data={k: v for k, v in data.items() if v is not None}, source=provider))
    if verdict == "verified":
        events.append(Told(type="email.verified", data={"how": "verified", "by": provider}, source=provider))
    elif verdict == "invalid":
        events.append(Told(type="email.rejected", data={"by": provider}, source=provider))
    return tuple(events)


def evidence(raw: Json) -> Json:
    """Return an answer as it can be kept in an event, whatever it was: bounded, plain, without what no database takes.

    >>> evidence({"n": 2**70, "t": "a\\x00b"})
    {'n': '1180591620717411303424', 't': 'ab'}
    """
    kept = _plain(raw, 0)
    text = msgspec.json.encode(kept)
    if len(text) <= MAX_EVIDENCE:
        return kept
    return {"cut": text[:MAX_EVIDENCE].decode(errors="ignore"), "bytes": len(text)}


def instant_text(now: int) -> str:
    """Return an instant as ISO 8601 text, to the second.

    >>> instant_text(0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(now // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _clean(attributes: Mapping[str, Json], take: Any) -> tuple[dict[str, Json], list[str]]:
    """Return the attributes that are wanted and fit, and the names of those that do not fit."""
    good: dict[str, Json] = {}
    wrong: list[str] = []
    for name, value in attributes.items():
        if name not in take or value is None:
            continue
        if name in _TEXTS and isinstance(value, str):
            text = _UNFIT.sub("", value).strip()
            if 0 < len(text) <= _LONGEST:
                good[name] = text
            elif text:
                wrong.append(name)
        elif name == "company_size" and _is_size(value):
            good[name] = value
        else:
            wrong.append(name)
    return good, wrong


def _is_size(value: Json) -> bool:
    if isinstance(value, str):
        return 0 < len(value.strip()) <= 40 and _UNFIT.search(value) is None
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 100_000_000


def _updates(provider: str, attributes: Mapping[str, Json], over: Mapping[str, Any]) -> list[Told]:
    """Return the changes of attributes, those together that may replace the same sources' values."""
    groups: dict[tuple[str, ...], dict[str, Json]] = {}
    for name, value in attributes.items():
        groups.setdefault(tuple(over.get(name) or (provider,)), {})[name] = value
    return [
        Told(type=PROFILE_UPDATED, data={"attributes": values}, source=provider, over=sources)
        for sources, values in groups.items()
    ]


def _plain(value: Json, depth: int) -> Json:
    if depth > 20:
        return "…"
    if isinstance(value, str):
        return _UNFIT.sub("", value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    if isinstance(value, dict):
        return {_UNFIT.sub("", str(k))[:200]: _plain(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    return str(value)[:200]
