"""What can go wrong at a vendor's API, in one taxonomy that every connector maps its vendor's signals to.

RemoteError                 the root: the vendor answered something else than was asked for
├── AuthExpired             the key or token is not (any longer) accepted; a refresh may help where there is one
├── AuthRevoked             the access was taken back; only a person can give it again
├── Forbidden               the key is good, but not for this
├── RemoteNotFound          there is no such record
├── RemoteConflict          the record exists already; ``existing`` is its id where the vendor says it
├── RemoteInvalid           the request is not acceptable; ``fields`` names what is wrong where the vendor says it
├── RateLimited             too many requests; ``retry_after``
├── QuotaExhausted          the day's (or the plan's) allowance is used up; ``retry_after`` until the reset where known
├── Locked                  the record is being changed by somebody else
├── Unsupported             this connector cannot do that; its capabilities say so
├── Refused                 a webhook is not the vendor's, too old, or was seen before
└── Transient               unreachable, timed out, 5xx; ``sent`` tells whether the request may have taken effect

Messages hold the vendor's name, the status and its error code: never a body, an address with a query, or a header.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tailorbird.errors import TailorbirdError

__all__ = [
    "AuthExpired", "AuthRevoked", "Forbidden", "Locked", "QuotaExhausted", "RateLimited", "RemoteConflict", "RemoteError",
    "RemoteInvalid", "RemoteNotFound", "Transient", "by_status",
]  # fmt: skip


class RemoteError(TailorbirdError):
    """A vendor's API answered something else than was asked for.

    ``http_status`` is the answer's, None where there was none. ``retry_after`` in ms, where it is known. ``sent`` is False
    where the request certainly had no effect, so that it may be sent again whatever it does.
    """

    code: ClassVar[str] = "remote_error"
    status: ClassVar[int] = 502

    def __init__(
        self, message: str, *, hint: str = "", http_status: int | None = None, retry_after: int | None = None,
        sent: bool = False, fields: tuple[str, ...] = (), existing: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message, hint=hint)
        self.http_status = http_status
        self.retry_after = retry_after
        self.sent = sent
        self.fields = fields
        self.existing = existing


class AuthExpired(RemoteError):
    """The key or token is not accepted; the message names the vendor, and the hint where the key is set."""

    code = "remote_auth_expired"


class AuthRevoked(RemoteError):
    """The access was taken back; somebody has to connect again."""

    code = "remote_auth_revoked"


class Forbidden(RemoteError):
    """The key is good, but not for this; the vendor's own settings say for what."""

    code = "remote_forbidden"


class RemoteNotFound(RemoteError):
    """There is no such record at the vendor."""

    code = "remote_not_found"


class RemoteConflict(RemoteError):
    """The record exists already; ``existing`` is its id where the vendor says it."""

    code = "remote_conflict"


class RemoteInvalid(RemoteError):
    """The vendor does not accept the request; ``fields`` names what is wrong where it says so."""

    code = "remote_invalid"


class RateLimited(RemoteError):
    """Too many requests for now: by the vendor's word, or by our own limiter before anything was sent."""

    code = "remote_rate_limited"
    status = 503


class QuotaExhausted(RemoteError):
    """The allowance of credits or requests is used up until the reset."""

    code = "remote_quota_exhausted"
    status = 503


class Locked(RemoteError):
    """The record is being changed by somebody else just now."""

    code = "remote_locked"
    status = 503


class Unsupported(RemoteError):
    """This connector cannot do that, as its capabilities say."""

    code = "remote_unsupported"
    status = 422


class Refused(RemoteError):
    """A webhook is not the vendor's own, is too old, or cannot be checked."""

    code = "webhook_refused"
    status = 401


class Transient(RemoteError):
    """The vendor cannot be reached or cannot answer now; trying again may help."""

    code = "remote_unavailable"
    status = 503


_KINDS: Mapping[int, type[RemoteError]] = {
    400: RemoteInvalid, 401: AuthExpired, 402: QuotaExhausted, 403: Forbidden, 404: RemoteNotFound, 408: Transient,
    409: RemoteConflict, 410: RemoteNotFound, 413: RemoteInvalid, 415: RemoteInvalid, 422: RemoteInvalid, 423: Locked,
    425: Transient, 429: RateLimited,
}  # fmt: skip


def by_status(vendor: str, status: int, *, code: str = "", retry_after: int | None = None) -> RemoteError:
    """Return the error that a status alone stands for; connectors refine it by what their vendor says besides.

    >>> error = by_status("Apollo", 429, retry_after=2000); type(error).__name__, str(error), error.retry_after
    ('RateLimited', 'Apollo API error: 429', 2000)
    """
    kind = _KINDS.get(status, Transient if status >= 500 else RemoteError)
    # Only a 5xx leaves open whether something took effect: the others are refusals.
    said = f"{vendor} API error: {status}" + (f" - {code}" if code else "")
    return kind(said, http_status=status, retry_after=retry_after, sent=status >= 500 and status != 503)
