"""Resolved expressions as SQL for SQLite, PostgreSQL and DuckDB, equal to the reference evaluator to the last bit."""

from tailorbird.expr.sql.compile import compile_count, compile_members, compile_table, compile_values
from tailorbird.expr.sql.duckdb import prepare_duckdb
from tailorbird.expr.sql.postgres import POSTGRES_FUNCTIONS
from tailorbird.expr.sql.query import Dialect, Query
from tailorbird.expr.sql.source import Source
from tailorbird.expr.sql.sqlite import prepare_sqlite
from tailorbird.expr.sql.values import read_value
from tailorbird.expr.sql.wakes import compile_wakes

__all__ = [
    "POSTGRES_FUNCTIONS", "Dialect", "Query", "Source", "compile_count", "compile_members", "compile_table",
    "compile_values", "compile_wakes", "prepare_duckdb", "prepare_sqlite", "read_value",
]  # fmt: skip
