"""The narrative: the same facts give the same sentences, and a query steers them."""

from __future__ import annotations

from typing import Any

from tailorbird.core.crm import Contact, CrmContext, Interaction
from tailorbird.engine.telling import Story, relevant, tell
from tailorbird.personalization.rules import Personalization, Segmentation
from tailorbird.ports import NoAnswer

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
        CrmContext(contact=Contact(id="c", **named), interactions=items),
        found,
        "no other rule applies",
        ("email",),
        query,
        4 * DAY,
    )


def write(one: Story) -> str:
    return tell(one).text


def test_it_says_who_why_how_what_and_what_is_missing() -> None:
    found = tell(story(first_name="Ann", name="Ann Lee", title="CTO", company="Acme", consents={"email/marketing": True}))
    assert (found.author, found.note) == ("rules", "")
    assert found.text == (
        "Ann Lee, CTO at Acme, is in one segment, “nurture”. Ann is in “nurture”, because no other rule applies.\n\n"
        "Yesterday Ann had a call, the latest of three interactions; before that Ann viewed a page and opened an e-mail.\n\n"
        "Write to Ann by phone. What suits now: case studies. Not known so far: email; do not write as if you knew."
    )


def test_who_never_agreed_to_marketing_is_sent_none() -> None:
    assert "They have not agreed to marketing: send none. What has to be written, write by phone." in write(story())
    assert "not agreed" not in write(story(attributes={"marketing_opt_in": True}))
    assert "withdrew consent for email marketing" in write(story(consents={"email/marketing": False}))


def test_somebody_without_a_name_or_an_interaction_is_told_of_too() -> None:
    text = write(story(items=(), email="a@b.c"))
    assert text.startswith("This person is in one segment, “nurture”.") and "Nothing is known of what they did so far." in text


def test_a_query_brings_what_it_asks_for_to_the_front() -> None:
    text = write(story("which offer should I make?"))
    assert text.index("case studies") < text.index("no other rule")
    text = write(story("why that channel?"))
    assert text.index("no other rule") < text.index("by phone")
    assert "to do with" not in text


class Model:
    """A language model that answers with what it is given, or not at all."""

    def __init__(self, **answer: str) -> None:
        self.answer = answer

    def ask(self, task: str, facts: str, shape: Any, *, hidden: Any) -> Any:
        assert "a@b.c" not in facts
        if not self.answer:
            raise NoAnswer("timeout", "it is asleep")
        return shape(**self.answer)


def test_a_model_writes_where_there_is_one_and_the_rules_where_it_fails() -> None:
    one = story("about the renewal", first_name="Ann", email="a@b.c")
    found = tell(one, Model(why="Ann is in nurture.", say="Write by phone."))  # type: ignore[arg-type]
    assert found.author == "model" and found.text.endswith("Ann is in nurture.\n\nWrite by phone.")
    assert found.text.startswith("Of the 3 latest interactions 1 has to do with it")
    found = tell(one, Model())  # type: ignore[arg-type]
    assert (found.author, found.note) == ("rules", "Written by rules, because it is asleep.")


def test_a_query_tells_the_interactions_in_which_its_words_occur() -> None:
    assert [item.id for item in relevant(ITEMS, "What did she say about prices?")] == ["1"]
    assert [item.id for item in relevant(ITEMS, "the pricing page")] == ["2"]
    assert "Of the 3 latest interactions 1 has to do with it: call.completed on 4 January 1970." in write(
        story("about the renewal")
    )
    assert "None of the 3 latest interactions has to do with what was asked." in write(story("about golf"))


def test_an_instant_beyond_the_calendar_does_not_end_the_sentence() -> None:
    far = (Interaction(id="1", type="call.completed", at=10**18),)
    assert "31 December 9999" in write(story("about a call that was completed", items=far))
