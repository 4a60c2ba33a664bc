# Every target makes what it needs from nothing but Python 3.11 or newer.
#   make demo ARGS=--once      three real servers, started end to end
#   make test                  the quick tests
#   make test-all              all of them: also lost hosts, chaos, attackers, the wheel
#   make check                 style, types, arrows between rooms, generated pages
#   make bench                 figures; asserts nothing
#   make bench-engine          the engine beside DBOS and the raw limit
#   make bench-api             the API beside bare aiohttp handlers
#   make bench-mysql           the MySQL client beside aiomysql and asyncmy

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARGS ?=

.PHONY: demo test test-all check bench bench-engine bench-api bench-mysql clean

demo: $(VENV)/demo.stamp
	$(BIN)/dagengine demo $(ARGS)

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m "not slow" -n 2 $(ARGS)

# The slow ones one after the other: they measure, or take the machine for themselves.
test-all: test
	$(BIN)/python -m pytest -m slow $(ARGS)

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=benchmarks:benchmarks/engine_cases $(BIN)/mypy benchmarks/*.py benchmarks/*_cases/*.py
	$(BIN)/lint-imports
	$(BIN)/python -m dagengine.rules.page --check docs/state_machine.md
	$(BIN)/python -m dagengine.api_page --check docs/http_api.md
	$(BIN)/python -m tasks.page --check docs/checks.md docs/known_errors.md

bench: $(VENV)/dev.stamp
	for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

bench-engine: $(VENV)/bench.stamp
	$(BIN)/python benchmarks/engine.py

bench-api: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/api.py

bench-mysql: $(VENV)/bench.stamp
	$(BIN)/python benchmarks/mysql_client.py

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache \
	    .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is newer than setup.cfg once the environment holds what setup.cfg asks for.
$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: setup.cfg pyproject.toml | $(VENV)/pyvenv.cfg
	$(PIP) install --editable '.[demo]'
	touch $@

$(VENV)/bench.stamp: $(VENV)/dev.stamp
	$(PIP) install --editable '.[bench]'
	touch $@

$(VENV)/dev.stamp: setup.cfg pyproject.toml | $(VENV)/pyvenv.cfg
	$(PIP) install --editable '.[demo,test,dev]'
	touch $@ $(VENV)/demo.stamp
