"""Personalization for the CRM a team already has."""

__version__ = "0.1.0"
