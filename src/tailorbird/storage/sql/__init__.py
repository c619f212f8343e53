"""The record in an SQL database: SQLite or PostgreSQL."""
