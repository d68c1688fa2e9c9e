# make reproduce   train Table 2 (and its unimodal rows) on the embedded data set, then show tables
# make test        run the tests
# make figures     tables and figures from results/ (RESULTS=runs: from your own runs)
PYTHON ?= python3
SCALE ?= mini
RESULTS ?= results
BIN = .venv/bin

.PHONY: setup reproduce test figures lint
setup: .venv/installed

.venv/installed: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "xxact needs Python 3.11 or newer: make setup PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test]"
	@touch $@

reproduce: setup
	$(BIN)/python experiments/table2/run.py --local --scale $(SCALE)
	$(BIN)/python experiments/table1/run.py --local --scale $(SCALE)
	$(BIN)/xxact figures --results runs

test: setup
	$(BIN)/python -m pytest

figures: setup
	$(BIN)/xxact figures --results $(RESULTS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
