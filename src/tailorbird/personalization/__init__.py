"""Which segment label a contact gets, through which channel to reach them, and what to recommend."""
