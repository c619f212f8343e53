"""How durations, instants, percentages and quoted text are written and read back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from tailorbird.core.context import DAY, HOUR, MINUTE, SECOND, WEEK
from tailorbird.expr.limits import MAX_NUMBER

__all__ = [
    "duration_of", "duration_text", "instant_text", "number_text", "percent_of", "percent_text",
    "quoted",
]  # fmt: skip

_UNITS: Final = {"w": WEEK, "d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": 1}
_DURATION: Final = re.compile(r"-?(?:[0-9]{1,15}(?:ms|[smhdw]))+")
_PART: Final = re.compile(r"([0-9]+)(ms|[smhdw])")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "`": "\\`", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def duration_of(text: str) -> int | None:
    """Return the milliseconds of ``7d``, ``1d12h``, ``-500ms``; None when it is not a duration or beyond 1e15 ms.

    >>> duration_of("1d12h"), duration_of("2w"), duration_of("7 days")
    (129600000, 1209600000, None)
    """
    if not _DURATION.fullmatch(text):
        return None
    total = sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(text))
    if total > MAX_NUMBER:
        return None
    return -total if text.startswith("-") else total


def duration_text(ms: int) -> str:
    """Return the shortest usual way to write a duration.

    >>> duration_text(129_600_000), duration_text(604_800_000), duration_text(90_061_001), duration_text(0)
    ('36h', '7d', '1d1h1m1s1ms', '0s')
    """
    if ms < 0:
        return "-" + duration_text(-ms)
    if ms == 0:
        return "0s"
    if ms % DAY == 0:
        return f"{ms // DAY}d"
    for unit in ("h", "m", "s", "ms"):
        if ms % _UNITS[unit] == 0 and ms // _UNITS[unit] <= 120:
            return f"{ms // _UNITS[unit]}{unit}"
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, ms = divmod(ms, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def instant_text(ms: int) -> str:
    """Return an instant as a date, or as a date and time in UTC when it is not midnight.

    >>> instant_text(86_400_000), instant_text(1_500)
    ('1970-01-02', '1970-01-01T00:00:01.500Z')
    """
    moment = _EPOCH + timedelta(milliseconds=ms)
    if ms % DAY == 0:
        return moment.strftime("%Y-%m-%d")
    return moment.isoformat(timespec="milliseconds" if ms % SECOND else "seconds").replace("+00:00", "Z")


def number_text(value: float) -> str:
    """Return the shortest text that reads back as the same double.

    >>> number_text(3.0), number_text(0.1), number_text(1e22)
    ('3', '0.1', '1e+22')
    """
    text = repr(float(value) + 0.0)
    return text.removesuffix(".0")


def percent_of(text: str) -> float:
    """Return the value of ``10%`` (0.1): the double nearest to the exact hundredth."""
    return float(text.removesuffix("%") + "e-2")


def percent_text(value: float) -> str:
    """Return a number as a percentage that reads back as the same double.

    >>> percent_text(0.1), percent_of(percent_text(0.07))
    ('10%', 0.07)
    """
    digits = format(Decimal(repr(float(value) + 0.0)).scaleb(2), "f")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return digits + "%"


def quoted(text: str, quote: str = '"') -> str:
    r"""Return the text between quotes, escaped so that it reads back as it is.

    >>> print(quoted('say "hi"'), quoted("odd name", "`"))
    "say \"hi\"" `odd name`
    """
    body = []
    for letter in text:
        if letter == quote or (letter in _ESCAPES and letter not in '"`'):
            body.append(_ESCAPES[letter])
        elif letter < " " or "\x7f" <= letter <= "\x9f" or letter in "\u2028\u2029\ufeff":
            body.append(f"\\u{ord(letter):04x}")
        else:
            body.append(letter)
    return quote + "".join(body) + quote
