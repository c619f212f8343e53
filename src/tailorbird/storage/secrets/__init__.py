"""The vault: credentials of connections, sealed before they are stored."""

from __future__ import annotations

from tailorbird.storage.secrets.envelope import Envelope, KeyRing, KeyWrapper, fresh_key
from tailorbird.storage.secrets.vault import Rows, Vault, open_vault

__all__ = ["Envelope", "KeyRing", "KeyWrapper", "Rows", "Vault", "fresh_key", "open_vault"]
