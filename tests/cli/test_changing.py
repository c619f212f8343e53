"""tag, consent, merge, unmerge and forget on the command line."""

from __future__ import annotations

from cli.terminal import Terminal, run


def test_tags_are_given_and_taken_away(shop: Terminal) -> None:
    assert shop("tag", "ann", "vip", "beta") == "tags: vip, beta\n"
    assert shop.json("tag", "ann", "vip", "--remove") == {"tags": ["beta"]}
    assert "No profile" in shop.fails("tag", "nobody", "vip")


def test_an_opt_out_is_only_undone_by_the_persons_own_word(shop: Terminal) -> None:
    assert shop("consent", "ann", "email", "marketing", "--proof", "newsletter form") == "email/marketing: given\n"
    assert shop("consent", "ann", "email", "marketing", "--withdraw") == "email/marketing: not given\n"
    shop("consent", "ann", "email", "marketing")
    assert shop.json("profile", "ann")["consents"]["email/marketing"] is False
    assert shop.json("consent", "ann", "email", "marketing", "--explicit") == {"consents": {"email/marketing": True}}


def test_a_merge_is_recorded_and_undone(shop: Terminal) -> None:
    said = shop("merge", "ann", "ben", "--reason", "the same person")
    merge_id = said.split()[-1]
    assert said == f"merged; undo with: tailorbird unmerge {merge_id}\n"
    assert len(shop.json("timeline", "ben", "--limit", "100")["events"]) == len(
        shop.json("timeline", "ann", "--limit", "100")["events"]
    )
    (listed,) = shop.json("merges", "ann")
    assert (listed["id"], listed["reason"]) == (merge_id, "the same person")
    assert merge_id in shop("merges", "ann")
    assert shop("unmerge", merge_id) == "undone\n"
    assert shop.json("profile", "ann")["id"] != shop.json("profile", "ben")["id"]
    assert shop.json("merges", "ann")[0]["undone_at"] is not None
    assert "merge" in shop.fails("unmerge", merge_id)
    assert "No profile" in shop.fails("merge", "ann", "nobody")


def test_forgetting_asks_first_and_leaves_nothing(shop: Terminal) -> None:
    assert "--yes" in shop.fails("forget", "ann")
    assert run("-d", shop.database, "forget", "ann", "--json").json["error"]["hint"]
    assert shop.json("profile", "ann")["id"]
    assert shop("forget", "ann", "--yes") == "forgotten\n"
    assert "No profile" in shop.fails("profile", "ann")
    assert [m["name"] for m in shop.json("segments", "members", "visitor")["members"]] == ["ben"]
