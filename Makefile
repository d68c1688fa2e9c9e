# make reproduce   train Table 2 (and its unimodal rows) on the embedded data set, then show tables
# make test        run the tests
# make figures     tables and figures from results/ (RESULTS=runs: of your own runs; STRICT=1: fail
#                  and list what is missing at scale mini)
# make report      results/report.html, one page with everything
PYTHON ?= python3
SCALE ?= mini
RESULTS ?= results
BIN = .venv/bin

.PHONY: setup reproduce test figures report lint
setup: .venv/installed

.venv/installed: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "xxact needs Python 3.11 or newer: make setup PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test]"
	@touch $@

reproduce: setup
	$(BIN)/python experiments/table1/run.py --local --scale $(SCALE)
	$(BIN)/python experiments/table2/run.py --local --scale $(SCALE)
	$(BIN)/xxact figures --results runs

test: setup
	$(BIN)/python -m pytest

figures: setup
	$(BIN)/xxact figures --results $(RESULTS) $(if $(STRICT),--strict)

report: setup
	$(BIN)/xxact report --results $(RESULTS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
