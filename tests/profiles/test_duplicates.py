"""Whether two people may be one."""

from __future__ import annotations

from typing import Any

import pytest

from tailorbird.profiles.duplicates import Side, compare


def side(*emails: str, **attributes: Any) -> Side:
    return Side(attributes, emails)


ANN = side("ann.smith@acme.com", first_name="Ann", last_name="Smith", company="Acme Inc.", phone="+33 6 12 34 56 78")


@pytest.mark.parametrize(
    ("other", "least", "most"),
    [
        (side("annsmith@acme.com", name="Ann Smith"), 0.9, 1.0),
        (side("as@acme.com", name="SMITH Ann"), 0.75, 0.9),
        (side("x@other.org", name="Ann Smith", phone="0033612345678"), 0.9, 1.0),
        (side("x@gmail.com", name="Ann Smith", company="acme"), 0.7, 0.85),
        (side("x@gmail.com", name="Ann Smith"), 0.6, 0.7),
        (side("bob@acme.com", name="Bob Jones", company="Acme"), 0.0, 0.5),
        (side("bob@gmail.com"), 0.0, 0.0),
        (side(), 0.0, 0.0),
    ],
)
def test_the_more_they_share_the_higher_the_score(other: Side, least: float, most: float) -> None:
    score, reasons = compare(ANN, other)
    assert least <= score <= most, (score, reasons)
    assert (score == compare(other, ANN)[0]) and (score > 0) <= bool(reasons)


def test_everything_has_its_reason() -> None:
    _, reasons = compare(ANN, ANN)
    assert reasons == ("the same name", "the same company", "the same phone", "the same mailbox but for dots, digits or a tag")


def test_people_at_a_public_mail_domain_share_nothing_by_it() -> None:
    assert compare(side("ann@gmail.com"), side("bob@gmail.com")) == (0.0, ())


def test_values_of_other_kinds_are_passed_over() -> None:
    assert compare(side(name=5, company=["x"], phone=7), side(name=None, company=["x"], phone=7)) == (0.0, ())
