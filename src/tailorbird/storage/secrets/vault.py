"""The vault: secrets by name, sealed, each with a version that two writers cannot both move on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from threading import Lock
from typing import NamedTuple, Protocol

import msgspec

from tailorbird.core.context import Clock
from tailorbird.errors import Unavailable
from tailorbird.storage.secrets.envelope import KEY_VARIABLE, Envelope, KeyRing, KeyWrapper, key_id_of

__all__ = ["Rows", "Secret", "Vault", "open_vault"]


class Rows(Protocol):
    """Where sealed texts are kept: ``ports.CrmStore`` has these four, and so has a table of DynamoDB."""

    def secret(self, name: str) -> tuple[int, str] | None: ...
    def secrets(self) -> list[str]: ...
    def put_secret(self, name: str, sealed: str, *, expected: int | None, now: int) -> bool: ...
    def drop_secret(self, name: str) -> bool: ...


class Secret(NamedTuple):
    """What the vault holds under a name; ``repr`` shows no value."""

    version: int
    values: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Secret(version={self.version}, names={sorted(self.values)})"


class Vault:
    """Secrets of connections. The keys are looked for when the first one is sealed or opened: without them all else works."""

    def __init__(self, rows: Rows, wrapper: Callable[[], KeyWrapper], clock: Clock) -> None:
        self._rows = rows
        self._wrapper = wrapper
        self._clock = clock
        self._made: Envelope | None = None
        self._lock = Lock()

    def read(self, name: str) -> Secret | None:
        """Return a secret; None when there is none. Raises ``Unavailable`` where its key is missing."""
        found = self._rows.secret(name)
        if found is None:
            return None
        version, sealed = found
        return Secret(version, msgspec.json.decode(self._envelope().open(name, sealed), type=dict[str, str]))

    def write(self, name: str, values: Mapping[str, str], *, expected: int | None = None) -> bool:
        """Store a secret if its version is the ``expected`` one (0: there is none; None: whatever is there); else return False."""
        sealed = self._envelope().seal(name, msgspec.json.encode(dict(values)))
        return self._rows.put_secret(name, sealed, expected=expected, now=self._clock.now())

    def drop(self, name: str) -> bool:
        """Remove a secret; return whether it was there."""
        return self._rows.drop_secret(name)

    def names(self) -> list[str]:
        """Return the names of all secrets."""
        return self._rows.secrets()

    def rotate(self) -> int:
        """Seal every secret anew with the first key; return how many were. Others may read and write meanwhile."""
        count = 0
        for name in self.names():
            while (found := self._rows.secret(name)) is not None:
                version, sealed = found
                plain = self._envelope().open(name, sealed)
                if self._rows.put_secret(
                    name, self._envelope().seal(name, plain), expected=version, now=self._clock.now()
                ):  # else somebody wrote in between: that is what has to be sealed anew
                    count += 1
                    break
        return count

    def key_ids(self) -> dict[str, str]:
        """Return the id of the key that each secret is sealed with."""
        rows = {name: self._rows.secret(name) for name in self.names()}
        return {name: key_id_of(row[1]) for name, row in rows.items() if row is not None}

    def check(self) -> None:
        """Raise ``Unavailable`` where there is no key to seal with."""
        self._envelope()

    def _envelope(self) -> Envelope:
        if self._made is None:
            with self._lock:
                self._made = self._made or Envelope(self._wrapper())
        return self._made


def open_vault(rows: Rows, clock: Clock, *, url: str = "", environ: Mapping[str, str] | None = None) -> Vault:
    """Return the vault over these rows, or over those at ``url`` (``dynamodb://…``), with the keys of the environment."""
    variables = os.environ if environ is None else environ

    def keys() -> KeyWrapper:
        text = variables.get(KEY_VARIABLE, "")
        if not text.strip():
            raise Unavailable(
                f"credentials cannot be sealed or opened: {KEY_VARIABLE} is not set.",
                hint=f"Run `tailorbird vault key` once, keep what it prints in a safe place, and set {KEY_VARIABLE} to it.",
            )
        return KeyRing.read(text)

    if url:
        from tailorbird.storage.secrets.dynamodb import DynamoTable

        rows = DynamoTable.open(url)
    return Vault(rows, keys, clock)
