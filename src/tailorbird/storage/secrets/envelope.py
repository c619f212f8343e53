"""Envelope encryption: each secret is sealed with a key of its own (AES-256-GCM), and that key with one of the vault's.

A sealed text is ``tb1.<key id>.<wrapped data key>.<nonce and ciphertext>``, parts in base64url. Everything is bound to the format,
the secret's name and the key's id: a text that is copied to another name, or changed in any bit, does not open.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

from tailorbird.errors import InvalidInput, NotInstalled, Unavailable

# cryptography is imported where something is sealed or opened: most installations have no connections.
if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["KEY_VARIABLE", "Envelope", "KeyRing", "KeyWrapper", "fresh_key", "key_id_of"]

KEY_VARIABLE: Final = "TAILORBIRD_VAULT_KEY"
"""Where the vault's keys are read from; kept nowhere else."""

_FORMAT: Final = "tb1"
_KEY: Final = 32
_NONCE: Final = 12


class KeyWrapper(Protocol):
    """Wraps the keys of secrets with a key that never leaves it: ours from the environment, or a key management service's."""

    def wrap(self, data_key: bytes, bound: bytes) -> tuple[str, bytes]:
        """Return the id of the key used, and the wrapped data key."""
        ...

    def unwrap(self, key_id: str, wrapped: bytes, bound: bytes) -> bytes:
        """Return the data key. Raises ``Unavailable`` for a key we do not have, and for what was changed."""
        ...


class KeyRing:
    """Keys of 32 bytes given by hand: the first wraps, all unwrap.

    >>> KeyRing([bytes(32)])
    KeyRing('66687aadf862')
    """

    def __init__(self, keys: Sequence[bytes], *, chance: Callable[[int], bytes] = os.urandom) -> None:
        if not keys or any(len(key) != _KEY for key in keys):
            raise InvalidInput("a key of the vault has 32 bytes.", hint="`tailorbird vault key` prints a fresh one.")
        self._keys = {_fingerprint(key): key for key in keys}
        self._first = _fingerprint(keys[0])
        self._chance = chance

    @classmethod
    def read(cls, text: str) -> KeyRing:
        """Return the keys written in base64 with commas between. Raises ``InvalidInput``, which never shows them."""
        keys = []
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            try:
                keys.append(b64decode(part.replace("-", "+").replace("_", "/"), validate=True))
            except ValueError:
                keys.append(b"")
        if not keys or any(len(key) != _KEY for key in keys):
            raise InvalidInput(
                f"{KEY_VARIABLE} must be 32 bytes in base64, or several of these with commas between.",
                hint="`tailorbird vault key` prints a fresh one.",
            )
        return cls(keys)

    def wrap(self, data_key: bytes, bound: bytes) -> tuple[str, bytes]:
        """Wrap with the first key."""
        nonce = self._chance(_NONCE)
        sealed = _cipher(self._keys[self._first]).encrypt(nonce, data_key, bound + self._first.encode())
        return self._first, nonce + sealed

    def unwrap(self, key_id: str, wrapped: bytes, bound: bytes) -> bytes:
        """Unwrap with the key of that id."""
        key = self._keys.get(key_id)
        if key is None:
            raise Unavailable(
                f"the credentials were sealed with the key {key_id:.20}, which {KEY_VARIABLE} does not hold.",
                hint="Add that key after the first one, with a comma between, and run `tailorbird vault rotate`.",
            )
        return _opened(_cipher(key), wrapped, bound + key_id.encode())

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(repr(name) for name in self._keys)})"


class Envelope:
    """Seals and opens texts under a name, with a fresh key for each."""

    def __init__(self, wrapper: KeyWrapper, *, chance: Callable[[int], bytes] = os.urandom) -> None:
        self._wrapper = wrapper
        self._chance = chance

    def seal(self, name: str, plain: bytes) -> str:
        """Return the sealed text."""
        bound = _bound(name)
        data_key, nonce = self._chance(_KEY), self._chance(_NONCE)
        key_id, wrapped = self._wrapper.wrap(data_key, bound)
        sealed = _cipher(data_key).encrypt(nonce, plain, bound + key_id.encode())
        return ".".join([_FORMAT, _text(key_id.encode()), _text(wrapped), _text(nonce + sealed)])

    def open(self, name: str, sealed: str) -> bytes:
        """Return what was sealed under this name. Raises ``Unavailable`` where it cannot be opened."""
        key_id, wrapped, body = _parts(sealed)
        bound = _bound(name)
        data_key = self._wrapper.unwrap(key_id, wrapped, bound)
        return _opened(_cipher(data_key), body, bound + key_id.encode())

    def __repr__(self) -> str:
        return f"Envelope({self._wrapper!r})"


def fresh_key(chance: Callable[[int], bytes] = os.urandom) -> str:
    """Return a new key of the vault, as the environment wants it.

    >>> len(fresh_key())
    44
    """
    return b64encode(chance(_KEY)).decode()


def key_id_of(sealed: str) -> str:
    """Return the id of the key that a text was sealed with."""
    return _parts(sealed)[0]


def _parts(sealed: str) -> tuple[str, bytes, bytes]:
    try:
        form, key_id, wrapped, body = sealed.split(".")
        if form != _FORMAT:
            raise ValueError
        return _bytes(key_id).decode(), _bytes(wrapped), _bytes(body)
    except ValueError:
        raise Unavailable(
            "the stored credentials have a form that this version does not know.", hint="Use the version that wrote them."
        ) from None


def _bound(name: str) -> bytes:
    return f"tailorbird/{_FORMAT}/{len(name)}/{name}/".encode()


def _fingerprint(key: bytes) -> str:
    return sha256(key).hexdigest()[:12]


def _cipher(key: bytes) -> AESGCM:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise NotInstalled(
            "cryptography is not installed; credentials of connections need it.", hint="pip install 'tailorbird[crm]'"
        ) from None
    return AESGCM(key)


def _opened(cipher: AESGCM, sealed: bytes, bound: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], bound)
    except (InvalidTag, ValueError):
        raise Unavailable(
            "the stored credentials do not open: they were changed, or belong to another name.",
            hint="Connect again: `tailorbird connect`.",
        ) from None


def _text(value: bytes) -> str:
    return urlsafe_b64encode(value).decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text)
