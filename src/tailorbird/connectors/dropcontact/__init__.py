"""Dropcontact: asynchronous batches that complete people and judge their addresses."""

from __future__ import annotations

from tailorbird.connectors.dropcontact.connector import DropcontactConnector

__all__ = ["DropcontactConnector"]
