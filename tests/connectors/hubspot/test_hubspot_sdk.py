"""HubSpot's own client for Python works with the simulator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simulated import served
from tailorbird.simulators import HubspotSimulator

hubspot = pytest.importorskip("hubspot", reason="hubspot-api-client is not installed")

from hubspot.crm.contacts import (  # noqa: E402
    ApiException,
    Filter,
    FilterGroup,
    PublicObjectSearchRequest,
    SimplePublicObjectInput,
    SimplePublicObjectInputForCreate,
)


@pytest.fixture
def client() -> Iterator[hubspot.Client]:
    with served(HubspotSimulator(people=30)) as url:
        yield hubspot.HubSpot(access_token="simulated", host=url)


def test_the_official_client_creates_searches_and_updates(client: hubspot.Client) -> None:
    contacts = client.crm.contacts
    given = {"email": "ann@x.example", "firstname": "Ann"}
    made = contacts.basic_api.create(SimplePublicObjectInputForCreate(properties=given, associations=[]))
    wanted = Filter(property_name="email", operator="EQ", value="ann@x.example")
    asked = PublicObjectSearchRequest(filter_groups=[FilterGroup(filters=[wanted])], properties=["firstname"], limit=10)
    found = contacts.search_api.do_search(asked)
    assert (found.total, found.results[0].id, found.results[0].properties["firstname"]) == (1, made.id, "Ann")
    changed = contacts.basic_api.update(made.id, SimplePublicObjectInput(properties={"firstname": "Anna"}))
    assert changed.properties["firstname"] == "Anna"
    assert contacts.basic_api.get_by_id(made.id, properties=["firstname"]).properties["firstname"] == "Anna"


def test_the_official_client_pages_through_everybody_and_sees_conflicts(client: hubspot.Client) -> None:
    contacts = client.crm.contacts
    first = contacts.basic_api.get_page(limit=20, properties=["email"])
    second = contacts.basic_api.get_page(limit=20, after=first.paging.next.after, properties=["email"])
    assert len({one.id for one in [*first.results, *second.results]}) == 30
    assert second.paging is None
    twin = SimplePublicObjectInputForCreate(properties={"email": first.results[0].properties["email"]}, associations=[])
    with pytest.raises(ApiException) as refused:
        contacts.basic_api.create(twin)
    assert refused.value.status == 409
    assert f"Existing ID: {first.results[0].id}" in refused.value.body
