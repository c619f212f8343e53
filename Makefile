# The three commands: make run, make test, make bench.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?= var/demo.db
# How many processes run tests side by side: one a core.
WORKERS ?= auto

.PHONY: run test check bench bench-small lock clean
.DEFAULT_GOAL := run

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Tailorbird needs Python 3.11 or newer; name one with: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements/run.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@touch $@

run: $(VENV)/.run  ## load the demonstration shop (once) and serve it on 127.0.0.1:8321
	@mkdir -p $(dir $(DATA))
	@echo "For the commands below, in another terminal:  . $(BIN)/activate"
	@$(BIN)/tailorbird --database $(DATA) demo --serve

check: $(VENV)/.dev  ## lint, types, import layers
	$(BIN)/ruff check src tests bench
	$(BIN)/ruff format --check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: check  ## everything: check, then unit, laws, contracts, flows, house, doctests
	@$(BIN)/python -m compileall -q src  # or each of hundreds of commands that are tried compiles it anew where Python may not keep it
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

bench: $(VENV)/.dev  ## the benchmarks of docs/reference/performance.md at full size
	$(BIN)/python -m bench $(BENCH_ARGS)

bench-small: $(VENV)/.dev  ## the same at a size that takes a minute
	$(BIN)/python -m bench --small $(BENCH_ARGS)

lock: $(BIN)/python  ## pin the newest versions again
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --extra postgres --extra content --extra crm --extra dynamodb --extra mcp --extra duplicates --extra dev -o requirements/dev.lock pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --extra content --extra crm --extra mcp -c requirements/dev.lock -o requirements/run.lock pyproject.toml
	printf 'hatchling\neditables\n' | $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header -o requirements/build.lock -

clean:
	rm -rf $(VENV) var bench/results .pytest_cache .mypy_cache .ruff_cache .hypothesis
