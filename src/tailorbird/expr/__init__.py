"""The expression language: one meaning, several evaluators."""
