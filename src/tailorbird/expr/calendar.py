"""The calendar in UTC, by whole-number arithmetic over any instant: year, month, day, weekday and hour, and where each begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["DATE_PARTS", "civil", "day", "days_from_civil", "hour", "month", "next_boundary", "weekday", "year"]

_DAY: Final = 86_400_000
_HOUR: Final = 3_600_000


def civil(days: int) -> tuple[int, int, int]:
    """Return ``(year, month, day)`` of a day counted from 1970-01-01, in the Gregorian calendar without end.

    >>> civil(0), civil(-1), civil(19_782)
    ((1970, 1, 1), (1969, 12, 31), (2024, 2, 29))
    """
    # Count from 0000-03-01, so that the leap day is the last of its year; 400 years have 146,097 days.
    era, of_era = divmod(days + 719_468, 146_097)
    years = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * years + years // 4 - years // 100)
    shifted = (5 * of_year + 2) // 153
    month_ = shifted + 3 if shifted < 10 else shifted - 9
    return years + era * 400 + (month_ <= 2), month_, of_year - (153 * shifted + 2) // 5 + 1


def days_from_civil(year_: int, month_: int, day_: int) -> int:
    """Return the day counted from 1970-01-01; the inverse of ``civil``.

    >>> days_from_civil(1970, 1, 1), days_from_civil(2024, 2, 29)
    (0, 19782)
    """
    shifted = year_ - (month_ <= 2)
    era, of_era = divmod(shifted, 400)
    of_year = (153 * (month_ - 3 if month_ > 2 else month_ + 9) + 2) // 5 + day_ - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def year(instant: int) -> float:
    """Return the year, as a number."""
    return float(civil(instant // _DAY)[0])


def month(instant: int) -> float:
    """Return the month, 1 to 12."""
    return float(civil(instant // _DAY)[1])


def day(instant: int) -> float:
    """Return the day of the month, 1 to 31."""
    return float(civil(instant // _DAY)[2])


def weekday(instant: int) -> float:
    """Return the day of the week, 1 (Monday) to 7 (Sunday)."""
    return float((instant // _DAY + 3) % 7 + 1)


def hour(instant: int) -> float:
    """Return the hour of the day, 0 to 23."""
    return float(instant % _DAY // _HOUR)


DATE_PARTS: Final[Mapping[str, Callable[[int], float]]] = {
    "year": year,
    "month": month,
    "day": day,
    "weekday": weekday,
    "hour": hour,
}


def next_boundary(part: str, instant: int) -> int:
    """Return the first instant after this one at which the date part begins anew.

    >>> next_boundary("hour", 5), next_boundary("month", 0) == 31 * 86_400_000
    (3600000, True)
    """
    if part == "hour":
        return (instant // _HOUR + 1) * _HOUR
    days = instant // _DAY
    if part == "year":
        return days_from_civil(civil(days)[0] + 1, 1, 1) * _DAY
    if part == "month":
        this_year, this_month, _ = civil(days)
        return days_from_civil(this_year + this_month // 12, this_month % 12 + 1, 1) * _DAY
    return (days + 1) * _DAY
