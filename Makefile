# Every target makes what it needs from nothing but Python 3.11 or newer.
#   make demo ARGS=--once      three real servers, started end to end
#   make demo-fleet ARGS=--once  three controllers with one store; one is killed during a start
#   make test                  the quick tests
#   make test-lowest           some quick tests with the lowest permitted versions of the libraries
#   make test-all              all of them: also lost hosts, chaos, attackers, the wheel
#   make test-slow             those of test-all that are not in test
#   make soak                  what takes too long for every change: all layouts, odd answers, kills, random examples
#   make soak-data             every action on every layout of real homes
#   make soak-fleet            100 faults of controllers with a shared store and of its database
#   make check                 style, types, import contracts, generated pages, shell scripts
#   make docs                  writes the generated pages
#   make screenshots           pictures of all pages in screenshots/
#   make bench                 figures; asserts nothing
#   make bench-engine          the engine beside DBOS and the raw limit
#   make bench-api             the API beside bare aiohttp handlers
#   make bench-mysql           the MySQL client beside aiomysql and asyncmy
#   make bench-shared          the shared store beside SQLite, take-overs, idle cost
#   make bench-dashboard       first paint, CPU of event streams, delay of a killed server

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARGS ?=
RERUNS := --reruns 1 -rR
ALONE := tests/integration/server tests/unit/hosts tests/acceptance/test_sudo.py
# Modules are compiled once, not again in each of the many processes that tests start.
unexport PYTHONDONTWRITEBYTECODE
# Each library is used by at least one of these; together they take about a minute on two cores.
LOWEST_TESTS := tests/unit tests/architecture/test_dependencies.py \
    tests/conformance/test_store.py tests/conformance/test_sqlite_lifecycle.py \
    tests/conformance/test_runner.py tests/integration/api/test_envelope.py \
    tests/integration/api/test_login.py tests/integration/client/test_monitoring_routes.py \
    tests/integration/cluster/test_standin.py

.PHONY: demo demo-fleet test test-slow test-all soak soak-data soak-fleet test-lowest check docs screenshots bench bench-engine bench-api bench-mysql bench-shared bench-dashboard clean

demo: $(VENV)/demo.stamp
	@echo "== starting the demo; Ctrl-C ends it"
	$(BIN)/dagengine demo $(ARGS)

demo-fleet: $(VENV)/demo.stamp
	@echo "== starting the demo of several controllers; Ctrl-C ends it"
	$(BIN)/dagengine demo --fleet $(ARGS)

# More processes than cores: many tests wait. tests/conftest.py has the groups.
# A failed test runs once more, since on a busy machine a fault may strike at another moment; the
# summary names it, and more than MAX_RERUNS such tests fail the run (tests/conftest.py).
test: $(VENV)/dev.stamp
	@echo "== running the quick tests"
	$(BIN)/python -m pytest -m "not slow and not soak and not outside_sample" -n 4 --dist loadgroup $(RERUNS) $(ARGS)

# Those of ALONE one after the other: they measure, or take the machine for themselves.
test-slow: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m "slow and not outside_sample" -n 2 --dist loadfile $(RERUNS) $(ALONE:%=--ignore=%) $(ARGS)
	$(BIN)/python -m pytest -m "slow and not outside_sample" $(RERUNS) $(ALONE) $(ARGS)

# Neither is part of test-all.
soak: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m "soak or outside_sample" $(ARGS)
	$(BIN)/python -m pytest --hypothesis-profile random tests/property $(ARGS)

soak-data: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m soak tests/layouts $(ARGS)

# SOAK_FLEET_FAULTS and SOAK_FLEET_SEED in the environment choose another run.
soak-fleet: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -s -m soak tests/soak_fleet $(ARGS)

# One after the other, also with `make -j`.
test-all: test
	$(MAKE) test-slow

test-lowest: $(LOWEST)/stamp
	$(BIN)/uv pip freeze --python $(LOWEST)/bin/python
	$(LOWEST)/bin/python .ci/check_lowest.py
	$(LOWEST)/bin/python -m pytest -m "not slow" -n 2 $(RERUNS) $(LOWEST_TESTS) $(ARGS)

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=benchmarks:benchmarks/engine_cases $(BIN)/mypy benchmarks/*.py benchmarks/*/*.py
	$(BIN)/lint-imports
	$(BIN)/python -m docs.generate --check
	$(BIN)/shellcheck --external-sources --source-path=SCRIPTDIR .ci/run $$(git ls-files '*.sh')

docs: $(VENV)/dev.stamp
	$(BIN)/python -m docs.generate

screenshots: $(VENV)/dev.stamp
	$(BIN)/python -m docs.screenshots screenshots

bench: $(VENV)/dev.stamp
	for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

bench-engine: $(VENV)/bench.stamp
	$(BIN)/python benchmarks/engine.py

bench-api: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/api.py

bench-mysql: $(VENV)/bench.stamp
	$(BIN)/python benchmarks/mysql_client.py

bench-shared: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/shared_store.py

bench-dashboard: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/dashboard.py

clean:
	rm -rf $(VENV) $(LOWEST) build dist screenshots *.egg-info .mypy_cache .ruff_cache .pytest_cache \
	    .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is newer than setup.cfg once the environment holds what setup.cfg asks for.
$(VENV)/pyvenv.cfg:
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not installed; name a Python 3.11 or newer: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "make: $(PYTHON) is `$(PYTHON) --version 2>&1`; name a Python 3.11 or newer: make PYTHON=python3.12" >&2; exit 1; }
	@echo "== creating $(VENV) with `$(PYTHON) --version 2>&1`"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: setup.cfg pyproject.toml | $(VENV)/pyvenv.cfg
	@echo "== installing dagengine and the demo's server into $(VENV); this downloads packages"
	@$(PIP) install --editable '.[demo]'
	@touch $@

$(VENV)/bench.stamp: $(VENV)/dev.stamp
	@echo "== installing the libraries of the benchmarks into $(VENV)"
	@$(PIP) install --editable '.[bench]'
	@touch $@

$(VENV)/dev.stamp: setup.cfg pyproject.toml | $(VENV)/pyvenv.cfg
	@echo "== installing dagengine with the libraries of its tests into $(VENV); this downloads packages"
	@$(PIP) install --editable '.[demo,test,peers,dev]'
	@touch $@ $(VENV)/demo.stamp

# Made afresh, so that no newer version remains. Wheels only: a version that has none for this
# Python does not count. uv compiles no bytecode by itself, and some tools warn while they are compiled.
$(LOWEST)/stamp: $(VENV)/dev.stamp Makefile
	rm -rf $(LOWEST)
	$(BIN)/uv venv --quiet --python $(BIN)/python $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct \
	    --only-binary :all: --no-binary dagengine --compile-bytecode --editable '.[demo,test]'
	touch $@
