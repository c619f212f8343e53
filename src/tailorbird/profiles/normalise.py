"""Identifiers brought to one form, so that the same person typed twice is found once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from tailorbird.core.event import Json
from tailorbird.core.profile import Identifier, IdentifierKind
from tailorbird.errors import InvalidEvent, Mistake

__all__ = ["COMPANY_ID", "MAX_IDENTIFIER", "is_placeholder", "is_strong", "normalise", "normalise_all", "rank"]

COMPANY_ID: Final = "company_id"
"""The kind of identifier that companies go by; a namespace of its own, so company 7 is never person 7."""

MAX_IDENTIFIER: Final = 200
"""Characters in an external, anonymous, company or CRM id."""

_RANKS: Final = {
    IdentifierKind.EXTERNAL_ID.value: 0,
    COMPANY_ID: 0,
    IdentifierKind.EMAIL.value: 2,
    IdentifierKind.PHONE.value: 3,
    IdentifierKind.ANONYMOUS_ID.value: 4,
}
_CRM_RANK: Final = 1
_CRM = re.compile(r"crm:[a-z0-9][a-z0-9_.-]{0,63}\Z")
_COMPANY_CRM = re.compile(r"company_crm:[a-z0-9][a-z0-9_.-]{0,63}\Z")
_UNSTORABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
# The common case, decided without the library: plain ASCII, no dot at an edge or doubled, no label that IDNA could rewrite.
_PLAIN_EMAIL = re.compile(r"[a-z0-9_+'-]+(?:\.[a-z0-9_+'-]+)*@(?:[a-z0-9](?:[a-z0-9]|-(?!-)){0,61}(?<!-)\.)+[a-z]{2,24}\Z")
# Already E.164, and no zero where a national trunk prefix could hide ("+33 0 6…"): nothing for the library to mend.
_PLAIN_PHONE = re.compile(r"\+[1-9]{4}[0-9]{5,11}\Z")

_PLACEHOLDERS: Final = frozenset(
    {
        "null", "undefined", "none", "nil", "nan", "void", "n/a", "na", "-1", "-", "anonymous", "unknown", "guest", "empty",
        "not_set", "not set", "(not set)", "[object object]", "{}", "[]", "true", "false",
    }
)  # fmt: skip
_PLACEHOLDER_EMAILS: Final = frozenset(
    {
        "test@test.com", "a@a.com", "no@email.com", "none@none.com", "na@na.com", "email@email.com", "email@example.com",
        "example@example.com", "test@example.com", "noemail@noemail.com", "noreply@noreply.com", "null@null.com",
        "user@domain.com", "asdf@asdf.com",
    }
)  # fmt: skip
_PLACEHOLDER_PHONE = re.compile(r"\+\d{0,3}?(?:(\d)\1{6,}|1234567890?)\Z")


def rank(kind: str) -> int:
    """Return how strong a kind of identifier is: 0 is strongest; a CRM's id comes right after the external id.

    >>> rank("external_id") < rank("crm:hubspot") < rank("email") < rank("phone") < rank("anonymous_id")
    True
    """
    return _RANKS.get(kind, _CRM_RANK)


def is_strong(kind: str) -> bool:
    """Return whether an identifier of this kind names a person; only an anonymous id does not."""
    return kind != "anonymous_id"


def is_placeholder(kind: str, value: str) -> bool:
    """Return whether a normalised value is what programs send for nobody: ``null``, ``0``, ``test@test.com``, ``+10000000000``.

    >>> is_placeholder("external_id", "undefined"), is_placeholder("anonymous_id", "0000-00"), is_placeholder("email", "a@b.org")
    (True, True, False)
    """
    if kind == "email":
        return value in _PLACEHOLDER_EMAILS
    if kind == "phone":
        return _PLACEHOLDER_PHONE.match(value) is not None
    return value.lower() in _PLACEHOLDERS or not value.strip("0-")


def normalise(kind: str, value: Json, *, region: str | None = None) -> Identifier:
    """Return an identifier in its one form, or raise ``InvalidEvent`` saying what is wrong with it.

    Email: trimmed, lower case in both parts (RFC 5321 lets a server tell ``Ann@`` from ``ann@``; none in use does, and
    people type both). Phone: E.164; ``region`` (``"FR"``) is assumed for numbers without ``+``. Other ids: trimmed, at most
    200 characters; integers are taken as their digits.

    >>> normalise("email", " Ann@Example.COM "), normalise("phone", "06 12 34 56 78", region="FR")
    (Identifier(kind='email', value='ann@example.com'), Identifier(kind='phone', value='+33612345678'))
    """
    if type(value) is int:
        value = str(value)
    if type(value) is not str:
        raise _not_text(kind, value)
    return _normalise(kind, value, region)


def normalise_all(
    identifiers: Mapping[str, Json], *, profile_kind: str = "person", region: str | None = None
) -> tuple[Identifier, ...]:
    """Return the identifiers of one event, strongest first; placeholders such as ``null`` are left out.

    For a company ``external_id`` means ``company_id`` and ``crm:x`` means ``company_crm:x``. Raises ``InvalidEvent`` with
    every mistake when one cannot be read, when a kind is unknown, or when nothing usable is left.
    """
    if len(identifiers) == 1:
        ((kind, value),) = identifiers.items()
        if type(value) is str and value:
            one = _usable(kind, value, region, profile_kind)
            if one is not None:
                return (one,)
    found: list[Identifier] = []
    placeholders: list[str] = []
    mistakes: list[Mistake] = []
    for kind, value in identifiers.items():
        if type(value) is not str:
            if value is None:
                continue
            value = _as_text(kind, value, mistakes)  # noqa: PLW2901
        if value == "":
            continue
        try:
            one = _usable(kind, value, region, profile_kind)
        except InvalidEvent as error:
            mistakes.extend(error.mistakes)
            continue
        if one is None:
            placeholders.append(f"{kind} {value[:40]!r}")
        else:
            found.append(one)
    if not mistakes and not found:
        said = f"{', '.join(placeholders)} names nobody" if placeholders else "no identifier was given"
        known = "company_id" if profile_kind == "company" else "external_id, email, phone, anonymous_id"
        mistakes.append(Mistake("no_identifier", said, f"give one of {known}", where="identifiers"))
    if mistakes:
        raise InvalidEvent("; ".join(m.render() for m in mistakes), mistakes=tuple(mistakes))
    if len(found) > 1:
        found.sort(key=_strength)
    return tuple(found)


def _as_text(kind: str, value: Json, mistakes: list[Mistake]) -> str:
    if type(value) is int:
        return str(value)
    mistakes.extend(_not_text(kind, value).mistakes)
    return ""


@lru_cache(maxsize=65_536)
def _usable(given: str, value: str, region: str | None, profile_kind: str) -> Identifier | None:
    """Return the identifier in its one form, None for a placeholder; cached, for it is asked for every event."""
    kind = given if profile_kind == "person" else _company_kind(given)
    one = _normalise(kind, value, region)
    if is_placeholder(one.kind, one.value):
        return None
    if (one.kind == COMPANY_ID or one.kind.startswith("company_crm:")) != (profile_kind == "company"):
        mistake = Mistake("wrong_kind", f"a {profile_kind} cannot have an identifier of this kind", where=f"identifiers.{given}")
        raise InvalidEvent(mistake.render(), mistakes=(mistake,))
    return one


def _strength(identifier: Identifier) -> tuple[int, str]:
    return rank(identifier.kind), identifier.kind


def _company_kind(kind: str) -> str:
    if kind == "external_id":
        return COMPANY_ID
    return f"company_{kind}" if kind.startswith("crm:") else kind


def _invalid(kind: str, message: str, hint: str = "") -> InvalidEvent:
    mistake = Mistake("invalid_identifier", f"{kind} {message}", hint, where=f"identifiers.{kind}")
    return InvalidEvent(mistake.render(), mistakes=(mistake,))


def _not_text(kind: str, value: Json) -> InvalidEvent:
    return _invalid(kind, "must be text", f"it is {type(value).__name__}; send it as a string")


def _normalise(kind: str, value: str, region: str | None) -> Identifier:
    value = value.strip()
    if not value:
        raise _invalid(kind, "is empty", "leave it out or give a value")
    if _UNSTORABLE.search(value):
        raise _invalid(kind, "contains control characters", "remove them")
    if kind == "email":
        return Identifier("email", _email(value))
    if kind == "phone":
        return Identifier("phone", _phone(value, region))
    if kind not in _RANKS and not _CRM.match(kind) and not _COMPANY_CRM.match(kind):
        raise _invalid(
            kind[:80],
            "is not a kind of identifier",
            "known: external_id, email, phone, anonymous_id, company_id, crm:<connection>",
        )
    if len(value) > MAX_IDENTIFIER:
        raise _invalid(kind, f"has {len(value)} characters; at most {MAX_IDENTIFIER} are kept", "send a shorter id")
    return Identifier(kind, value)


def _email(value: str) -> str:
    lowered = value.lower()
    if len(lowered) <= 254 and _PLAIN_EMAIL.match(lowered) and lowered.index("@") <= 64:
        return lowered
    from email_validator import EmailNotValidError, validate_email

    try:
        return validate_email(value, check_deliverability=False, test_environment=True, strict=True).normalized.lower()
    except (EmailNotValidError, UnicodeError) as error:
        raise _invalid("email", f"is not an e-mail address: {error}", "it should look like ann@example.com") from None


def _phone(value: str, region: str | None) -> str:
    if _PLAIN_PHONE.match(value):
        return value
    import phonenumbers

    hint = "write it with + and the country code, such as +33612345678"
    if len(value) > 60:
        raise _invalid("phone", f"has {len(value)} characters", hint)
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException as error:
        more = "" if region else ", or set the default region"
        raise _invalid("phone", f"is not a phone number: {str(error).rstrip('.').lower()}", hint + more) from None
    if not phonenumbers.is_possible_number(number):
        raise _invalid("phone", "has a length that no number of its country has", hint)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
