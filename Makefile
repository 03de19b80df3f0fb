# The two commands:  make demo   make test   (each makes its own .venv the first time)
# ARGS are passed on:  make test ARGS="tests/test_core_files.py -x"

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.microgen-ready

.PHONY: help demo test slow check docs package clean

help:
	@echo "make demo     make synthetic micrographs, learn them, sample three grain sizes, prove it: demo_out/"
	@echo "make test     the test suite"
	@echo "make slow     the tests that take minutes"
	@echo "make check    lint, format and types"
	@echo "make docs     write the generated pages again"
	@echo "make package  wheel and sdist in dist/"

demo: $(READY)
	$(BIN)/microgen demo demo_out $(ARGS)

test: $(READY)
	$(BIN)/python -P -m pytest $(ARGS)

slow: $(READY)
	$(BIN)/python -P -m pytest -m slow $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python -m microgen.cli.reference > docs/cli.md

package: $(READY)
	$(BIN)/python -m build

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("microgen needs Python 3.11 or newer, not " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e ".[dev]"
	touch $(READY)

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
