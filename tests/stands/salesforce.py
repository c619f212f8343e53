"""The stand of Salesforce: the connector against the simulator over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from simulated import served
from stands import Stand, Switch
from tailorbird.connectors.rest import Retry, bearer_auth
from tailorbird.connectors.salesforce import SalesforceConnector
from tailorbird.core.context import SystemClock
from tailorbird.simulators import SalesforceSimulator


@contextmanager
def stand() -> Iterator[Stand]:
    simulator = SalesforceSimulator(people=30)
    clock = SystemClock()
    with served(simulator) as url:
        connector = SalesforceConnector(
            "salesforce", url, auth=bearer_auth(simulator.key), clock=clock, tags_field="Tags__c", retry=Retry(tries=1)
        )

        yield Stand(
            connector=connector, down=lambda: Switch(simulator, "down"), revoked=lambda: Switch(simulator, "revoked"),
            now=clock.now, activities=simulator.activities, members=simulator.members, delete=simulator.org.delete,
            bad={"email": "no address"},
        )  # fmt: skip
