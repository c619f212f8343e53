"""What people author: files, catalog and life cycle."""
