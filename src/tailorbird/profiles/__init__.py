"""The profiles package."""
