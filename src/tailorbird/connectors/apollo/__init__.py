"""Apollo.io: people match and bulk match."""

from __future__ import annotations

from tailorbird.connectors.apollo.connector import ApolloConnector

__all__ = ["ApolloConnector"]
