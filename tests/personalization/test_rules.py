"""The rules of a personalization: labels, channels, what counts, what is missing."""

from __future__ import annotations

from typing import Any

import pytest

from tailorbird.core.crm import Account, Contact, CrmContext, Interaction
from tailorbird.definitions.files import read
from tailorbird.definitions.shipped import PERSONALIZATION
from tailorbird.expr.check import Schema
from tailorbird.personalization.rules import Judgement, Rules

NOW = 1_700_000_000_000
DAY = 86_400_000
SHIPPED = Rules.read(read(PERSONALIZATION)[0].spec, Schema())
CONTENT = {
    "do-not-contact": ("respect the opt-out", "account-level updates only"),
    "new-lead": ("welcome series", "onboarding tips", "product overview"),
    "engaged": ("upgrade offer", "loyalty program", "cross-sell bundle"),
    "nurture": ("education series", "case studies", "trial extension"),
}


def did(*types: str, channel: str | None = None) -> tuple[Interaction, ...]:
    """Return interactions a day apart, the first one today."""
    return tuple(Interaction(id=f"i{n}", type=type, at=NOW - n * DAY, channel=channel) for n, type in enumerate(types))


def judge(rules: Rules = SHIPPED, **context: Any) -> Judgement:
    contact = Contact(id="c", **context.pop("contact", {"consents": {"email/marketing": True}}))
    return rules.judge(rules.dressed(CrmContext(contact=contact, **context)), NOW)


def own(**spec: Any) -> Rules:
    """Return rules as a team would write them, checked."""
    (document,) = read([{"kind": "personalization", "name": "own", "labels": [{"label": "all"}], **spec}])
    return Rules.read(document.spec, Schema())


@pytest.mark.parametrize(
    ("count", "label"), [(0, "new-lead"), (1, "nurture"), (4, "nurture"), (5, "engaged"), (50, "engaged")]
)  # fmt: skip
def test_the_label_of_somebody_opted_in_follows_from_their_interactions(count: int, label: str) -> None:
    found = judge(interactions=did(*["email.opened"] * count)).segmentation
    assert (found.segment, found.interaction_count) == (label, count)
    assert found.personalization.recommended_content == CONTENT[label]


@pytest.mark.parametrize(
    "contact",
    [
        {}, {"consents": {"email/marketing": False}}, {"consents": {"email/service": True}},
        {"attributes": {"marketing_opt_in": False}}, {"attributes": {"marketing_opt_in": "yes"}},
    ],
)  # fmt: skip
def test_who_did_not_opt_in_is_not_contacted_however_engaged(contact: dict[str, Any]) -> None:
    found = judge(contact=contact, interactions=did(*["email.opened"] * 9)).segmentation
    assert (found.segment, found.personalization.recommended_content) == ("do-not-contact", CONTENT["do-not-contact"])


@pytest.mark.parametrize(
    "contact",
    [{"consents": {"sms/marketing": True}}, {"consents": {"phone/marketing": True}}, {"attributes": {"marketing_opt_in": True}}],
)
def test_an_opt_in_on_any_channel_or_as_an_attribute_is_one(contact: dict[str, Any]) -> None:
    assert judge(contact=contact).segmentation.segment == "new-lead"


def test_the_total_counts_and_not_what_is_shown() -> None:
    assert judge(interactions=did("email.opened"), total=7).segmentation.interaction_count == 7


def test_the_preferred_channel_is_the_commonest_of_the_latest() -> None:
    def channel(*types: str, rules: Rules = SHIPPED) -> str | None:
        return judge(rules, interactions=did(*types)).segmentation.personalization.preferred_channel

    assert channel("call.completed", "email.opened", "email.opened") == "email"
    assert channel("call.completed", "email.opened", "email.opened", "call.completed") == "phone"  # equally common: the latest
    assert channel("order.placed") is None and channel() is None
    assert channel(*["page.viewed"] * 20, *["email.opened"] * 40) == "web"  # only the latest twenty
    last = own(preferred_channel={"last": 1, "otherwise": "letter"}, channels={"email.*": "email", "call.*": "phone"})
    assert channel("call.completed", "email.opened", "email.opened", rules=last) == "phone"
    assert channel(rules=last) == "letter"


def test_a_channel_is_the_interactions_own_then_its_datas_then_its_types() -> None:
    rules = own(channels={"*": "other", "email.*": "mail", "email.opened": "inbox"})

    def channel(type: str = "email.opened", **more: Any) -> str | None:
        return rules.channel(Interaction(id="i", type=type, at=0, **more))

    assert channel(channel="app", data={"channel": "sms"}) == "app"
    assert channel(data={"channel": "sms"}) == "sms"
    assert channel(data={"channel": 7}) == channel(data={"channel": ""}) == channel() == "inbox"
    assert (channel("email.sent"), channel("call.completed")) == ("mail", "other")  # of several that fit, the longest


@pytest.mark.parametrize(
    ("type", "counts"),
    [
        ("email.opened", True), ("link.clicked", True), ("reply.received", True), ("website.visited", True), ("form.submitted", True),
        ("call.scheduled", True), ("call.completed", True), ("demo.attended", True), ("Order Completed", True), ("email.sent", False),
        ("email.verified", False), ("profile.updated", False), ("segment.entered", False), ("stage.changed", False),
        ("deal.won", False), ("note.added", False), ("message.failed", False), ("tag.added", False),
    ],
)  # fmt: skip
def test_what_the_contact_did_counts_and_what_was_done_to_them_does_not(type: str, counts: bool) -> None:
    assert SHIPPED.is_interaction(type) is counts


def test_only_a_star_stands_for_anything_in_a_type() -> None:
    rules = own(interactions=["a?[b].*"])
    assert rules.is_interaction("a?[b].c") and not rules.is_interaction("axb.c")


def test_what_is_missing_is_listed_in_the_order_of_the_rules() -> None:
    everything = ("email", "phone", "name", "company", "account tier", "marketing consent", "interactions")
    assert judge(contact={}).gaps == everything
    known = {"email": "a@b.c", "phone": "+33612345678", "name": "Ann", "consents": {"email/marketing": True}}
    assert judge(contact=known, account=Account(name="Acme", tier="gold"), interactions=did("call.completed")).gaps == ()
    assert judge(contact=known, account=Account(name="Acme", tier="gold"), interactions=did("order.placed")).gaps == ("channel",)
    assert "marketing consent" not in judge(contact={"attributes": {"marketing_opt_in": False}}).gaps


def test_a_condition_may_ask_whatever_a_segments_may_of_any_crm() -> None:
    labels = [
        {"label": "caller", "when": 'count(call.completed where minutes > 5, within 2d) >= 1 and plan = "pro" and has_tag("vip")'},
        {"label": "golden", "when": 'account_tier = "gold" and account.region = "EU" and preferred_channel = "phone"'},
        {"label": "rest"},
    ]  # fmt: skip
    rules = own(labels=labels, channels={"call.*": "phone"})
    call = (Interaction(id="i", type="call.completed", at=NOW - DAY, data={"minutes": 9}),)
    assert (
        judge(rules, contact={"attributes": {"plan": "pro"}, "tags": ("vip",)}, interactions=call).segmentation.segment
        == "caller"
    )
    old = (Interaction(id="i", type="call.completed", at=NOW - 3 * DAY, data={"minutes": 9}),)
    golden = Account(tier="gold", attributes={"region": "EU"})
    assert judge(rules, interactions=old, account=golden).segmentation.segment == "golden"
    assert judge(rules, interactions=old).segmentation.segment == "rest"


def test_why_is_told_in_words() -> None:
    assert judge(interactions=did(*["email.opened"] * 5)).because == "interaction_count is at least 5"
    assert judge(interactions=did("email.opened")).because == "no other rule applies"


def test_interactions_of_the_future_and_out_of_order_do_no_harm() -> None:
    mixed = tuple(Interaction(id=f"i{n}", type="email.opened", at=NOW + n * DAY) for n in (1, -3, 2, -1, 0))
    assert judge(interactions=mixed).segmentation.segment == "engaged"
