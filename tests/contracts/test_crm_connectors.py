"""What every CRM connector does; what one cannot, it says in its capabilities, and refuses cleanly."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from stands import Stand
from tailorbird.connectors.rest import (
    AuthExpired,
    AuthRevoked,
    Refused,
    RemoteConflict,
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    Transient,
    Unsupported,
)
from tailorbird.crm.model import ACTIVITY_KINDS, Activity, Record, Row
from tailorbird.crm.port import Filters

STANDS = sorted(p.stem for p in (Path(__file__).parents[1] / "stands").glob("*.py") if p.stem != "__init__")


@pytest.fixture(params=STANDS)
def stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    with import_module(f"stands.{request.param}").stand() as made:
        yield made
        made.connector.close()


def row(stand: Stand, who: str, **values: object) -> Row:
    first, _, last = who.partition(".")
    told = {"email": f"{who}@contract.example", "first_name": first.title(), "last_name": (last or "Test").title()}
    return Row(key=f"make {who}", values={**told, **stand.extra, **values}, match={"email": told["email"]})


def made(stand: Stand, who: str, **values: object) -> str:
    id = stand.connector.create(row(stand, who, **values)).id
    assert id
    return id


def everybody(stand: Stand, cursor: str | None) -> tuple[dict[str, Record], str]:
    found: dict[str, Record] = {}
    while True:
        page = stand.connector.changes(cursor, limit=100)
        found |= {record.id: record for record in page.records}
        assert page.cursor is not None
        cursor = page.cursor
        if not page.more:
            return found, cursor


def test_the_connector_says_who_we_are_and_what_it_can(stand: Stand) -> None:
    connector = stand.connector
    assert connector.test().account
    assert connector.capabilities.provider == connector.provider
    assert connector.capabilities.objects
    assert set(connector.capabilities.activities) <= ACTIVITY_KINDS


def test_what_is_made_is_read_by_id_and_found_by_address_in_any_case(stand: Stand) -> None:
    id = made(stand, "ann.lee")
    stand.settle()
    read = stand.connector.get(id)
    assert read is not None
    assert (read.id, read.email, read.first_name, read.last_name) == (id, "ann.lee@contract.example", "Ann", "Lee")
    assert [record.id for record in stand.connector.find(email="Ann.Lee@contract.example")] == [id]
    assert stand.connector.find(email="nobody@contract.example") == []


def test_nobody_is_none(stand: Stand) -> None:
    id = made(stand, "shape.of.ids")
    nobody = "".join("9" if c.isdigit() else c for c in id)
    if nobody == id:
        nobody = id[:-1] + "8"
    assert stand.connector.get(nobody) is None


def test_search_finds_by_name(stand: Stand) -> None:
    if not stand.connector.capabilities.search:
        with pytest.raises(Unsupported):
            stand.connector.search("x")
        return
    id = made(stand, "zebulon.quist")
    made(stand, "other.person")
    stand.settle()
    assert [record.id for record in stand.connector.search("zebulon")] == [id]


def test_a_second_record_with_an_address_is_a_conflict_that_names_the_first(stand: Stand) -> None:
    if not stand.connector.capabilities.unique_email:
        pytest.skip("this CRM lets two records have one address: its connector matches before it makes")
    id = made(stand, "ann.lee")
    stand.settle()
    with pytest.raises(RemoteConflict) as conflict:
        stand.connector.create(row(stand, "ann.lee"))
    assert conflict.value.existing == id


def test_an_update_changes_what_it_names_and_nothing_else(stand: Stand) -> None:
    id = made(stand, "ann.lee")
    stand.connector.update(Row(key="u", id=id, values={"first_name": "Anna"}))
    read = stand.connector.get(id)
    assert read is not None
    assert (read.first_name, read.last_name, read.email) == ("Anna", "Lee", "ann.lee@contract.example")


def test_updating_nobody_is_not_found(stand: Stand) -> None:
    id = made(stand, "ann.lee")
    if stand.delete is None:
        pytest.skip("nobody can be deleted here")
    stand.delete(id)
    with pytest.raises(RemoteNotFound):
        stand.connector.update(Row(key="u", id=id, values={"first_name": "Anna"}))


def test_lists_are_added_to_or_replaced(stand: Stand) -> None:
    if not stand.connector.capabilities.lists:
        pytest.skip("this CRM has no list that a person's tags could be kept in")
    id = made(stand, "ann.lee", tags=["one"])
    stand.connector.update(Row(key="u1", id=id, values={"tags": ["two"]}), lists="merge")
    read = stand.connector.get(id)
    assert read is not None
    assert set(read.tags) == {"one", "two"}
    stand.connector.update(Row(key="u2", id=id, values={"tags": ["three"]}), lists="replace")
    read = stand.connector.get(id)
    assert read is not None
    assert set(read.tags) == {"three"}


def test_many_rows_are_each_answered_in_order(stand: Stand) -> None:
    known = made(stand, "known.person")
    stand.settle()
    rows = [row(stand, "new.one"), row(stand, "known.person", first_name="Knut"), row(stand, "new.two")]
    if stand.bad is not None:
        rows.insert(1, row(stand, "bad.row", **stand.bad))
    results = stand.connector.upsert_many(rows)
    assert [result.key for result in results] == [r.key for r in rows]
    by_key = {result.key: result for result in results}
    assert by_key["make known.person"].id == known
    assert not by_key["make known.person"].created
    assert all(by_key[f"make {who}"].created and not by_key[f"make {who}"].error for who in ("new.one", "new.two"))
    if stand.bad is not None:
        assert by_key["make bad.row"].error
    read = stand.connector.get(known)
    assert read is not None
    assert read.first_name == "Knut"


def test_a_field_that_the_crm_drops_without_a_word_is_told(stand: Stand) -> None:
    if stand.drops is None:
        pytest.skip("this CRM refuses what it does not keep")
    id = made(stand, "ann.lee")
    with stand.drops("title"):
        assert stand.connector.update(Row(key="u", id=id, values={"title": "CEO"})).dropped == ("title",)


def test_changes_give_everybody_and_then_only_what_changed(stand: Stand) -> None:
    ids = {made(stand, f"person.n{number}") for number in range(7)}
    stand.settle()
    found, cursor = everybody(stand, None)
    assert ids <= set(found)
    changed = sorted(ids)[2]
    stand.connector.update(Row(key="u", id=changed, values={"first_name": "Changed"}))
    new = made(stand, "late.comer")
    stand.settle()
    later, end = everybody(stand, cursor)
    assert {changed, new} <= set(later)
    assert later[changed].first_name == "Changed"
    assert {changed, new} <= set(everybody(stand, cursor)[0])  # a cursor may be read from again
    assert isinstance(end, str)


def test_deletions_are_seen(stand: Stand) -> None:
    if not stand.connector.capabilities.deletions or stand.delete is None:
        pytest.skip("this CRM does not tell of deletions when it is read")
    id = made(stand, "gone.soon")
    stand.settle()
    _, cursor = everybody(stand, None)
    stand.delete(id)
    stand.settle()
    found, _ = everybody(stand, cursor)
    assert found[id].deleted
    assert stand.connector.get(id) is None


def test_a_query_gives_exactly_those_for_whom_it_holds(stand: Stand) -> None:
    paris = made(stand, "ann.paris", city="Paris")
    made(stand, "ben.oslo", city="Oslo")
    stand.settle()
    page = stand.connector.query(Filters(equals={"city": "Paris"}))
    assert paris in {record.id for record in page.records}
    assert {record.city for record in page.records} == {"Paris"}


def test_activities_are_written_once_however_often_they_are_sent(stand: Stand) -> None:
    kinds = sorted(stand.connector.capabilities.activities)
    if not kinds:
        pytest.skip("this CRM takes no activities")
    id = made(stand, "ann.lee")
    stand.settle()
    at = stand.now() - 1000
    sent = [Activity(key=f"act-{kind}", kind=kind, record=id, at=at, subject=f"About {kind}", body="a <b> & c") for kind in kinds]
    first = stand.connector.log_activities(sent)
    assert [item.key for item in first] == [item.key for item in sent]
    assert all(item.id and not item.error for item in first), first
    stand.settle()
    again = stand.connector.log_activities(sent)
    assert all(item.id and not item.error for item in again), again
    assert stand.activities is not None
    assert len(stand.activities(id)) == len(kinds)


def test_an_activity_of_nobody_fails_alone(stand: Stand) -> None:
    kinds = sorted(stand.connector.capabilities.activities)
    if not kinds or stand.delete is None:
        pytest.skip("this CRM takes no activities, or nobody can be deleted")
    id, gone = made(stand, "ann.lee"), made(stand, "ben.gone")
    stand.settle()
    stand.delete(gone)
    sent = [
        Activity(key=f"k{n}", kind=kinds[0], record=who, at=stand.now(), subject="s", body="b")
        for n, who in enumerate((id, gone))
    ]
    good, bad = stand.connector.log_activities(sent)
    assert good.id
    assert bad.error


def test_an_outage_is_transient_and_passes(stand: Stand) -> None:
    with stand.down(), pytest.raises(Transient):
        stand.connector.test()
    assert stand.connector.test().account


def test_revoked_credentials_are_told_as_such(stand: Stand) -> None:
    with stand.revoked(), pytest.raises((AuthExpired, AuthRevoked)) as refused:
        stand.connector.test()
    assert refused.value.hint


def test_fields_are_told(stand: Stand) -> None:
    fields = stand.connector.fields()
    assert len({found.name for found in fields}) == len(fields) > 3
    assert any("mail" in found.name.lower() for found in fields)


def test_an_opt_out_is_written_and_read(stand: Stand) -> None:
    id = made(stand, "ann.lee")
    record = stand.connector.get(id)
    assert record is not None
    for channel in ("email", "sms", "carrier pigeon"):
        if channel in stand.connector.capabilities.consent:
            stand.connector.set_consent(record, channel, False)
            read = stand.connector.get(id)
            assert read is not None
            assert read.consents.get(f"{channel}/marketing") is False
        else:
            with pytest.raises(Unsupported):
                stand.connector.set_consent(record, channel, False)


def test_segments_have_their_members(stand: Stand) -> None:
    ann, ben = made(stand, "ann.lee"), made(stand, "ben.oz")
    stand.settle()
    if stand.connector.capabilities.segments is None:
        with pytest.raises(Unsupported):
            stand.connector.set_members("vip", adding=[ann])
        return
    assert stand.members is not None
    assert not any(item.error for item in stand.connector.set_members("vip", adding=[ann, ben]))
    assert stand.members("vip") == {ann, ben}
    assert not any(item.error for item in stand.connector.set_members("vip", removing=[ben]))
    assert stand.members("vip") == {ann}


def test_webhooks_are_the_vendors_own_and_fresh(stand: Stand) -> None:
    connector = stand.connector
    if not connector.capabilities.webhooks or stand.signed is None:
        with pytest.raises(Unsupported):
            connector.subscribe("https://example.com/hook")
        return
    id = made(stand, "ann.lee")
    call = stand.signed(id)
    connector.verify_webhook(call, stand.now())
    assert [notice.record for notice in connector.parse_webhook(call)] == [id]
    assert all(notice.id for notice in connector.parse_webhook(call))
    if stand.stale_after is not None:
        with pytest.raises(Refused):
            connector.verify_webhook(call, stand.now() + stand.stale_after)
    for forged in stand.forged(call):
        assert forged != call
        with pytest.raises(Refused):
            connector.verify_webhook(forged, stand.now())


def test_what_cannot_be_read_in_a_webhook_is_refused_in_words(stand: Stand) -> None:
    if not stand.connector.capabilities.webhooks or stand.signed is None:
        pytest.skip("this CRM sends no webhooks")
    call = stand.signed(made(stand, "ann.lee"))
    broken = type(call)(method=call.method, url=call.url, headers=call.headers, body=b"\xff{nonsense")
    with pytest.raises((RemoteInvalid, Refused)):
        stand.connector.parse_webhook(broken)


def test_errors_name_no_person(stand: Stand) -> None:
    email = "private.person@contract.example"
    with stand.down(), pytest.raises(RemoteError) as failed:
        stand.connector.find(email=email)
    assert "private" not in f"{failed.value!r} {failed.value} {failed.value.hint} {stand.connector!r}"
