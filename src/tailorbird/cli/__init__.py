"""The command line: a thin face over ``Engine``; tables for people, ``--json`` for programs."""
