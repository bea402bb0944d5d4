# `make` lists the commands. Needs python3 >= 3.11, make and git, and nothing else.
PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo check test bench docs chaos simulate mutation proof lock clean

help: ## list the commands
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

.venv/run: requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Chartgate needs Python 3.11 or newer; set PYTHON=/path/to/python3"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "python3 has no venv module here; install it (Debian: python3-venv) or set PYTHON"; exit 1; }
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev: .venv/run requirements/dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

setup: .venv/run ## install what Chartgate runs on, into .venv

demo: .venv/run ## one AI action end to end, on a sample hospital; CI=1 exits when done
	$(BIN)/chartgate demo

check: .venv/dev ## format, lint, types, layers, tidy, generated docs: under 20 seconds
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/lint-imports > build-layers.log 2>&1 || { cat build-layers.log; exit 1; }; rm -f build-layers.log
	$(BIN)/mypy --no-error-summary
	$(BIN)/pytest tests/tidy

test: .venv/dev check ## everything that CI runs
	$(BIN)/pytest -n $(JOBS)

bench: .venv/dev ## measure; writes benchmarks/results/*.json
	$(BIN)/python -m benchmarks.run

chaos: .venv/dev ## crash at each point, restarts, kill -9 at random: count what was lost
	$(BIN)/python -m benchmarks.crash_points
	$(BIN)/python -m benchmarks.restarts
	$(BIN)/python -m benchmarks.chaos
	$(BIN)/python -m benchmarks.feed_chaos --messages 30000

simulate: .venv/dev ## ten thousand seeds of the simulator, and three planted faults
	$(BIN)/python -m benchmarks.simulate
	for fault in no-last-look no-resolving blind-rollback; do \
		$(BIN)/python -m benchmarks.simulate --seeds 2000 --planted $$fault || exit 1; done

.venv/mutation: .venv/dev requirements/mutation.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/mutation.txt
	@touch $@

mutation: .venv/mutation ## change policy, guards and ledger a little, and count what no test notices
	$(BIN)/python -m benchmarks.mutation

proof: .venv/dev ## strace: the WAL sync comes before the answer; needs strace
	$(BIN)/python -m benchmarks.sync_order

docs: .venv/dev ## write docs/reference from the code
	$(BIN)/python -m tools.reference

LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url

lock: .venv/dev ## resolve requirements/*.txt anew
	$(LOCK) -o requirements/run.txt pyproject.toml requirements/build.in
	$(LOCK) -o requirements/dev.txt requirements/dev.in
	$(LOCK) -o requirements/mutation.txt requirements/mutation.in

clean: ## remove what setup and the tests made
	rm -rf .venv var build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
