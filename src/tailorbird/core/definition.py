"""A Definition: anything a person authors; immutable once active, a new version replaces it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tailorbird.core.event import Json

__all__ = ["Definition", "Kind", "Status"]


class Kind(StrEnum):
    """What can be defined so far. A folder of files may hold all of them in any order."""

    ATTRIBUTE = "attribute"  # spec: type, description; a custom field's type
    FEATURE = "feature"  # spec: value, type?, view?, description?
    FEATURE_VIEW = "feature_view"  # spec: features: [names], description?
    SEGMENT = "segment"  # spec: when | members: manual, description?
    SUBSCRIPTION = "subscription"  # spec: events: [types], url, secret_env?, segments?: [names]
    GATE = "gate"  # spec: channel, purpose?, cap?: {count, per}, quiet_hours?: {from, to, timezone?}
    MERGE_RULE = "merge_rule"  # spec: see profiles
    ENRICHMENT = "enrichment"  # spec: providers: [{provider, when?, take?, …}], if_unverified?, again_after?, prefer?
    TEMPLATE = "template"  # spec: type, language?, subject?, preheader?, html? | mjml?, text?, body?, variants?, … see content
    LIFECYCLE = "lifecycle"  # spec: stages: [{name, when?, from_anywhere?, terminal?}]; what people go through
    PIPELINE = "pipeline"  # spec: stages: [{name, probability}]; what deals go through
    PERSONALIZATION = "personalization"  # spec: labels: [{label, when?, content}], gaps, interactions, channels, …
    MAPPING = (
        "mapping"  # spec: connection?, fields?: [{field, attribute?, direction?, transform?, wins?}], tags?, consent?, object?
    )


class Status(StrEnum):
    """draft → checked → previewed → active → archived; ``failed`` when activation could not finish."""

    DRAFT = "draft"
    CHECKED = "checked"
    PREVIEWED = "previewed"
    ACTIVE = "active"
    ARCHIVED = "archived"
    FAILED = "failed"


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a definition. ``digest`` is of the canonical spec: applying the same spec again changes nothing.

    ``error`` is the last thing that went wrong with it, ``fresh_at`` the instant up to which what it yields is current.
    """

    kind: str
    name: str
    version: int
    status: str
    spec: dict[str, Json]
    digest: str
    created_at: int
    activated_at: int | None = None
    archived_at: int | None = None
    fresh_at: int | None = None
    error: str | None = None
