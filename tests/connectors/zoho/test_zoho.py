"""What is particular about Zoho: rows with a status of their own, tokens after 2,000 rows, leads, channels that end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from simulated import served
from tailorbird.connectors.rest import Forbidden, RateLimited, Refused, RemoteConflict, RemoteError, Retry, bearer_auth
from tailorbird.connectors.rest.transport import Answer
from tailorbird.connectors.zoho import ZohoConnector
from tailorbird.connectors.zoho.answers import refuse
from tailorbird.core.context import DAY
from tailorbird.crm.model import Activity, Row, Subscribed, WebhookCall
from tailorbird.crm.port import Filters
from tailorbird.simulators import ZohoSimulator


@contextmanager
def zoho(**options: object) -> Iterator[tuple[ZohoConnector, ZohoSimulator]]:
    app = ZohoSimulator(**options)  # type: ignore[arg-type]
    with served(app) as url:
        auth = bearer_auth(app.key, scheme="Zoho-oauthtoken")
        crm = ZohoConnector("zoho", url, auth=auth, webhook_secret="t0ken", retry=Retry(tries=1), sleep=lambda _: None)
        yield crm, app
        crm.close()


def row(who: str, **values: object) -> Row:
    told = {"email": f"{who}@zoho.example", "last_name": who.title(), **values}
    return Row(key=who, values=told, match={"email": f"{who}@zoho.example"})


def test_after_2000_rows_pages_go_by_token_and_everybody_is_read_once() -> None:
    with zoho(people=2_350) as (crm, app):
        ids, cursor, more = [], None, True
        while more:
            page = crm.changes(cursor)
            ids += [record.id for record in page.records]
            cursor, more = page.cursor, page.more
        assert sorted(ids) == sorted(app.rows["Contacts"])
        tokens = [one for one in app.log if "page_token" in one.query]
        assert len(tokens) == 2
        assert not any("page" in one.query for one in tokens)


def test_a_refused_row_leaves_the_others_of_its_call_written() -> None:
    with zoho() as (crm, app):
        good, bad, other = crm.upsert_many([row("ann"), row("ben", last_name=None), row("eve")])
        assert good.created and other.created
        assert (bad.error, bad.id) == ("remote_invalid", None)
        assert "MANDATORY_NOT_FOUND" in bad.detail
        assert len([one for one in app.log if one.path.endswith("/upsert")]) == 1
        again = crm.upsert_many([row("ann", title="CEO")])[0]
        assert (again.id, again.created) == (good.id, False)


def test_a_duplicate_names_the_record_there_is() -> None:
    with zoho(unique=True) as (crm, _):
        first = crm.create(row("ann"))
        with pytest.raises(RemoteConflict) as conflict:
            crm.create(row("ann"))
        assert conflict.value.existing == first.id


def test_leads_stand_in_what_id_with_their_module_and_contacts_in_who_id() -> None:
    with zoho() as (crm, app):
        lead = crm.create(Row(key="l", object="Leads", values={"last_name": "Lee", "company": "Acme", "status": "New"})).id
        contact = crm.create(row("ann")).id
        assert lead and contact
        logged = crm.log_activities([
            Activity(key="t1", kind="task", record=lead, object="Leads", at=0), Activity(key="t2", kind="task", record=contact, at=0),
        ])  # fmt: skip
        assert all(one.id and not one.error for one in logged)
        of_lead, of_contact = app.rows["Tasks"].values()
        assert (of_lead["What_Id"], of_lead["$se_module"]) == ({"id": lead}, "Leads")
        assert of_contact["Who_Id"] == {"id": contact}
        assert "What_Id" not in of_contact
        assert not any(one.error for one in crm.set_members("vip", adding=[lead, contact]))
        assert app.rows["Leads"][lead]["Tag"][0]["name"] == "vip"
        read = crm.get(lead)
        assert read is not None
        assert (read.object, read.company, read.status) == ("Leads", "Acme", "New")


def test_no_value_or_name_becomes_part_of_a_query() -> None:
    with zoho() as (crm, _):
        crm.create(row("ann", city="O'Fallon"))
        crm.create(row("ben", city="Rome"))
        assert [r.email for r in crm.query(Filters(equals={"city": "O'Fallon"})).records] == ["ann@zoho.example"]
        assert crm.query(Filters(equals={"city": "' or id is not null or City = '"})).records == ()
        with pytest.raises(RemoteError):
            crm.query(Filters(equals={"id is not null or City": "Rome"}))


def test_nobody_opted_out_says_nothing_and_an_opt_out_is_one() -> None:
    with zoho() as (crm, _):
        id = crm.create(row("ann")).id
        record = crm.get(id or "")
        assert record is not None
        assert record.consents == {}
        crm.set_consent(record, "email", False)
        again = crm.get(record.id)
        assert again is not None
        assert again.consents == {"email/marketing": False}


def test_channels_end_within_a_week_and_are_renewed_and_closed() -> None:
    with zoho() as (crm, app):
        now = int(app.clock() * 1000)
        (opened,) = crm.subscribe("https://us.example/hook")
        assert opened.expires_at is not None
        assert 5 * DAY < opened.expires_at - now <= 7 * DAY
        (renewed,) = crm.renew([opened])
        assert renewed.id == opened.id
        assert app.channels[opened.id]["notify_url"] == "https://us.example/hook"
        crm.unsubscribe([opened, Subscribed(id="1")])
        assert not app.channels
        with pytest.raises(RemoteError):
            crm.renew([opened])


def test_a_notification_without_a_fresh_time_is_refused() -> None:
    with zoho() as (crm, app):
        crm.subscribe("https://us.example/hook")
        method, url, headers, body = app.hook("7", operation="delete")
        now = int(app.clock() * 1000)
        call = WebhookCall(method=method, url=url, headers=headers, body=body)
        crm.verify_webhook(call, now)
        assert [(one.record, one.what, one.object) for one in crm.parse_webhook(call)] == [("7", "deleted", "Contacts")]
        told = {name: value for name, value in json.loads(body).items() if name != "server_time"}
        with pytest.raises(Refused):
            crm.verify_webhook(WebhookCall(method=method, url=url, headers=headers, body=json.dumps(told).encode()), now)


def test_errors_are_understood_in_both_forms() -> None:
    def said(status: int, body: object) -> RemoteError | None:
        return refuse(Answer(status, {}, json.dumps(body).encode()), RemoteError("Zoho API error", http_status=status))

    scope = said(401, {"code": "OAUTH_SCOPE_MISMATCH", "details": {}, "message": "m", "status": "error"})
    assert isinstance(scope, Forbidden)
    assert scope.hint
    many = said(429, {"code": "TOO_MANY_REQUESTS"})
    assert isinstance(many, RateLimited)
    assert many.retry_after == 60_000
    twin = said(400, {"data": [{"code": "DUPLICATE_DATA", "details": {"duplicate_record": {"id": "5"}}, "status": "error"}]})
    assert isinstance(twin, RemoteConflict)
    assert twin.existing == "5"
    assert refuse(Answer(304, {}, b""), RemoteError("Zoho API error: 304")) is None
