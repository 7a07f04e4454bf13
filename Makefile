# Each target sets up what it needs: python3 (3.11 or later), git and make are enough.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test lint format types unit clean

help: ## What can be made here
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/'

demo: $(READY) ## The main job on a bundled repository: about three minutes
	$(BIN)/ailab demo

test: $(READY) lint types unit ## Everything that CI runs

unit: $(READY) ## The tests alone
	$(BIN)/python -m pytest

lint: $(READY) ## Style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY) ## Mend style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY) ## Types
	$(BIN)/mypy

clean: ## Remove what make made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("ailab needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Use make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,scenarios]'
	@touch $(READY)
