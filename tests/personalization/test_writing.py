"""The narrative: the same facts give the same sentences, and a query steers them."""

from __future__ import annotations

from typing import Any

from tailorbird.core.crm import Contact, CrmContext, Interaction
from tailorbird.personalization.rules import Personalization, Segmentation
from tailorbird.personalization.writing import Story, relevant, write

DAY = 86_400_000
ITEMS = (
    Interaction(id="3", type="call.completed", at=3 * DAY, channel="phone", data={"topic": "renewal"}),
    Interaction(id="2", type="page.viewed", at=2 * DAY, channel="web", data={"url": "/pricing"}),
    Interaction(id="1", type="email.opened", at=DAY, channel="email", data={"campaign": "pro-prices"}),
)


def story(query: str | None = None, items: tuple[Interaction, ...] = ITEMS, **contact: Any) -> Story:
    named = contact or {"name": "Ann Lee", "title": "CTO", "company": "Acme"}
    found = Segmentation(
        segment="nurture", interaction_count=len(items), tags=(), account_tier=None,
        personalization=Personalization(preferred_channel="phone" if items else None, recommended_content=("case studies",)),
    )  # fmt: skip
    return Story(
        CrmContext(contact=Contact(id="c", **named), interactions=items), found, "no other rule applies", ("email",), query
    )


def test_it_says_who_why_how_what_and_what_is_missing() -> None:
    assert write(story()) == (
        "Ann Lee, CTO at Acme, has 3 interactions on record; the latest is call.completed on 1970-01-04. "
        "The segment is nurture: no other rule applies. The channel used most is phone. Recommended: case studies. "
        "Not known: email."
    )


def test_somebody_without_a_name_or_an_interaction_is_told_of_too() -> None:
    text = write(story(items=(), email="a@b.c"))
    assert text.startswith("This contact has no interaction on record. ") and "No channel can be preferred yet." in text


def test_a_query_brings_what_it_asks_for_to_the_front() -> None:
    text = write(story("which offer should I make?"))
    assert text.index("Recommended") < text.index("The segment is")
    text = write(story("How do I reach her?"))
    assert text.index("The channel") < text.index("The segment is")
    assert "to do with" not in text


def test_a_query_tells_the_interactions_in_which_its_words_occur() -> None:
    assert [item.id for item in relevant(ITEMS, "What did she say about prices?")] == ["1"]
    assert [item.id for item in relevant(ITEMS, "the pricing page")] == ["2"]
    assert "Of the 3 latest interactions 1 has to do with it: call.completed on 1970-01-04." in write(story("about the renewal"))
    assert "None of the 3 latest interactions has to do with what was asked." in write(story("about golf"))


def test_an_instant_beyond_the_calendar_does_not_end_the_sentence() -> None:
    far = (Interaction(id="1", type="call.completed", at=10**18),)
    assert "on an unreadable date" in write(story(items=far))
