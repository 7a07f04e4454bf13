# Each target sets up what it needs: python3 (3.11 or later), git and make are enough.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TOOLS := tests/node/node_modules/.ready

.PHONY: help demo test lint format types unit lock clean

help: ## What can be made here
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/'

demo: $(READY) ## The main job on a bundled repository: about three minutes
	$(BIN)/ailab demo

test: lint types unit ## Everything that CI runs

unit: $(READY) $(TOOLS) ## The tests alone, the linters of workflows among them
	$(BIN)/python -m pytest

lint: $(READY) ## Style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY) ## Mend style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY) ## Types
	$(BIN)/mypy

lock: $(TOOLS) ## Lock again what the action installs, after a change of the dependencies
	$(BIN)/python requirements/lock.py

clean: ## Remove what make made
	rm -rf $(VENV) tests/node/node_modules .mypy_cache .ruff_cache .pytest_cache

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("ailab needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Use make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,scenarios]'
	@touch $(READY)

# What the tests of the workflows need beside: linters, and Node with its locked packages.
$(TOOLS): $(READY) tests/node/package.json tests/node/package-lock.json tests/node/.npmrc
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[workflows]'
	$(BIN)/python tests/node_tools.py
	@touch $(TOOLS)
