"""Simulators: small servers that answer as vendors do, with people who do not exist, for developing without an account."""

from __future__ import annotations

from tailorbird.simulators.apollo import ApolloSimulator
from tailorbird.simulators.base import Simulator, run
from tailorbird.simulators.custom import CustomSimulator
from tailorbird.simulators.dropcontact import DropcontactSimulator
from tailorbird.simulators.followupboss import FollowUpBossSimulator
from tailorbird.simulators.hubspot import HubspotSimulator
from tailorbird.simulators.pipedrive import PipedriveSimulator
from tailorbird.simulators.salesforce import SalesforceSimulator
from tailorbird.simulators.zoho import ZohoSimulator

__all__ = [
    "ApolloSimulator", "CustomSimulator", "DropcontactSimulator", "FollowUpBossSimulator", "HubspotSimulator", "PipedriveSimulator",
    "SalesforceSimulator", "Simulator", "ZohoSimulator", "run",
]  # fmt: skip
