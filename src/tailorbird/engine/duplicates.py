"""People who may be one: suggested with a score and the reasons, merged by a person or by a rule that somebody chose."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tailorbird.engine.refs import is_public
from tailorbird.errors import InvalidInput, NotFound
from tailorbird.ports import Criteria, Merge, People, Store
from tailorbird.profiles.duplicates import Side, compare, features
from tailorbird.segments.preview import name_of

if TYPE_CHECKING:
    from tailorbird.engine.facade import Engine
    from tailorbird.engine.parts import Parts

__all__ = ["Suggestion", "merge_by_rule", "merge_suggestion", "suggest", "suggest_by_model"]

_SAFE: Final = 0.9
_PAGE: Final = 2_000
_SAMPLE: Final = 5_000


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """Two people who may be one: ``score`` 0 to 1, why, and which profile would be kept (the older)."""

    id: str
    score: float
    reasons: tuple[str, ...]
    winner: str
    loser: str
    winner_name: str
    loser_name: str
    method: str = "rule"


def suggest(parts: Parts, people: People, *, limit: int, min_score: float) -> list[Suggestion]:
    """Return the likeliest pairs."""
    pairs: dict[tuple[int, int], None] = {}
    for group in people.alike(limit=max(limit * 4, 400)):
        pairs |= dict.fromkeys(combinations(sorted(group.keys), 2))
    found: list[Suggestion] = []
    wanted = list(pairs)
    for start in range(0, len(wanted), _PAGE):
        found += _compared(parts.store, wanted[start : start + _PAGE], min_score)
    found.sort(key=lambda one: (-one.score, one.id))
    return found[:limit]


def _compared(store: Store, pairs: Iterable[tuple[int, int]], min_score: float) -> list[Suggestion]:
    listed = list(pairs)
    profiles = store.profiles(sorted({key for pair in listed for key in pair}))
    sides: dict[int, Any] = {}
    found = []
    for pair in listed:
        if any(key not in profiles or profiles[key].merged_into is not None for key in pair):
            continue
        for key in pair:
            if key not in sides:
                emails = [row.value for row in store.identifiers(key) if row.kind == "email"]
                sides[key] = Side(profiles[key].attributes, emails)
        score, reasons = compare(sides[pair[0]], sides[pair[1]])
        if score >= min_score:
            winner, loser = (profiles[key] for key in pair)
            names = [
                name_of(one) if name_of(one) != one.id else next(iter(sides[one.key].emails), one.id) for one in (winner, loser)
            ]
            found.append(
                Suggestion(
                    id=f"{winner.id}~{loser.id}", score=score, reasons=reasons, winner=winner.id, loser=loser.id,
                    winner_name=names[0], loser_name=names[1],
                )
            )  # fmt: skip
    return found


def suggest_by_model(parts: Parts, people: People, *, limit: int, min_score: float) -> list[Suggestion]:
    """Return the likeliest pairs by a statistical model, trained on those who may be duplicates and a sample of everybody."""
    from tailorbird.engine.linking import link  # it loads DuckDB and splink

    store = parts.store
    alike = {key for group in people.alike(limit=max(limit * 4, 400)) for key in group.keys}
    everybody = people.keys(Criteria())
    sample = everybody[:: max(1, len(everybody) // _SAMPLE)]
    keys = sorted(alike | set(sample))
    rows: list[dict[str, Any]] = []
    for start in range(0, len(keys), _PAGE):
        for key, profile in store.profiles(keys[start : start + _PAGE]).items():
            email = next((row.value for row in store.identifiers(key) if row.kind == "email"), "")
            rows.append({"key": key, **features(Side(profile.attributes, [email] if email else []))})
    found = [pair for pair in link(rows, least=min_score) if pair.one in alike or pair.other in alike][:limit]
    profiles = store.profiles(sorted({key for pair in found for key in (pair.one, pair.other)}))
    return [
        Suggestion(
            id=f"{profiles[p.one].id}~{profiles[p.other].id}", score=p.probability, reasons=p.reasons, winner=profiles[p.one].id,
            loser=profiles[p.other].id, winner_name=name_of(profiles[p.one]), loser_name=name_of(profiles[p.other]), method="model",
        )
        for p in found
        if p.one in profiles and p.other in profiles
    ]  # fmt: skip


def merge_suggestion(engine: Engine, suggestion: str, *, by: str) -> Merge:
    """Merge the two people that a suggestion's id names; what they have in common now is the reason on record."""
    winner, mark, loser = suggestion.partition("~")
    if not (mark and is_public(winner) and is_public(loser)):
        raise InvalidInput(f"{suggestion!r:.80} is not the id of a suggestion.", hint="Take the id from the list of duplicates.")
    people = engine.store.profiles_by_id([winner, loser])
    if len(people) < 2:
        raise NotFound("One of the two is not there any more.", hint="List the duplicates again.")
    emails = [[row.value for row in engine.store.identifiers(people[one].key) if row.kind == "email"] for one in (winner, loser)]
    score, reasons = compare(Side(people[winner].attributes, emails[0]), Side(people[loser].attributes, emails[1]))
    told = f"duplicate, score {score}: {', '.join(reasons) or 'by a person'}" + (f"; by {by[:100]}" if by else "")
    return engine.merge(winner, loser, reason=told)


def merge_by_rule(engine: Engine, people: People, min_score: float, *, limit: int) -> list[Merge]:
    """Merge all pairs that score at least so much; a profile that was merged meanwhile is left for the next time."""
    if not _SAFE <= min_score <= 1:
        raise InvalidInput(
            f"min_score {min_score} is not between {_SAFE} and 1.", hint="What is less sure is for a person to decide."
        )
    gone: set[str] = set()
    done = []
    for one in suggest(engine.parts, people, limit=limit, min_score=min_score):
        if one.winner in gone or one.loser in gone:
            continue
        done.append(merge_suggestion(engine, one.id, by=f"rule: score at least {min_score}"))
        gone |= {one.winner, one.loser}
    return done
