"""What every connector to an HTTP API stands on: one transport, its limits, its circuit breaker and its errors."""

from __future__ import annotations

from tailorbird.connectors.rest.address import check_address
from tailorbird.connectors.rest.auth import Auth, StaticAuth, basic_auth, bearer_auth
from tailorbird.connectors.rest.breaker import Breaker
from tailorbird.connectors.rest.errors import (
    AuthExpired,
    AuthRevoked,
    Forbidden,
    Locked,
    QuotaExhausted,
    RateLimited,
    Refused,
    RemoteConflict,
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    Transient,
    Unsupported,
    by_status,
)
from tailorbird.connectors.rest.limits import Limiter
from tailorbird.connectors.rest.transport import Answer, Retry, Transport

__all__ = [
    "Answer", "Auth", "AuthExpired", "AuthRevoked", "Breaker", "Forbidden", "Limiter", "Locked", "QuotaExhausted", "RateLimited",
    "Refused", "RemoteConflict", "RemoteError", "RemoteInvalid", "RemoteNotFound", "Retry", "StaticAuth", "Transient",
    "Transport", "Unsupported", "basic_auth", "bearer_auth", "by_status", "check_address",
]  # fmt: skip
