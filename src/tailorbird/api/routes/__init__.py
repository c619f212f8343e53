"""The ordinary routes, a module for each noun; no business word is decided here."""
