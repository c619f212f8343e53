"""A simulator of Dropcontact: batches that are accepted, take a while, and are then asked for.

Source: https://developer.dropcontact.com (quickstart, rate limits, errors).
"""

from __future__ import annotations

from typing import Any, Final

from tailorbird.simulators.base import Reply, Request, Simulator, person_of

__all__ = ["DropcontactSimulator"]

_PATHS: Final = ("v1/enrich/all", "batch")
_QUALITIES: Final = (
    "nominative@pro", "nominative@pro", "nominative@pro", "nominative@perso", "catch_all@pro", "generic@pro", "invalid@pro",
)  # fmt: skip
_NOT_READY: Final = {"error": False, "success": False, "reason": "Request not ready yet, try again in 30 seconds"}


class DropcontactSimulator(Simulator):
    """Answers as ``api.dropcontact.com`` does. ``ready_after`` seconds a batch is ready; ``rate`` requests a second at most.

    ``unknown`` is the share of people about whom nothing is found, ``echo`` whether custom fields come back. ``credits_left``
    counts down. ``broken`` holds records that replace those of the next batch, for trying out answers that break the schema;
    ``quality`` is the qualification of all addresses, ``shuffle`` answers in another order, ``force`` is whether unready
    batches can be forced.
    """

    def __init__(
        self, *, ready_after: float = 5.0, rate: int = 60, unknown: float = 0.1, echo: bool = True, credits_left: int = 10_000,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(**options)
        self.ready_after = ready_after
        self.rate = rate
        self.unknown = unknown
        self.echo = echo
        self.credits_left = credits_left
        self.broken: list[Any] | None = None
        self.quality = ""
        self.shuffle = False
        self.force = True
        self.batches: dict[str, tuple[float, list[Any]]] = {}
        self._used: dict[int, int] = {}

    def reply(self, request: Request) -> Reply:
        """Answer as Dropcontact does: the key is judged first, then the rate, then the question."""
        token = request.headers.get("x-access-token")
        if not token or token != self.key or self.revoked:
            return Reply(401, {"error": True, "success": False, "reason": "Invalid access token"})
        second = int(self.clock())
        self._used[second] = self._used.get(second, 0) + 1
        if self._used[second] > self.rate:
            headers = {} if self.silent_429 else {"retry-after": "1"}
            return Reply(429, {"error": True, "success": False, "reason": "Too many requests"}, headers)
        path = request.path.strip("/")
        for base in _PATHS:
            if path == base and request.method == "POST":
                return self._accept(request)
            if path.startswith(base + "/") and request.method == "GET":
                return self._look(path.removeprefix(base + "/"), force=request.query.get("forceResults") == "true")
        if path == "v1/account/credits" and request.method == "GET":
            return Reply(200, {"credits_left": self.credits_left})
        return Reply(404, {"detail": "Not Found"})

    def _accept(self, request: Request) -> Reply:
        rows = request.body.get("data") if isinstance(request.body, dict) else None
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            return Reply(400, {"error": True, "success": False, "reason": "Missing data in JSON"})
        if len(rows) > 250:
            said = "Too many records, you can only submit up to 250 records"
            return Reply(400, {"error": True, "success": False, "reason": said})
        if self.credits_left <= 0:
            return Reply(403, {"error": True, "success": False, "reason": "You have no credits left"})
        batch = "".join(self.chance("batch", len(self.batches)).choices("abcdefghijklmnopqrstuvwxyz", k=15))
        records = [self._record(row) for row in rows]
        if self.broken is not None:
            records, self.broken = self.broken, None
        if self.shuffle:
            records = records[::-1]
        self.batches[batch] = (self.clock() + self.ready_after, records)
        return Reply(200, {"request_id": batch, "success": True, "error": False, "credits_left": self.credits_left})

    def _look(self, batch: str, *, force: bool) -> Reply:
        found = self.batches.get(batch)
        if found is None or (self.clock() < found[0] and not (force and self.force)):
            return Reply(200, _NOT_READY)  # an unknown batch is answered alike
        return Reply(200, {"success": True, "error": False, "data": found[1]})

    def _record(self, row: dict[str, Any]) -> dict[str, Any]:
        email = str(row.get("email") or "").lower()
        who = email or str(row.get("linkedin") or "") or f"{row.get('first_name')} {row.get('last_name')} {row.get('full_name')}"
        chance = self.chance("person", who)
        fields = {"custom_fields": row["custom_fields"]} if self.echo and "custom_fields" in row else {}
        if chance.random() < self.unknown:
            return {**fields, "siren": "", "vat": ""}
        one = person_of(chance, row)
        self.credits_left -= 1
        address = email or f"{one['first']}.{one['last']}@{one['domain']}".lower()
        return {
            "civility": "Mr", "first_name": one["first"], "last_name": one["last"], "full_name": f"{one['first']} {one['last']}",
            "email": [{"email": address, "qualification": self.quality or chance.choice(_QUALITIES)}], "phone": one["phone"],
            "company": one["company"], "website": f"www.{one['domain']}", "linkedin": f"https://www.linkedin.com/in/{one['last'].lower()}",
            "country": "US", "siren": "", "siret": "", "vat": "", "nb_employees": "51-200", "industry": one["industry"],
            "job": one["title"], "job_level": one["seniority"], "job_function": "General", **fields,
        }  # fmt: skip
