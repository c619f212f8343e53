"""The connectors package."""
