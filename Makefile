# make reproduce   train Tables 1 and 2 and the scaling experiment on the embedded data set, then
#                  show tables and draw figures (SCALE=mp-small: on other data; SEEDS=3: three times)
# make reproduce-rest   Table 3, and the controls of Figure 3 at equal steps
# make test        run the tests, but those that need a SLURM
# make slurm-up    start a one-node SLURM to try submissions on (root; Debian: slurm-wlm, munge)
# make slurm-down  stop it and leave nothing behind
# make test-slurm  submit, preempt, kill and resume real jobs on a SLURM that the tests start
# make figures     tables and figures from results/ (RESULTS=runs: of your own runs; STRICT=1: fail
#                  and list what is missing at scale mini)
# make report      results/report.html, one page with everything
PYTHON ?= python3
SCALE ?= mini
SEEDS ?= 1
RESULTS ?= results
BIN = .venv/bin
RUN = $(BIN)/python experiments/$(1)/run.py --local --scale $(SCALE) --seeds $(SEEDS)
# the rows of Figure 3 but its controls at equal steps
SIZES = $(foreach n,141k 281k 562k 1000k 2000k 3000k 4000k,crabnet_$(n) xxact_$(n))

.PHONY: setup reproduce reproduce-rest test figures report lint slurm-up slurm-down test-slurm
setup: .venv/installed

.venv/installed: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "xxact needs Python 3.11 or newer: make setup PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test]"
	@touch $@

reproduce: setup
	$(call RUN,table2)
	$(call RUN,table1)
	$(call RUN,scaling) --only $(SIZES)
	$(BIN)/xxact figures --results runs

reproduce-rest: setup
	$(call RUN,table3)
	$(call RUN,scaling)
	$(BIN)/xxact figures --results runs

test: setup
	$(BIN)/python -m pytest -m "not slurm" --numprocesses 2 --dist loadfile

slurm-up: setup
	$(BIN)/python slurm/throwaway.py up

slurm-down: setup
	$(BIN)/python slurm/throwaway.py down

test-slurm: setup
	$(BIN)/python -m pytest -m slurm tests/integration

figures: setup
	$(BIN)/xxact figures --results $(RESULTS) $(if $(STRICT),--strict)

report: setup
	$(BIN)/xxact report --results $(RESULTS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
