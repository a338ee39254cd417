# Every target builds the same complete environment in .venv first, from the lock; nothing needs to be activated.

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
NEEDED := $(BIN)/.installed

# What happens to be set in the caller's shell must not reach into the environment.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo test test-all sim mutants battery fuzz soak check bench format coverage lock wheel clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1	\2/p' Makefile | expand -t 20

venv: $(NEEDED) ## Build .venv with everything that the other targets need

$(BIN)/.locked: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "culm needs Python 3.11 or later; say which: make PYTHON=python3.11")'
	$(PYTHON) -m venv --clear .venv
	$(PIP) install --require-hashes --requirement requirements.lock
	@touch $@

$(NEEDED): pyproject.toml $(BIN)/.locked
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(NEEDED) ## Let two nodes edit one document (ARGS="--trace FILE --json")
	$(BIN)/culm demo $(ARGS)

test: $(NEEDED) ## Run the tests (ARGS="tests/domain -k codec")
	$(BIN)/python -m pytest -n 2 -m "not slow" --durations=5 $(ARGS)

test-all: $(NEEDED) ## Run the tests that take minutes too
	$(BIN)/python -m pytest -n 2 --durations=5 $(ARGS)

sim: $(NEEDED) ## Run simulated schedules (SEED=7, or SEEDS=0..1999; MODE=datagrams with real QUIC)
	$(BIN)/python -m scripts.simulate $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(MODE),--mode $(MODE)) $(ARGS)

mutants: $(NEEDED) ## Put known bugs into copies of the code, and see each caught (ARGS="echo")
	$(BIN)/python -m scripts.mutate $(ARGS)

battery: $(NEEDED) ## Run the long tests of reliability, going on where it stopped (ARGS="--part kills")
	$(BIN)/python -m scripts.battery $(ARGS)

fuzz: $(NEEDED) ## Feed every parser with what nobody would send (ARGS="--part invite --inputs 100000")
	$(BIN)/python -m scripts.fuzz $(ARGS)

soak: $(NEEDED) ## Let many nodes live, and see what grows (ARGS="--nodes 20 --minutes 10")
	$(BIN)/python -m scripts.soak $(ARGS)

check: $(NEEDED) ## Check format, lint, types, import contracts and dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

bench: $(NEEDED) ## Measure synchronization (ARGS="--against pycrdt-websocket")
	$(BIN)/python scripts/bench_sync.py --json $(ARGS)

format: $(NEEDED) ## Format, and mend what can be mended without thinking
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix --show-fixes .

coverage: $(NEEDED) ## Run the tests and show the branches that none of them takes
	$(BIN)/python -m coverage run -m pytest -m "not slow and not lab" $(ARGS)
	$(BIN)/python -m coverage report

lock: $(NEEDED) ## Lock the dependencies again (ARGS=--upgrade for the newest of each)
	$(BIN)/uv pip compile --no-config --quiet --universal --python-version 3.11 \
		--extra dev --extra bench --extra fuzz --extra upnp --generate-hashes --no-header --no-emit-index-url \
		--output-file requirements.lock $(ARGS) pyproject.toml

wheel: $(NEEDED) ## Build dist/culm-*.whl
	$(BIN)/python -m build --wheel --no-isolation .

clean: ## Remove .venv and everything else that can be made again
	rm -rf .venv dist build .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find domain adapters node tests scripts examples -name __pycache__ -type d -prune -exec rm -rf {} +
