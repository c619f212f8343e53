"""The demonstration shop: always the same, large enough, and nobody real in it."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import msgspec

from tailorbird.core.context import DAY, ManualClock
from tailorbird.core.definition import Definition, Status
from tailorbird.definitions.catalog import Catalog
from tailorbird.definitions.files import read
from tailorbird.demo import DEFINITIONS, TEMPLATES, rows
from tailorbird.demo.files import write_files
from tailorbird.demo.trade import BUYERS, trade_rows
from tailorbird.engine import Engine
from tailorbird.profiles.normalise import normalise_all
from tailorbird.runtime.imports import import_events
from tailorbird.runtime.ingest import Incoming
from tailorbird.storage import open_store

END = 1_790_000_000_000


def test_the_same_seed_and_end_give_the_same_rows() -> None:
    one, two = (msgspec.json.encode(list(rows(END, seed=7, profiles=300))) for _ in range(2))
    assert one == two
    assert one != msgspec.json.encode(list(rows(END, seed=8, profiles=300)))


def test_the_shop_is_as_large_as_promised_and_ends_now() -> None:
    people, anonymous, total, last = set(), set(), 0, 0
    ids = set()
    for row in rows(END):
        total += 1
        assert END - 121 * DAY <= row["at"] <= END
        assert row["at"] >= last or row["kind"] == "company"
        last = row["at"] if row["kind"] == "person" else 0
        ids.add(row["id"])
        people.add(row["identifiers"].get("external_id"))
        anonymous.add(row["identifiers"].get("anonymous_id"))
    assert total >= 100_000 and len(ids) == total
    assert len(anonymous) >= 5_000 and len(people) >= 3_000


def test_visitors_are_anonymous_first_and_then_known_by_all_their_names() -> None:
    known: dict[str, str] = {}
    anonymous: set[str] = set()
    for row in rows(END, profiles=400):
        names = row["identifiers"]
        if row["kind"] == "company":
            continue
        if "external_id" not in names:
            anonymous.add(names["anonymous_id"])
            assert names["anonymous_id"] not in known.values()
        elif names["external_id"] not in known:
            assert row["type"] == "profile.updated" and row["data"]["attributes"]["first_name"]
            known[names["external_id"]] = names["anonymous_id"]
        else:
            assert names == {"external_id": names["external_id"], "anonymous_id": known[names["external_id"]]}
    assert len(known) > 150 and len(anonymous & set(known.values())) > 0.9 * len(known)


def test_every_identifier_is_accepted_and_belongs_to_nobody() -> None:
    for row in islice(rows(END, profiles=500), 20_000):
        normalise_all(row["identifiers"], profile_kind=row["kind"])
        assert row["identifiers"].get("email", "@example.com").endswith("@example.com")


def test_all_kinds_of_event_happen() -> None:
    kinds = Counter(row["type"] for row in rows(END, profiles=3000))
    wanted = [
        "page.viewed", "product.viewed", "cart.updated", "order.placed", "email.sent", "email.opened", "email.clicked",
        "trial.started", "trial.expired", "subscription.started", "support.ticket_opened", "profile.updated", "tag.added",
        "consent.granted", "consent.withdrawn",
    ]  # fmt: skip
    assert not [kind for kind in wanted if kinds[kind] < 5]


def test_the_shops_definitions_check_and_nothing_is_sent_by_default() -> None:
    documents = read(DEFINITIONS)
    catalog = Catalog.build(
        Definition(kind=d.kind, name=d.name, version=1, status=Status.ACTIVE, spec=d.spec, digest=d.digest, created_at=0)
        for d in documents
    )
    assert len(catalog.conditions) >= 12 and len(catalog.features) >= 12
    assert len(catalog.views) >= 3 and catalog.gates and catalog.merge_rule is not None
    assert [d.name for d in documents if d.kind == "subscription" and not d.draft] == []
    assert not [d.name for d in documents if not d.spec.get("description")]


def test_the_shop_as_files_is_what_the_bulk_importer_takes_without_a_merge(tmp_path: Path) -> None:
    files = write_files(tmp_path, END, profiles=700)
    assert [file.path.name for file in files] == ["people.jsonl", "companies.jsonl", "events.jsonl"]
    store = open_store(f"sqlite:///{tmp_path / 'tb.db'}")
    for file in files:
        report = import_events(store, file.path, dict(file.mapping), now=END)
        assert (report.rows, report.loaded, report.rejected) == (file.rows, file.rows, 0)
    assert store.count_profiles() == 700 + 60
    store.close()


def test_the_trade_is_the_same_each_time_and_makes_stages_deals_and_tasks(tmp_path: Path) -> None:
    given = list(trade_rows(END))
    assert given == list(trade_rows(END)) and len({row["id"] for row in given}) == len(given) < 100
    with Engine.open(str(tmp_path / "demo.db"), clock=ManualClock(END)) as engine:
        engine.apply(DEFINITIONS)
        engine.apply(TEMPLATES)
        assert {receipt.status for receipt in engine.take([Incoming(**row) for row in given])} == {"accepted"}
        assert engine.directory.statistics().by_status == {"engaged": 5, "converted": 1, "new": 1, "verified": 1}
        assert sorted(row.stage for row in engine.contacts.pipeline() if row.deals) == ["lost", "negotiation", "proposal", "won"]
        assert [task.title for task in engine.contacts.tasks(assignee="mia", status="open").tasks] == [
            "Send the terms of payment"
        ]
        letters = [engine.content.render("wholesale_offer", f"email:{buyer.email}").content["text"] for buyer in BUYERS[:2]]
    assert letters[0].startswith("Hi Nora") and letters[1].startswith("Dear Oskar")
