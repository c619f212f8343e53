"""The HTTP face: a short path for events and feature reads, ordinary routes for everything else, keys, metrics, the log."""
