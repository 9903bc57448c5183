# `make` lists the targets. Each sets up the virtual environment .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(sort $(wildcard core/*.py cli/*.py estimators/*.py transport/*.py kernels/*.py kernels/*/*.py))
# a new or removed source file means a new installation: the editable link tree holds one link a file
LISTED := $(VENV)/sources-$(shell printf '%s ' $(SOURCES) | cksum | cut -d' ' -f1)
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint bench man wheel dev clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(LISTED): pyproject.toml setup.cfg | $(BIN)/python
	$(BIN)/python -m pip install --quiet --quiet --editable '.[dev]'
	@rm -f $(VENV)/sources-* && touch $@

dev: $(LISTED) ## create .venv with divmatch and the developers' tools

demo: dev ## score real and synthetic digits against real ones
	$(BIN)/python tests/demo.py $(BIN)/divmatch

test: dev ## all fast tests
	$(BIN)/python -m pytest -q -n 2

test-slow: dev ## statistical checks: coverage of intervals, uniformity of p-values
	$(BIN)/python -m pytest -q -n 2 -m slow

lint: dev ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: dev ## ratios against named peers, written to tests/bench/RESULTS.md
	$(BIN)/python -m pip install --quiet --quiet --editable '.[bench]'
	$(BIN)/python -m tests.bench.run

man: dev ## rewrite the manual pages from the commands
	$(BIN)/python -m divmatch.cli.man man

wheel: dev ## build dist/*.whl
	$(BIN)/python -m build --wheel --outdir dist .

clean: ## remove what was built
	rm -rf $(VENV) build dist *.egg-info demo
