"""Simulators: small servers that answer as vendors do, with people who do not exist, for developing without an account."""

from __future__ import annotations

from tailorbird.simulators.apollo import ApolloSimulator
from tailorbird.simulators.base import Simulator, run
from tailorbird.simulators.custom import CustomSimulator
from tailorbird.simulators.dropcontact import DropcontactSimulator
from tailorbird.simulators.followupboss import FollowUpBossSimulator
from tailorbird.simulators.pipedrive import PipedriveSimulator

__all__ = [
    "ApolloSimulator",
    "CustomSimulator",
    "DropcontactSimulator",
    "FollowUpBossSimulator",
    "PipedriveSimulator",
    "Simulator",
    "run",
]
