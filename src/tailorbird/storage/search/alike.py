"""Groups of people who may be one person: found by what they have in common, without comparing everybody with everybody."""

from __future__ import annotations

from typing import Final

from tailorbird.ports import Likeness
from tailorbird.storage.search.person import mailbox
from tailorbird.storage.search.side import Side

__all__ = ["alike"]

_CROWD: Final = 25
"""A name or number that more people share says nothing about them."""

_PAGE: Final = 50_000


def alike(side: Side, limit: int) -> list[Likeness]:
    """Return groups by phone, mailbox and name, at most ``limit`` of each."""
    phones = _groups(side, "phone", "phone IS NOT NULL AND length(phone) >= 7", limit)
    names = _groups(side, "name", "name LIKE '% %'" if not side.postgres else "name LIKE '%% %%'", limit)
    found = [Likeness("phone", keys) for keys in phones]
    found += [Likeness("mail", keys) for keys in _mailboxes(side, limit)]
    found += [Likeness("name", keys) for keys in names]
    return found


def _groups(side: Side, column: str, where: str, limit: int) -> list[tuple[int, ...]]:
    shared = f"SELECT {column} FROM directory_person WHERE {where} GROUP BY {column} HAVING count(*) BETWEEN 2 AND {_CROWD} LIMIT {limit}"
    rows = side.ask(
        f"SELECT p.{column}, p.profile FROM ({shared}) AS s JOIN directory_person p ON p.{column} = s.{column} "
        f"ORDER BY p.{column}, p.profile",
    )
    found: dict[str, list[int]] = {}
    for value, key in rows:
        found.setdefault(value, []).append(key)
    return [tuple(keys) for keys in found.values()]


def _mailboxes(side: Side, limit: int) -> list[tuple[int, ...]]:
    """Read every address once: only a digest of its plain form is kept in memory."""
    seen: dict[int, int] = {}
    found: dict[int, list[int]] = {}
    after = ""
    sql = (
        f"SELECT value, profile FROM {side.record}identifier WHERE kind = 'email' AND value > {side.mark} "
        f"ORDER BY value LIMIT {_PAGE}"
    )
    while rows := side.ask(sql, (after,)):
        after = rows[-1][0]
        for address, key in rows:
            plain = hash(mailbox(address))
            first = seen.setdefault(plain, key)
            if first != key:
                group = found.setdefault(plain, [first])
                if key not in group:
                    group.append(key)
    return [tuple(keys) for keys in found.values() if len(keys) <= _CROWD][:limit]
