"""What Zoho answers: records in neutral words, rows with a status of their own, and errors in either of two forms."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tailorbird.connectors.rest import (
    Answer,
    AuthExpired,
    Forbidden,
    Locked,
    QuotaExhausted,
    RateLimited,
    RemoteConflict,
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    Transient,
)
from tailorbird.core.context import MINUTE
from tailorbird.core.event import Json
from tailorbird.crm.model import NEUTRAL, Record

__all__ = ["FIELDS", "MODULES", "instant", "name_of", "record_of", "refuse", "row_error", "stamp", "values_of"]

MODULES: Final = ("Contacts", "Leads")
"""The modules that stand for people, the default first."""

_COMMON: Final = {
    "first_name": "First_Name", "last_name": "Last_Name", "email": "Email", "phone": "Phone", "owner": "Owner", "tags": "Tag",
}  # fmt: skip
FIELDS: Final[Mapping[str, Mapping[str, str]]] = {
    "Contacts": {
        **_COMMON, "company": "Account_Name", "title": "Title", "city": "Mailing_City", "state": "Mailing_State",
        "country": "Mailing_Country", "postal_code": "Mailing_Zip",
    },
    "Leads": {
        **_COMMON, "company": "Company", "title": "Designation", "city": "City", "state": "State", "country": "Country",
        "postal_code": "Zip_Code", "status": "Lead_Status",
    },
}  # fmt: skip
"""Zoho's names of the neutral fields, by module. A contact has no status of its own."""

_CODES: Final[Mapping[str, type[RemoteError]]] = {
    "INVALID_TOKEN": AuthExpired, "AUTHENTICATION_FAILURE": AuthExpired, "OAUTH_SCOPE_MISMATCH": Forbidden, "NO_PERMISSION": Forbidden,
    "AUTHORIZATION_FAILED": Forbidden, "DUPLICATE_DATA": RemoteConflict, "RECORD_LOCKED": Locked, "TOO_MANY_REQUESTS": RateLimited,
    "RATE_LIMIT_EXCEEDED": RateLimited, "INTERNAL_ERROR": Transient, "LIMIT_EXCEEDED": QuotaExhausted,
}  # fmt: skip
_HINTS: Final[Mapping[type[RemoteError], str]] = {
    AuthExpired: "Connect Zoho again.", Forbidden: "Give the connection the scope, or its user the permission, in Zoho.",
}  # fmt: skip


def refuse(answer: Answer, error: RemoteError | None) -> RemoteError | None:
    """Refine what a status says by the code of the body; 304 is an answer: nothing changed."""
    if error is None or answer.status == 304:
        return None
    told = _told(answer)
    made = row_error(told, answer.status) if told.get("code") else error
    if answer.status == 429:
        made = RateLimited("Zoho API error: 429", http_status=429, retry_after=error.retry_after or MINUTE)
    elif isinstance(error, AuthExpired) and not isinstance(made, Forbidden):
        made = AuthExpired("Zoho API error: 401 - Unauthorized", hint=_HINTS[AuthExpired], http_status=401)
    elif isinstance(error, Transient | RemoteNotFound) and type(made) is RemoteInvalid:
        return error
    return made


def _told(answer: Answer) -> Mapping[str, Any]:
    """Return the error of a body, whether it stands at the top or in the first row."""
    try:
        body: Any = answer.json()
    except ValueError:
        return {}
    if isinstance(body, dict):
        for name in ("data", "watch", "tags"):
            rows = body.get(name)
            if isinstance(rows, list) and rows and isinstance(rows[0], dict):
                return rows[0]
        return body
    return {}


def row_error(row: Mapping[str, Any], status: int) -> RemoteError:
    """Return what a row that failed (or a whole answer) means."""
    code = str(row.get("code") or "")
    details = row.get("details") if isinstance(row.get("details"), dict) else {}
    assert isinstance(details, dict)
    field = details.get("api_name")
    kind = _CODES.get(code, RemoteInvalid)
    if code == "INVALID_DATA" and field == "id":
        kind = RemoteNotFound
    twin = details.get("duplicate_record")
    existing = details.get("id") or (twin.get("id") if isinstance(twin, dict) else None)
    named = code if code.isascii() and len(code) < 60 else "refused"
    return kind(
        f"Zoho API error: {status} - {named}", http_status=status, hint=_HINTS.get(kind, ""), sent=kind is Transient,
        fields=(field,) if isinstance(field, str) and field.isidentifier() else (),
        existing=str(existing) if kind is RemoteConflict and existing else None,
    )  # fmt: skip


def instant(text: Json) -> int | None:
    """Return ms of Zoho's time with its offset.

    >>> instant("1970-01-01T05:30:01+05:30"), instant(None)
    (1000, None)
    """
    try:
        return int(datetime.fromisoformat(str(text)).timestamp() * 1000) if text else None
    except ValueError:
        return None


def stamp(at: int) -> str:
    """Return an instant as Zoho writes it, to the second.

    >>> stamp(1_999)
    '1970-01-01T00:00:01+00:00'
    """
    return datetime.fromtimestamp(at // 1000, UTC).isoformat()


def record_of(module: str, row: Mapping[str, Any]) -> Record:
    """Return a row as a record. That nobody opted out says nothing: it is what a field holds that nobody touched."""
    told: dict[str, Any] = {}
    for name, theirs in FIELDS[module].items():
        value = row.get(theirs)
        if name == "tags":
            told[name] = tuple(str(tag.get("name")) for tag in value or () if isinstance(tag, dict))
        elif isinstance(value, dict):
            told[name] = value.get("email" if name == "owner" else "name") or value.get("name")
        elif isinstance(value, str) and value:
            told[name] = value
    emails = tuple(v for v in (told.get("email"), row.get("Secondary_Email")) if v)
    phones = tuple(v for v in (told.get("phone"), row.get("Mobile")) if v)
    names = " ".join(told[part] for part in ("first_name", "last_name") if told.get(part))
    return Record(
        id=str(row["id"]), object=module, name=names or None, emails=emails, phones=phones, fields=dict(row),
        created_at=instant(row.get("Created_Time")), updated_at=instant(row.get("Modified_Time")),
        consents={"email/marketing": False} if row.get("Email_Opt_Out") is True else {}, **told,
    )  # fmt: skip


def name_of(module: str, name: str) -> str | None:
    """Return Zoho's name of a field; None where a module has none for a neutral name."""
    return FIELDS[module].get(name) if name in NEUTRAL else name


def values_of(module: str, values: Mapping[str, Json]) -> tuple[dict[str, Json], tuple[str, ...]]:
    """Return values by Zoho's names (tags left out: they are written by their own call), and those it has no place for."""
    made: dict[str, Json] = {}
    nowhere = []
    for name, value in values.items():
        theirs = name_of(module, name)
        if theirs is None or theirs in ("Owner", "Account_Name"):  # these are records of their own, named by an id
            if isinstance(value, dict) and theirs is not None:
                made[theirs] = value
            else:
                nowhere.append(name)
        elif theirs != "Tag":
            made[theirs] = value
    return made, tuple(nowhere)
