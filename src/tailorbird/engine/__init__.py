"""The composition root and the façade: everything a face or a script can do, as one object."""

from tailorbird.engine.facade import Engine
from tailorbird.engine.views import (
    Answer,
    EventView,
    FeatureView,
    IdentifierView,
    MemberPage,
    MembershipView,
    MemberView,
    OutboxPage,
    ProfileView,
    SegmentView,
    Timeline,
)

__all__ = [
    "Answer", "Engine", "EventView", "FeatureView", "IdentifierView", "MemberPage", "MemberView", "MembershipView", "OutboxPage",
    "ProfileView", "SegmentView", "Timeline",
]  # fmt: skip
