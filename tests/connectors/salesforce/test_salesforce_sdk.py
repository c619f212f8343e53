"""The library that people use from Python, simple-salesforce, works against the simulator as it does against Salesforce."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from simulated import served
from tailorbird.simulators import SalesforceSimulator

sdk = pytest.importorskip("simple_salesforce")
requests = pytest.importorskip("requests")


class Plain(requests.adapters.HTTPAdapter):  # type: ignore[misc,name-defined]
    """Speaks http where the library, which knows https alone, says https."""

    def get_connection_with_tls_context(self, request: Any, *args: Any, **options: Any) -> Any:
        request.url = request.url.replace("https://", "http://", 1)
        return super().get_connection_with_tls_context(request, *args, **options)


@pytest.fixture
def simulator() -> SalesforceSimulator:
    return SalesforceSimulator(people=450, batch=200)


@pytest.fixture
def salesforce(simulator: SalesforceSimulator) -> Iterator[Any]:
    with served(simulator) as url, requests.Session() as session:
        session.mount("https://", Plain())
        yield sdk.Salesforce(session_id=simulator.key, instance=urlsplit(url).netloc, session=session)


def test_a_contact_is_made_read_changed_and_deleted(salesforce: Any, simulator: SalesforceSimulator) -> None:
    made = salesforce.Contact.create({"LastName": "O'Neil", "FirstName": "Ann", "Email": "ann@sdk.example"})
    assert made["success"] and made["errors"] == []
    assert salesforce.Contact.update(made["id"], {"Title": "CEO"}) == 204
    read = salesforce.Contact.get(made["id"])
    assert (read["Name"], read["Title"], read["attributes"]["type"]) == ("Ann O'Neil", "CEO", "Contact")
    assert salesforce.Contact.delete(made["id"]) == 204
    with pytest.raises(sdk.SalesforceResourceNotFound):
        salesforce.Contact.get(made["id"])
    day = timedelta(days=1)
    gone = salesforce.Contact.deleted(datetime.now(UTC) - day, datetime.now(UTC) + day)
    assert [record["id"] for record in gone["deletedRecords"]] == [made["id"]]
    salesforce.limits()
    assert salesforce.api_usage["api-usage"].used == len(simulator.log)
    assert salesforce.api_usage["api-usage"].total == simulator.daily


def test_queries_go_on_page_by_page(salesforce: Any) -> None:
    found = salesforce.query_all("SELECT Id, Email, Account.Name FROM Contact ORDER BY Email LIMIT 300")
    assert found["totalSize"] == len({record["Id"] for record in found["records"]}) == 300
    assert salesforce.query("SELECT COUNT() FROM Lead WHERE IsConverted = false")["totalSize"] == 150


def test_a_query_with_escaped_values_finds_them(salesforce: Any) -> None:
    name = "O'Neil \"\\ 100%_"
    salesforce.Contact.create({"LastName": name})
    salesforce.Contact.create({"LastName": "O'Neil \"\\ 100 and more"})
    query = sdk.format_soql("SELECT Id, LastName FROM Contact WHERE LastName = {}", name)
    assert [record["LastName"] for record in salesforce.query(query)["records"]] == [name]
    like = sdk.format_soql("SELECT LastName FROM Contact WHERE LastName LIKE '%{:like}'", "100%_")
    assert [record["LastName"] for record in salesforce.query(like)["records"]] == [name]
    since = sdk.format_soql("SELECT Id FROM Contact WHERE SystemModstamp > {}", datetime.now(UTC) - timedelta(seconds=60))
    assert salesforce.query(since)["totalSize"] == 2


def test_a_search_finds_by_words(salesforce: Any) -> None:
    made = salesforce.Lead.create({"LastName": "Zebulon", "Company": "Shop"})
    found = salesforce.search("FIND {zebul*} IN ALL FIELDS RETURNING Lead(Id, Name WHERE IsConverted = false LIMIT 5)")
    assert [(record["Id"], record["Name"]) for record in found["searchRecords"]] == [(made["id"], "Zebulon")]
    assert salesforce.quick_search("zebulon")["searchRecords"][0]["Id"] == made["id"]


def test_records_are_upserted_by_an_external_id(salesforce: Any) -> None:
    assert salesforce.Contact.upsert("Customer_No__c/no-1", {"LastName": "One"}) == 201
    assert salesforce.Contact.upsert("Customer_No__c/no-1", {"LastName": "Two"}) == 200
    assert salesforce.Contact.get_by_custom_id("Customer_No__c", "no-1")["LastName"] == "Two"


@pytest.mark.parametrize(
    ("ask", "error", "code"),
    [
        (lambda s: s.query("SELECT Nope__c FROM Contact"), "SalesforceMalformedRequest", "INVALID_FIELD"),
        (lambda s: s.query("SELECT Id FROM Contact WHERE Id = 'a' AND Email = 'b' OR Phone = 'c'"), "SalesforceMalformedRequest",
         "MALFORMED_QUERY"),
        (lambda s: s.query("SELECT Id FROM Contact WHERE Description = 'x'"), "SalesforceMalformedRequest", "INVALID_FIELD"),
        (lambda s: s.query("SELECT Id FROM Contact WHERE CreatedDate > '2026-01-01'"), "SalesforceMalformedRequest", "INVALID_FIELD"),
        (lambda s: s.search("FIND {a & b}"), "SalesforceMalformedRequest", "MALFORMED_SEARCH"),
        (lambda s: s.Contact.create({"FirstName": "Ann"}), "SalesforceMalformedRequest", "REQUIRED_FIELD_MISSING"),
        (lambda s: s.Contact.create({"LastName": "A", "Email": "nonsense"}), "SalesforceMalformedRequest", "INVALID_EMAIL_ADDRESS"),
        (lambda s: s.Nothing__c.create({"A": 1}), "SalesforceResourceNotFound", "NOT_FOUND"),
    ],
)  # fmt: skip
def test_refusals_are_those_of_salesforce(salesforce: Any, ask: Any, error: str, code: str) -> None:
    with pytest.raises(getattr(sdk, error)) as refused:
        ask(salesforce)
    assert refused.value.content[0]["errorCode"] == code


def test_a_session_that_ended_and_a_spent_day_are_told(salesforce: Any, simulator: SalesforceSimulator) -> None:
    simulator.daily = 0
    with pytest.raises(sdk.SalesforceRefusedRequest, match="REQUEST_LIMIT_EXCEEDED"):
        salesforce.limits()
    simulator.revoked = True
    with pytest.raises(sdk.SalesforceExpiredSession, match="INVALID_SESSION_ID"):
        salesforce.query("SELECT Id FROM Contact LIMIT 1")


def test_limits_and_what_an_object_has_are_told(salesforce: Any, simulator: SalesforceSimulator) -> None:
    assert salesforce.limits()["DailyApiRequests"]["Max"] == simulator.daily
    fields = {field["name"]: field for field in salesforce.Lead.describe()["fields"]}
    assert fields["Company"]["nillable"] is False and fields["Plan__c"]["custom"] is True
