"""The nouns that every domain shares; no I/O, no clock, no chance."""
