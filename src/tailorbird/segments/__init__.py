"""The segments package."""
