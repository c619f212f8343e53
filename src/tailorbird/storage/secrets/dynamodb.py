"""Sealed credentials in a table of DynamoDB, for teams that keep them there; and activities that wait to be written.

Partition key ``PK`` is ``USER#<user>``; sort key ``SK`` is ``CRM_CREDENTIALS#<name>`` (a connection's name is its provider's unless it
was given another) or ``PENDING_ACTIVITY#<id>``. What is stored under either is sealed before it gets here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tailorbird.errors import InvalidInput, NotInstalled, Unavailable

__all__ = ["DynamoTable", "Pending"]

_SECRET: Final = "CRM_CREDENTIALS#"
_PENDING: Final = "PENDING_ACTIVITY#"
_KNOWN: Final = {"region", "endpoint", "user"}


class Pending(NamedTuple):
    """An activity that waits to be written: its id, and what it is, sealed."""

    id: str
    sealed: str


class DynamoTable:
    """The rows of one user in one table. Used from several threads; AWS credentials come from where boto3 looks for them."""

    def __init__(
        self, table: str, *, user: str = "default", region: str | None = None, endpoint: str | None = None,
        client: Callable[[], Any] | None = None,
    ) -> None:  # fmt: skip
        self._table = table
        self._user = user
        self._region = region
        self._endpoint = endpoint
        self._make = client

    @classmethod
    def open(cls, url: str) -> DynamoTable:
        """Return the table at ``dynamodb://table?region=eu-west-1&user=ann&endpoint=http://127.0.0.1:8000``; all but the name may lack."""
        parts = urlsplit(url)
        given = parse_qs(parts.query, keep_blank_values=True)
        table = parts.netloc + parts.path
        if parts.scheme != "dynamodb" or not re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", table) or set(given) - _KNOWN:
            raise InvalidInput(
                "TAILORBIRD_SECRETS_URL names no place where credentials can be kept.",
                hint="Write dynamodb://table?region=eu-west-1&user=name, or leave it empty to keep them in the database.",
            )
        said = {name: values[-1] for name, values in given.items() if values[-1]}
        return cls(table, user=said.get("user", "default"), region=said.get("region"), endpoint=said.get("endpoint"))

    def create(self) -> None:
        """Make the table, billed by request, and wait until it can be used."""
        with _told(self._table):
            self._client.create_table(
                TableName=self._table, BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("PK", "SK")],
                KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
            )  # fmt: skip
            self._client.get_waiter("table_exists").wait(TableName=self._table)

    # ---- secrets

    def secret(self, name: str) -> tuple[int, str] | None:
        """Return the version and the sealed text of a secret."""
        with _told(self._table):
            found = self._client.get_item(TableName=self._table, Key=self._key(_SECRET + name), ConsistentRead=True).get("Item")
        return None if found is None else (int(found["version"]["N"]), found["sealed"]["S"])

    def secrets(self) -> list[str]:
        """Return the names of all secrets of this user."""
        return [row["SK"]["S"].removeprefix(_SECRET) for row in self._rows(_SECRET)]

    def put_secret(self, name: str, sealed: str, *, expected: int | None, now: int) -> bool:
        """Store a secret when its version is the ``expected`` one."""
        values = {":sealed": {"S": sealed}, ":now": {"N": str(now)}, ":none": {"N": "0"}, ":one": {"N": "1"}}
        condition: dict[str, str] = {}
        if expected == 0:
            condition = {"ConditionExpression": "attribute_not_exists(PK)"}
        elif expected is not None:
            condition = {"ConditionExpression": "#version = :expected"}
            values[":expected"] = {"N": str(expected)}
        return self._conditional(
            "update_item", Key=self._key(_SECRET + name), ExpressionAttributeNames={"#version": "version"},
            UpdateExpression="SET sealed = :sealed, changed_at = :now, #version = if_not_exists(#version, :none) + :one",
            ExpressionAttributeValues=values, **condition,
        )  # fmt: skip

    def drop_secret(self, name: str) -> bool:
        """Remove a secret; return whether it was there."""
        return self._drop(_SECRET + name)

    # ---- activities that wait

    def put_pending(self, id: str, sealed: str, *, now: int) -> bool:
        """Keep an activity; return False, and leave it as it is, where one of that id waits already."""
        item = {**self._key(_PENDING + id), "sealed": {"S": sealed}, "changed_at": {"N": str(now)}}
        return self._conditional("put_item", Item=item, ConditionExpression="attribute_not_exists(PK)")

    def pending(self) -> Iterator[Pending]:
        """Yield all activities that wait, by id."""
        for row in self._rows(_PENDING):
            yield Pending(row["SK"]["S"].removeprefix(_PENDING), row["sealed"]["S"])

    def drop_pending(self, id: str) -> bool:
        """Forget an activity; return whether this call did: of two that took it on, one hears True."""
        return self._drop(_PENDING + id)

    # ---- inside

    @cached_property
    def _client(self) -> Any:
        if self._make is not None:
            return self._make()
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
        except ImportError:
            raise NotInstalled(
                "boto3 is not installed; keeping credentials in DynamoDB needs it.", hint="pip install 'tailorbird[dynamodb]'"
            ) from None
        how = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "max_attempts": 4})
        try:
            return boto3.client("dynamodb", region_name=self._region, endpoint_url=self._endpoint, config=how)
        except (BotoCoreError, ValueError) as error:
            raise Unavailable(
                f"DynamoDB cannot be spoken to ({type(error).__name__}).", hint="Look at TAILORBIRD_SECRETS_URL and AWS_REGION."
            ) from None

    def _key(self, sort: str) -> dict[str, dict[str, str]]:
        return {"PK": {"S": f"USER#{self._user}"}, "SK": {"S": sort}}

    def _rows(self, prefix: str) -> Iterator[dict[str, Any]]:
        asked: dict[str, Any] = {
            "TableName": self._table, "ConsistentRead": True,
            "KeyConditionExpression": "PK = :user AND begins_with(SK, :prefix)",
            "ExpressionAttributeValues": {":user": {"S": f"USER#{self._user}"}, ":prefix": {"S": prefix}},
        }  # fmt: skip
        while True:
            with _told(self._table):
                page = self._client.query(**asked)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _drop(self, sort: str) -> bool:
        return self._conditional("delete_item", Key=self._key(sort), ConditionExpression="attribute_exists(PK)")

    def _conditional(self, verb: str, **asked: Any) -> bool:
        """Write, and return whether the condition held."""
        with _told(self._table):
            client = self._client
            try:
                getattr(client, verb)(TableName=self._table, **asked)
            except client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def __repr__(self) -> str:
        return f"DynamoTable({self._table!r}, user={self._user!r})"


@contextmanager
def _told(table: str) -> Iterator[None]:
    """Turn what boto3 raises into words; its own texts may hold what was sent."""
    try:
        yield
    except Unavailable:
        raise
    except Exception as error:
        said: Any = getattr(error, "response", None)
        code = said.get("Error", {}).get("Code") if isinstance(said, dict) else None
        if code is None and not type(error).__module__.startswith("botocore"):
            raise
        raise Unavailable(
            f"DynamoDB did not answer as it should ({code or type(error).__name__}), asked about the table {table}.",
            hint="Look at TAILORBIRD_SECRETS_URL, and at what AWS allows these credentials.",
        ) from None
