# Needs Python 3.11, 3.12 or 3.13 and make; everything else comes from requirements.lock.
# 3.14 is refused because nothing was tested on it yet; each version that is let in needs a run of
# `make lock`, `make test` and `make check`.
PYTHON ?= python3
# two workers: more brokers and JVMs than that starve each other on a small machine
PYTEST_WORKERS ?= 2
DEMO_ARGS ?=
BENCH_ARGS ?=
SEED ?= 1
EVENTS ?= 1000000
FAULTS ?= 110
LATE ?= 30
STORM_ARGS ?=
MUTANTS ?=
BIN := .venv/bin
LOCKED := .venv/.locked
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test storm storm-mutants check format bench lock clean

help:  ## what can be made
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv: $(STAMP)  ## the virtual environment, from the locked requirements
$(LOCKED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "spendstream needs Python 3.11, 3.12 or 3.13; '$(PYTHON)' is $$($(PYTHON) -V 2>&1)." \
	       "Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments: its venv and ensurepip modules are missing." \
	       "On Debian and Ubuntu install python3-venv." >&2; exit 1; }
	@begun=$$(date +%s); set -e; \
	$(PYTHON) -m venv --clear .venv; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock; \
	touch $@; \
	echo "installed .venv in $$(( $$(date +%s) - begun )) s"

# apart from the lock, because the parts and the console script are read from pyproject.toml
$(STAMP): $(LOCKED) pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)  ## start the embedded stack, replay generated calls, show and prove the figures
	$(BIN)/spendstream demo $(DEMO_ARGS)

test: $(STAMP)  ## every test; prints which Kafka and which ClickHouse they used
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadgroup $(PYTEST_ARGS)

# an hour on two cores; SEED=, EVENTS=, FAULTS= and LATE= make it another or a shorter one
storm: $(STAMP)  ## kill everything again and again on a real Kafka, recount every figure
	$(BIN)/python -m tests.storm --seed $(SEED) --events $(EVENTS) --faults $(FAULTS) --late $(LATE) $(STORM_ARGS)

storm-mutants: $(STAMP)  ## switch each protection off in turn: the storm must notice
	$(BIN)/python -m tests.storm.mutate $(MUTANTS)

check: $(STAMP)  ## formatting, lint, types, import contracts, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m spendstream.schemas.generate --check

format: $(STAMP)  ## format and sort imports
	$(BIN)/ruff check --fix --select I .
	$(BIN)/ruff format .

bench: $(STAMP)  ## measure against a bare loop on a real Kafka
	$(BIN)/python -m tests.bench.run $(BENCH_ARGS)

# without annotations the lock names no path and no index
lock:  ## pin requirements.in and all extras, with hashes, for Python 3.11 to 3.13
	@test -x $(BIN)/uv || { $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet uv; }
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	  --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
	  --all-extras --output-file requirements.lock pyproject.toml requirements.in

clean:  ## remove the virtual environment, caches and build artefacts; keeps .spendstream (your data)
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist build
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
