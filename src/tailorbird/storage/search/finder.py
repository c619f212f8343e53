"""``ports.People`` in SQL: the smallest list leads, or the order does; so a first page costs milliseconds over a million."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any, Final

import msgspec

from tailorbird.errors import InvalidInput
from tailorbird.ports import Criteria, Hits, Likeness, Numbers
from tailorbird.storage.search.alike import alike
from tailorbird.storage.search.conditions import Condition, conditions, words
from tailorbird.storage.search.keeping import Keeping, Told
from tailorbird.storage.search.person import ENRICHED, VERIFIED, fold, trigrams
from tailorbird.storage.search.side import Side

__all__ = ["Finder"]

_FEW: Final = 5_000  # people up to which a list is sorted rather than an order walked
_CANDIDATES: Final = 300  # names that are compared letter by letter
_RANKED: Final = 1_000  # hits that are put in order of relevance
_ALIKE: Final = 0.6  # how much of two names has to agree
_SORTS: Final = {"name": "p.name", "created_at": "p.profile", "updated_at": "p.updated_at", "status": "p.status"}


class Finder:
    """Finds people. May be used by several threads; one asks at a time."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._keeping = Keeping(side)

    @property
    def search(self) -> str:
        """How texts are searched here: ``trigram`` or ``plain``."""
        with self._side.lock:
            self._keeping.follow()
            return "trigram" if self._keeping.indexed else "plain"

    def close(self) -> None:
        """Let go of the read model; it stays."""
        with self._side.lock:
            self._side.close()

    def follow(self, progress: Told | None = None) -> None:
        """Catch up with the record now."""
        with self._side.lock:
            self._keeping.follow(progress)

    def erased(self, profiles: Sequence[int]) -> None:
        """Leave no trace of those of these profiles that the record has no more."""
        with self._side.lock:
            self._keeping.erased(profiles)

    # ---- asking
    def page(self, criteria: Criteria, *, sort: str, descending: bool, after: str | None, limit: int) -> Hits:
        """Return some people in order; see ``ports.People``."""
        if sort not in _SORTS and sort != "relevance":
            raise InvalidInput(f"nothing is sorted by {sort!r:.40}.", hint=f"Known: {', '.join(_SORTS)}, relevance.")
        with self._side.lock:
            scores = self._prepare(criteria)
            if scores is not None:
                criteria = msgspec.structs.replace(criteria, name=None, profiles=_both(criteria.profiles, tuple(scores)))
            if sort == "relevance":
                return self._by_relevance(criteria, scores, after, limit)
            return self._in_order(criteria, sort, descending, after, limit, scores or {})

    def keys(self, criteria: Criteria) -> list[int]:
        """Return the keys of all whom the criteria hold for, ascending."""
        with self._side.lock:
            sql, binds = self._all(criteria)
            return [row[0] for row in self._side.ask(f"SELECT p.profile {sql} ORDER BY p.profile", binds)]

    def count(self, criteria: Criteria) -> int:
        """Return for how many people the criteria hold."""
        with self._side.lock:
            sql, binds = self._all(criteria)
            return int(self._side.ask(f"SELECT count(*) {sql}", binds)[0][0])

    def numbers(self, engagements: Sequence[str]) -> Numbers:
        """Return counts over all people."""
        side = self._side
        with side.lock:
            self._keeping.follow()
            self._keeping.follow_engagements(engagements)
            by_status = {row[0]: int(row[1]) for row in side.ask("SELECT status, count(*) FROM directory_person GROUP BY status")}
            enriched, verified = side.ask(
                f"SELECT coalesce(sum(CASE WHEN flags & {ENRICHED} > 0 THEN 1 ELSE 0 END), 0), "
                f"coalesce(sum(CASE WHEN flags & {VERIFIED} > 0 THEN 1 ELSE 0 END), 0) FROM directory_person WHERE flags > 0"
            )[0]
            engaged, sum_ = side.ask(
                "SELECT count(*), coalesce(sum(e.engagements), 0) FROM directory_engaged e JOIN directory_person p ON p.profile = e.profile"
            )[0]
        ordered = dict(sorted(by_status.items(), key=lambda item: (-item[1], item[0])))
        return Numbers(sum(by_status.values()), ordered, int(enriched), int(verified), int(engaged), int(sum_))

    def alike(self, *, limit: int) -> list[Likeness]:
        """Return groups of people who have something in common; see ``ports.People``."""
        with self._side.lock:
            self._keeping.follow()
            return alike(self._side, limit)

    # ---- inside
    def _prepare(self, criteria: Criteria) -> dict[int, float] | None:
        """Catch up, and return who has nearly the name that is asked for."""
        self._keeping.follow()
        if criteria.text is not None or criteria.name is not None:
            self._keeping.follow_texts()
        return None if criteria.name is None else self._named(criteria.name)

    def _all(self, criteria: Criteria) -> tuple[str, list[Any]]:
        scores = self._prepare(criteria)
        if scores is not None:
            criteria = msgspec.structs.replace(criteria, name=None, profiles=_both(criteria.profiles, tuple(scores)))
        found = conditions(criteria, self._side, indexed=self._keeping.indexed)
        lead, rest, _ = self._lead(found)
        return self._from(lead, rest)

    def _in_order(
        self, criteria: Criteria, sort: str, descending: bool, after: str | None, limit: int, scores: dict[int, float]
    ) -> Hits:
        side, mark = self._side, self._side.mark
        found = conditions(criteria, side, indexed=self._keeping.indexed)
        lead, rest, few = self._lead(found)
        column = _SORTS[sort]
        walked = lead is not None and not few and sort != "created_at" and not side.postgres
        hint = (
            f" INDEXED BY directory_person_{sort}"
            if walked or (lead is None and not side.postgres and sort != "created_at")
            else ""
        )
        if walked:
            lead, rest = None, found
        by_lead = lead is not None and sort == "created_at"
        sql, binds = self._from(lead, rest, hint)
        way, sign = ("DESC", "<") if descending else ("ASC", ">")
        if after is not None:
            value, key = _read_cursor(after, sort)
            if sort == "created_at":
                sql += f" AND {'d' if by_lead else 'p'}.profile {sign} {mark}"
                binds.append(key)
            else:
                sql += f" AND ({column}, p.profile) {sign} ({mark}, {mark})"
                binds += [value, key]
        order = f"{'d' if by_lead else 'p'}.profile {way}" if sort == "created_at" else f"{column} {way}, p.profile {way}"
        rows = side.ask(f"SELECT p.profile, {column} {sql} ORDER BY {order} LIMIT {limit + 1}", binds)
        shown = rows[:limit]
        following = _cursor(sort, shown[-1][1], shown[-1][0]) if len(rows) > limit else None
        return Hits([row[0] for row in shown], following, scores)

    def _lead(self, found: Sequence[Condition]) -> tuple[Condition | None, list[Condition], bool]:
        """Return the shortest list, the other conditions, and whether that list is short."""
        lists = [(self._length(one), place) for place, one in enumerate(found) if one.source is not None]
        if not lists:
            return None, list(found), False
        length, place = min(lists)
        return found[place], [one for n, one in enumerate(found) if n != place], length <= _FEW

    def _length(self, condition: Condition) -> int:
        sql = f"SELECT count(*) FROM (SELECT 1 FROM ({condition.source}) AS c LIMIT {_FEW + 1}) AS l"
        return int(self._side.ask(sql, condition.source_binds)[0][0])

    def _from(self, lead: Condition | None, rest: Sequence[Condition], hint: str = "") -> tuple[str, list[Any]]:
        tests = "".join(f" AND {one.test}" for one in rest)
        binds = [value for one in rest for value in one.test_binds]
        if lead is None:
            return f"FROM directory_person p{hint} WHERE true{tests}", binds
        # CROSS JOIN: SQLite keeps the order, so the list leads.
        join = "JOIN" if self._side.postgres else "CROSS JOIN"
        return f"FROM ({lead.source}) AS d {join} directory_person p ON p.profile = d.profile WHERE true{tests}", [
            *lead.source_binds,
            *binds,
        ]

    # ---- relevance
    def _by_relevance(self, criteria: Criteria, scores: dict[int, float] | None, after: str | None, limit: int) -> Hits:
        if scores is None and criteria.text is None:
            raise InvalidInput("nothing is searched for, so nothing is more relevant.", hint="Sort by name or created_at.")
        ranked = scores if scores is not None else self._ranked(criteria.text or "")
        few = msgspec.structs.replace(criteria, profiles=_both(criteria.profiles, tuple(ranked)))
        held = set(self.keys(few))
        order = [key for key in ranked if key in held]
        start = int(_read_cursor(after, "relevance")[1]) if after is not None else 0
        shown = order[start : start + limit]
        following = _cursor("relevance", None, start + limit) if start + limit < len(order) else None
        return Hits(shown, following, ranked)

    def _ranked(self, text: str) -> dict[int, float]:
        """Return the best hits of words with a score from 1 downward, the best first."""
        side, asked = self._side, words(text)
        if side.postgres or not any(len(word) >= 3 for word in asked):
            found = conditions(Criteria(text=text), side, indexed=self._keeping.indexed)[0]
            rows = side.ask(f"{found.source} LIMIT {_RANKED}", found.source_binds)
            texts = self._texts([row[0] for row in rows])
            return _sorted({key: _weigh(asked, *both) for key, both in texts.items()})
        phrase = " AND ".join('"' + word.replace('"', '""') + '"' for word in asked if len(word) >= 3)
        rows = side.ask(
            f"SELECT rowid FROM directory_text WHERE directory_text MATCH ? ORDER BY bm25(directory_text, 4.0, 1.0) LIMIT {_RANKED}",
            (phrase,),
        )
        texts = self._texts([row[0] for row in rows])
        return _sorted({row[0]: _weigh(asked, *texts[row[0]]) for row in rows if row[0] in texts})

    def _named(self, name: str) -> dict[int, float]:
        """Return people with nearly this name, the best first: found by the letters they share, then compared."""
        asked = fold(name)[:120]
        if not asked:
            return {}
        texts = self._texts(self._candidates(asked))
        scores = {key: _likeness(asked, both[0]) for key, both in texts.items() if both[0]}
        return _sorted({key: score for key, score in scores.items() if score >= _ALIKE})

    def _candidates(self, asked: str) -> list[int]:
        side = self._side
        if side.postgres:
            if self._keeping.indexed:
                sql = (
                    f"SELECT profile FROM directory_text WHERE name %% %s ORDER BY similarity(name, %s) DESC LIMIT {_CANDIDATES}"
                )
                return [row[0] for row in side.ask(sql, (asked, asked))]
            sql = f"SELECT profile FROM directory_text WHERE name LIKE ANY(%s) LIMIT {_RANKED * 5}"
            return [row[0] for row in side.ask(sql, ([f"%{part}%" for part in _pieces(asked)],))]
        pieces = _pieces(asked)
        if not pieces:
            return [
                row[0] for row in side.ask(f"SELECT profile FROM directory_person WHERE name = ? LIMIT {_CANDIDATES}", (asked,))
            ]
        either = " OR ".join('"' + piece.replace('"', '""') + '"' for piece in pieces)
        sql = f"SELECT rowid FROM directory_text WHERE directory_text MATCH ? ORDER BY rank LIMIT {_CANDIDATES}"
        return [row[0] for row in side.ask(sql, (f"name : ({either})",))]

    def _texts(self, keys: Sequence[int]) -> dict[int, tuple[str, str]]:
        side, column = self._side, "profile" if self._side.postgres else "rowid"
        rows = side.ask(f"SELECT {column}, name, rest FROM directory_text WHERE {side.among(column)}", (side.listed(keys),))
        return {row[0]: (row[1], row[2]) for row in rows}


def _pieces(asked: str) -> list[str]:
    return sorted({piece for piece in trigrams(asked) if " " not in piece} or trigrams(asked))[:60]


def _likeness(asked: str, name: str) -> float:
    """Return how alike two names are, 0 to 1; the order of their words does not count."""
    whole = SequenceMatcher(None, asked, name, autojunk=False).ratio()
    turned = SequenceMatcher(None, " ".join(sorted(asked.split())), " ".join(sorted(name.split())), autojunk=False).ratio()
    part = max((SequenceMatcher(None, asked, word, autojunk=False).ratio() for word in name.split()), default=0.0) * 0.95
    return round(max(whole, turned, part), 3)


def _weigh(asked: Sequence[str], name: str, rest: str) -> float:
    """Return how well words fit: in the name best, as whole words better than as parts."""
    score = 0.0
    for word in asked:
        score += 1.0 if word in name.split() else 0.8 if word in name else 0.6 if word in rest.split() else 0.4
    return round(score / max(len(asked), 1), 3)


def _sorted(scores: dict[int, float]) -> dict[int, float]:
    return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))


def _both(one: tuple[int, ...] | None, other: tuple[int, ...]) -> tuple[int, ...]:
    return other if one is None else tuple(sorted(set(one) & set(other)))


def _cursor(sort: str, value: Any, key: int) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([sort, value, key])).decode().rstrip("=")


def _read_cursor(text: str, sort: str) -> tuple[Any, int]:
    try:
        said, value, key = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if said != sort or type(key) is not int or not isinstance(value, str | int | None) or abs(key) > 2**62:
            raise ValueError
    except (ValueError, TypeError, msgspec.MsgspecError):
        raise InvalidInput(
            f"after {text!r:.60} is not a cursor of this order.",
            hint="Use the value of next from the page before, with the same sort.",
        ) from None
    return value, key
