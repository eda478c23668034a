# A fresh clone needs nothing but make and Python 3.10 or newer: `make up`.
# Another Python than python3: `make up PYTHON=python3.12`.

PYTHON ?= python3
BIN := .venv/bin
COMPILE = $(BIN)/uv pip compile pyproject.toml --extra demo --universal --python-version 3.10 \
	--generate-hashes --no-header --no-annotate --quiet

.PHONY: help setup up down test test-unit lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' $(MAKEFILE_LIST) | awk -F': ' '{printf "make %-9s %s\n", $$1, substr($$0, length($$1) + 3)}'

setup: ## install what is missing, into .venv and var; nothing the second time
	@$(PYTHON) -m rollout.install.bootstrap
	@$(BIN)/python -m rollout stack setup

up: setup ## set up, check, start everything, and wait until it is ready
	@$(BIN)/python -m rollout stack up

down: ## stop everything
	@test ! -x $(BIN)/python || $(BIN)/python -m rollout stack down

test: setup ## lint, type check, and all tests (some of them: TESTS=tests/server/test_setup.py)
	@$(PYTHON) -m rollout.install.bootstrap --dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder $(TESTS)

test-unit: ## the quick tests alone: pure, no server, no linter, no types
	@$(PYTHON) -m rollout.install.bootstrap --dev
	$(BIN)/pytest -q --hypothesis-profile quick tests/unit

lock: ## pin what pyproject.toml asks for (at newer versions: UPGRADE=--upgrade)
	@$(PYTHON) -m rollout.install.bootstrap --dev
	$(COMPILE) $(UPGRADE) -o requirements.lock
	$(COMPILE) $(UPGRADE) --group dev -c requirements.lock -o requirements-dev.lock

clean: ## stop everything, and remove .venv and var with all their data
	@test ! -x $(BIN)/supervisord || $(BIN)/python -m rollout stack down
	rm -rf .venv var .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
