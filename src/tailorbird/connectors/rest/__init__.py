"""What every connector to an HTTP API stands on: one transport, its limits, its circuit breaker and its errors."""

from __future__ import annotations

from tailorbird.connectors.rest.address import check_address
from tailorbird.connectors.rest.breaker import Breaker
from tailorbird.connectors.rest.errors import (
    AuthExpired,
    AuthRevoked,
    Forbidden,
    Locked,
    QuotaExhausted,
    RateLimited,
    RemoteConflict,
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    Transient,
    by_status,
)
from tailorbird.connectors.rest.limits import Limiter
from tailorbird.connectors.rest.transport import Answer, Retry, Transport

__all__ = [
    "Answer", "AuthExpired", "AuthRevoked", "Breaker", "Forbidden", "Limiter", "Locked", "QuotaExhausted", "RateLimited",
    "RemoteConflict", "RemoteError", "RemoteInvalid", "RemoteNotFound", "Retry", "Transient", "Transport", "by_status",
    "check_address",
]  # fmt: skip
