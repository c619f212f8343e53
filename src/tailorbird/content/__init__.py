"""Content: what is said to a person, in their own style, language and tone."""
