# Every target sets itself up: Python 3.11+ and make are all that is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Programs that packages bring along (a test server) are found as in an activated environment.
export PATH := $(abspath $(BIN)):$(PATH)
# Strict: static tools see the package too. See docs/design/layout.md.
STRICT := --config-settings editable_mode=strict

.PHONY: demo test test-slow check dev bench format clean

demo: $(VENV)/.demo
	$(BIN)/python examples/flights/demo.py

# Two tests at a time; each that wants processes or threads has its own.
test: $(VENV)/.dev
	@$(MAKE) --no-print-directory relink
	$(BIN)/python -m pytest -q -n 2

test-slow: $(VENV)/.dev
	@$(MAKE) --no-print-directory relink
	$(BIN)/python -m pytest -q -m slow

check: $(VENV)/.dev
	@$(MAKE) --no-print-directory relink
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

dev: $(VENV)/.dev

bench: $(VENV)/.dev
	@$(MAKE) --no-print-directory relink
	$(BIN)/python -m forebay.bench $(WORKLOADS)
	$(if $(WORKLOADS),,$(BIN)/python -m forebay.bench.scaling)
	$(BIN)/python -m forebay.bench.publish

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	test -f $(VENV)/.dev || $(BIN)/pip install -q -c constraints.txt -e '.[demo]' $(STRICT)
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install -q -c constraints.txt setuptools wheel
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]' $(STRICT)
	touch $@

# A strict editable install is a tree of links to files, so new files are seen only after it is made again (seconds).
.PHONY: relink
relink:
	@$(BIN)/pip install -q --no-deps --no-build-isolation -e . $(STRICT)

clean:
	rm -rf $(VENV) build demo *.egg-info
