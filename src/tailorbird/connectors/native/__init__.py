"""The native CRM: the contacts in our own store."""

from __future__ import annotations

from tailorbird.connectors.native.adapter import NativeAdapter

__all__ = ["NativeAdapter"]
