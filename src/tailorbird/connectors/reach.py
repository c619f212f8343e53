"""Where a request of ours may go: an address is looked at when it is connected to, whatever its name resolved to before."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

import httpcore2
import httpx2

__all__ = ["GuardedTransport", "Reach", "Resolve", "Unreachable"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], list[str]]
"""Returns the addresses of a host name."""

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class Unreachable(Exception):
    """A host lies where requests may not go; the message names neither host nor address."""


class Reach:
    """Which addresses may be connected to: those of the internet; of this machine with ``loopback``; and with ``private`` also
    those of private networks, of the link (where clouds keep their credentials), and reserved ones."""

    def __init__(self, *, loopback: bool = True, private: bool = False) -> None:
        self.loopback = loopback
        self.private = private

    def allows(self, text: str) -> bool:
        """Return whether an address may be connected to.

        >>> [Reach().allows(text) for text in ("1.1.1.1", "127.0.0.1", "10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1")]
        [True, True, False, False, False]
        """
        address = _inner(ipaddress.ip_address(text))
        if address.is_loopback:
            return self.loopback
        if address.is_multicast or address.is_unspecified:
            return False
        return address.is_global or self.private


def _inner(address: Address) -> Address:
    """Return the address that one of the newer kind stands for, if it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class _Backend(httpcore2.SyncBackend):
    """Resolves a name, and connects to the very address that was looked at: what it resolves to a moment later is no matter."""

    def __init__(self, reach: Reach, resolve: Resolve) -> None:
        self._reach = reach
        self._resolve = resolve

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:  # fmt: skip
        try:
            found = self._resolve(host, port)
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from None
        good = [address for address in found if self._reach.allows(address)]
        if not good:
            raise Unreachable
        for address in good[:-1]:
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return super().connect_tcp(good[-1], port, timeout, local_address, socket_options)


class GuardedTransport(httpx2.HTTPTransport):
    """httpx2's transport over connections that stay within reach; proxies of the environment are not used.

    Raises ``Unreachable`` where a name leads nowhere else.
    """

    def __init__(self, reach: Reach, *, limits: httpx2.Limits, resolve: Resolve | None = None) -> None:
        super().__init__(limits=limits, trust_env=False)
        self._pool.close()
        self._pool = httpcore2.ConnectionPool(  # the library has no argument for what connects
            ssl_context=httpx2.create_ssl_context(trust_env=False),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_Backend(reach, resolve or _resolve),
        )
