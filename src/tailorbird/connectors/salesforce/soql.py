"""Questions to Salesforce: SOQL and SOSL put together from parts that are checked or escaped, never from text as it came.

Source: SOQL and SOSL Reference, "Quoted String Escape Sequences", "Date Formats and Date Literals", "Reserved Characters".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from tailorbird.core.event import Json
from tailorbird.errors import InvalidInput

__all__ = ["column", "either", "finding", "instant", "literal", "one_of", "read_instant", "select"]

_ESCAPES: Final = str.maketrans({
    "\\": "\\\\", "'": "\\'", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f",
})  # fmt: skip
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*){0,4}")
_RESERVED: Final = re.compile(r"""([?&|!{}\[\]()^~*:\\"'+\-])""")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]+")
_OPERATORS: Final = frozenset({"and", "or", "not"})


def column(name: str) -> str:
    """Return the name of a field or an object as it is; raise ``InvalidInput`` for what is none.

    >>> column("Account.Name"), column("Plan__c")
    ('Account.Name', 'Plan__c')
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput("that is no name of a field in Salesforce.", hint="Names are letters, digits and _, such as Plan__c.")
    return name


def literal(value: Json) -> str:
    """Return a value as SOQL has it.

    >>> literal("O'Neil"), literal(True), literal(None), literal(1.5)
    ("'O\\\\'Neil'", 'true', 'null', '1.5')
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return "'" + value.replace("\x00", "").translate(_ESCAPES) + "'"
    raise InvalidInput("only texts, numbers and truth values can be asked for in Salesforce.")


def one_of(name: str, values: Iterable[str]) -> str:
    """Return the condition that a field has one of some values.

    >>> one_of("Id", ["a", "b"])
    "Id IN ('a', 'b')"
    """
    return f"{column(name)} IN ({', '.join(literal(value) for value in values)})"


def either(conditions: Sequence[str]) -> str:
    """Return the condition that one of some holds.

    >>> either(["A = 1", "B = 2"]), either(["A = 1"])
    ('(A = 1 OR B = 2)', 'A = 1')
    """
    return f"({' OR '.join(conditions)})" if len(conditions) > 1 else conditions[0]


def instant(at: int) -> str:
    """Return an instant (ms) as a SOQL literal: whole seconds, which is all that Salesforce keeps, unless there is more.

    >>> instant(1_800_000_000_000), instant(1_800_000_000_042)
    ('2027-01-15T08:00:00Z', '2027-01-15T08:00:00.042Z')
    """
    text = datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{at % 1000:03}Z" if at % 1000 else f"{text}Z"


def read_instant(text: Json) -> int | None:
    """Return an instant of an answer in ms; None for what is none.

    >>> read_instant("2027-01-15T08:00:00.000+0000"), read_instant("2027-01-15"), read_instant(None)
    (1800000000000, 1799971200000, None)
    """
    if not isinstance(text, str):
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp() * 1000)


def select(
    names: Sequence[str], source: str, *, where: Sequence[str] = (), order: Sequence[str] = (), limit: int | None = None
) -> str:
    """Return a question. ``where`` are conditions made by this module's functions, all of which have to hold.

    >>> select(["Id"], "Contact", where=["Email = " + literal("a@b.c")], order=["Id"], limit=2)
    "SELECT Id FROM Contact WHERE Email = 'a@b.c' ORDER BY Id LIMIT 2"
    """
    text = " ".join(["SELECT", ", ".join(map(column, names)), "FROM", column(source)])
    if where:
        text += " WHERE " + " AND ".join(where)
    if order:
        text += " ORDER BY " + ", ".join(map(column, order))
    return text if limit is None else f"{text} LIMIT {limit}"


def finding(text: str, returning: Sequence[tuple[str, Sequence[str], str]], *, limit: int) -> str | None:
    """Return a search for words, the last of which may go on; None where too little is given to search for.

    ``returning`` are (object, fields, condition). Nothing in the text is taken for an operator or a wildcard.

    >>> finding("ann (le", [("Contact", ["Id"], "")], limit=5)
    'FIND {ann \\\\(le*} IN ALL FIELDS RETURNING Contact(Id LIMIT 5)'
    """
    words = _CONTROL.sub(" ", text)[:200].split()
    escaped = [f'"{word}"' if word.casefold() in _OPERATORS else _RESERVED.sub(r"\\\1", word) for word in words]
    if len("".join(words)) < 2 or not any(character.isalnum() for character in text):
        return None
    if not escaped[-1].startswith('"'):
        escaped[-1] += "*"
    wanted = ", ".join(
        f"{column(source)}({', '.join(map(column, names))}{' WHERE ' + where if where else ''} LIMIT {limit})"
        for source, names, where in returning
    )
    return f"FIND {{{' '.join(escaped)}}} IN ALL FIELDS RETURNING {wanted}"
