"""How people name profiles and instants, read into what the core uses."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

from tailorbird.core.profile import Profile
from tailorbird.errors import InvalidInput, NotFound
from tailorbird.expr.read import parse_time
from tailorbird.expr.units import duration_of
from tailorbird.ports import Store
from tailorbird.profiles.normalise import normalise

__all__ = ["find_profile", "is_public", "read_duration", "read_instant", "read_ref"]

_EARLIEST: Final = -62_135_596_800_000  # the first instant of the year 1, in ms since 1970
_LATEST: Final = 32_503_680_000_000  # the first instant of the year 3000
_DIGITS: Final = 40  # digits of a number that is read at all
_PUBLIC: Final = re.compile(r"p_[a-z2-7]{16}\Z")
_KINDS: Final = frozenset({"external_id", "email", "phone", "anonymous_id", "company_id"})
_CRMS: Final = frozenset({"crm", "company_crm"})


def is_public(ref: str) -> bool:
    """Return whether a reference has the form of a public profile id."""
    return _PUBLIC.match(ref) is not None


def read_ref(ref: str) -> tuple[str, str]:
    """Return (kind, value) of a reference that is not a public id: ``kind:value``, or else an external id.

    >>> read_ref("email:ann@example.com"), read_ref("crm:hubspot:12"), read_ref("order:7")
    (('email', 'ann@example.com'), ('crm:hubspot', '12'), ('external_id', 'order:7'))
    """
    kind, _, value = ref.partition(":")
    if value and kind in _KINDS:
        return kind, value
    if value and kind in _CRMS:
        connection, _, id_ = value.partition(":")
        if id_:
            return f"{kind}:{connection}", id_
    return "external_id", ref


def find_profile(store: Store, ref: str, *, region: str | None) -> Profile:
    """Return the profile that a reference leads to, through merges; raise ``NotFound`` naming the reference."""
    profile: Profile | None = None
    if is_public(ref):
        profile = store.profiles_by_id([ref]).get(ref)
    if profile is None:
        kind, value = read_ref(ref)
        name = normalise(kind, value, region=region)
        row = store.resolve([name]).get(name)
        if row is not None:
            profile = store.profiles([row.profile]).get(row.profile)
    while profile is not None and profile.merged_into is not None:
        profile = store.profiles([profile.merged_into]).get(profile.merged_into)
    if profile is None:
        raise NotFound(
            f"No profile is known as {ref!r}.", hint="Give a public id (p_…), an external id, or kind:value such as email:ann@example.com."
        )  # fmt: skip
    return profile


def read_instant(value: Any, name: str = "at", *, anywhere: bool = False) -> int:
    """Return an instant given as ms, ``datetime`` (naive: UTC), or ISO text; raise ``InvalidInput``.

    It lies in the years 1 to 2999, as what is further away is most often ms mistaken for a finer unit; with ``anywhere``
    the caller judges that.

    >>> read_instant("1970-01-02"), read_instant(5), read_instant(datetime(1970, 1, 1, 0, 0, 1))
    (86400000, 5, 1000)
    """
    found = _instant(value)
    if found is None:
        raise InvalidInput(
            f"{name} {value!r:.60} is not an instant.",
            hint="Give ms since 1970, or text such as 2026-01-31 or 2026-01-31T12:00:00Z.",
        )
    if not anywhere and not _EARLIEST <= found < _LATEST:
        raise InvalidInput(
            f"{name} {value!r:.60} lies outside the years 1 to 2999.", hint="Give ms since 1970 (UTC), not micro- or nanoseconds."
        )
    return found


def _instant(value: Any) -> int | None:
    match value:
        case bool():
            return None
        case int():
            return value
        case datetime():
            moment = value if value.tzinfo else value.replace(tzinfo=UTC)
            return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000 + 0.5)
        case str():
            text = value.strip()
            found = parse_time(text)
            return int(text) if found is None and text.isascii() and text.isdigit() and len(text) <= _DIGITS else found
    return None


def read_duration(value: Any, name: str) -> int:
    """Return a duration given as ms or text such as ``7d``; raise ``InvalidInput``.

    >>> read_duration("1d", "step")
    86400000
    """
    found = duration_of(value) if isinstance(value, str) else value
    if type(found) is not int or found <= 0:
        raise InvalidInput(f"{name} {value!r:.60} is not a duration.", hint="Write it as 30m, 12h, 7d or 2w.")
    return found
