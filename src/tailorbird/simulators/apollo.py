"""A simulator of Apollo's enrichment: people match, bulk match, results of waterfalls, and usage.

Source: https://docs.apollo.io/reference/people-enrichment, …/bulk-people-enrichment, …/rate-limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tailorbird.simulators.base import Reply, Request, Simulator, person_of

__all__ = ["ApolloSimulator"]

_WINDOWS: Final = {"minute": (60, "minute", "minute"), "hour": (3_600, "hourly", "hour"), "day": (86_400, "24-hour", "day")}
_ASKED: Final = (
    "first_name", "last_name", "name", "email", "hashed_email", "organization_name", "domain", "id", "linkedin_url",
)  # fmt: skip
_UPGRADE: Final = "Please upgrade your plan from https://app.apollo.io/#/settings/plans/upgrade."


class ApolloSimulator(Simulator):
    """Answers as ``api.apollo.io/api/v1`` does. ``limits`` per minute, hour and day, in fixed windows, per endpoint.

    ``unknown`` is the share of people who are not known (null), ``locked`` the share whose address is not unlocked.
    ``credits`` counts what was paid, ``paid`` names for whom. ``broken`` makes the next answers break their own schema;
    a question with an address in ``refuse`` is refused with all that were asked with it (422).
    """

    def __init__(
        self, *, limits: Mapping[str, int] | None = None, unknown: float = 0.15, locked: float = 0.1, **options: Any
    ) -> None:
        super().__init__(**options)
        self.limits = dict({"minute": 1_000} if limits is None else limits)
        self.unknown = unknown
        self.locked = locked
        self.credits = 0
        self.broken: list[Any] = []
        self._used: dict[tuple[str, str, int], int] = {}
        self.paid: list[str] = []
        self.refuse: set[str] = set()

    def reply(self, request: Request) -> Reply:
        """Answer as Apollo does: the key is judged first, then the limit, then the question."""
        if request.headers.get("x-api-key") != self.key or self.revoked:
            return Reply(401, "Invalid API key. See https://docs.apollo.io/reference/authentication for how to authenticate.")
        path = request.path.removeprefix("/api/v1").strip("/")
        if request.method != "POST" or path not in ("people/match", "people/bulk_match"):
            return self._others(request, path)
        headers, over = self._count(path)
        if over is not None:
            return over
        if self.broken:
            return Reply(200, self.broken.pop(0), headers)
        found = self._match(request) if path == "people/match" else self._bulk(request)
        return Reply(found.status, found.body, headers)

    def _others(self, request: Request, path: str) -> Reply:
        if path.startswith("webhook_result/") and request.method == "GET":
            return Reply(404, {"error_code": "request_id_unknown", "error_message": "unknown request id"})
        if path.startswith("usage_stats/"):
            refused = {"error": f"This API key is not authorized to access api/v1/{path}", "error_code": "API_INACCESSIBLE"}
            return Reply(403, refused)
        return Reply(404, {"error": "not found"})

    def _count(self, path: str) -> tuple[dict[str, str], Reply | None]:
        """Count the request in its windows; return the headers that tell of them, and the refusal where one is over."""
        headers: dict[str, str] = {}
        now = self.clock()
        for name, limit in self.limits.items():
            length, theirs, word = _WINDOWS[name]
            place = (path, name, int(now // length))
            used = self._used[place] = self._used.get(place, 0) + 1
            headers |= {
                f"x-rate-limit-{theirs}": str(limit), f"x-{theirs}-usage": str(used),
                f"x-{theirs}-requests-left": str(max(0, limit - used)),
            }  # fmt: skip
            if used > limit:
                if not self.silent_429:
                    headers["retry-after"] = str(int(length - now % length) + 1)
                said = f"The maximum number of api calls allowed for api/v1/{path} is {limit} times per {word}. {_UPGRADE}"
                return headers, Reply(429, {"message": said}, headers)
        return headers, None

    def _match(self, request: Request) -> Reply:
        if request.query.get("reveal_phone_number") == "true" and not request.query.get("webhook_url"):
            return Reply(400, {"error": "Please add a valid 'webhook_url' parameter when using 'reveal_phone_number'"})
        if request.query.get("email") in self.refuse:
            return _unprocessable()
        return Reply(200, {"person": self._person(request.query)})

    def _bulk(self, request: Request) -> Reply:
        details = request.body.get("details") if isinstance(request.body, dict) else None
        if not isinstance(details, list) or not details:
            return _refused("INVALID_REQUEST", "invalid request, missing details")
        if len(details) > 10:
            return _refused("RECORD_LIMIT_EXCEEDED", "cannot enrich more than 10 in a single request")
        if not all(isinstance(item, dict) and item.get("email") not in self.refuse for item in details):
            return _unprocessable()
        before = self.credits
        matches = [self._person(item) for item in details]
        known = sum(person is not None for person in matches)
        return Reply(
            200,
            {
                "status": "success", "error_code": None, "error_message": None, "total_requested_enrichments": len(details),
                "unique_enriched_records": known, "missing_records": len(details) - known,
                "credits_consumed": self.credits - before, "matches": matches,
            },
        )  # fmt: skip

    def _person(self, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        said = {name: str(asked[name]).lower() for name in _ASKED if asked.get(name)}
        who = said.get("email") or said.get("linkedin_url") or " ".join(said.values())
        chance = self.chance("person", who)
        if not said or chance.random() < self.unknown:
            return None
        self.credits += 1
        self.paid.append(who)
        locked = chance.random() < self.locked
        one = person_of(chance, asked)
        id_ = f"{chance.getrandbits(96):024x}"
        email = said.get("email") or f"{one['first']}.{one['last']}@{one['domain']}".lower()
        return {
            "id": id_, "first_name": one["first"], "last_name": one["last"], "name": f"{one['first']} {one['last']}",
            "linkedin_url": f"http://www.linkedin.com/in/{one['first']}-{one['last']}-{id_[:8]}".lower(), "title": one["title"],
            "email_status": "unavailable" if locked else chance.choice(["verified", "verified", "guessed"]),
            "headline": f"{one['title']} at {one['company']}", "extrapolated_email_confidence": 0.9,
            "email": "email_not_unlocked@domain.com" if locked else email, "seniority": one["seniority"],
            "departments": [], "functions": [], "city": "Springfield", "state": "Illinois", "country": "United States",
            "organization_id": id_[::-1], "employment_history": [],
            "organization": {
                "id": id_[::-1], "name": one["company"], "primary_domain": one["domain"], "industry": one["industry"],
                "website_url": f"http://www.{one['domain']}", "estimated_num_employees": one["size"], "phone": one["phone"],
            },
            "contact": {"phone_numbers": [{"sanitized_number": one["phone"]}] if chance.random() < 0.5 else []},
        }  # fmt: skip


def _refused(code: str, said: str) -> Reply:
    return Reply(400, {"status": "failed", "error_code": code, "error_message": said})


def _unprocessable() -> Reply:
    said = "no implicit conversion of Symbol into Integer"
    return Reply(422, {"status": "failed", "error_code": "UNKNOWN_ERROR", "error_message": said})
