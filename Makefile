# make help lists the targets. PYTHON chooses the interpreter (3.11 to 3.13): make train PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help train test faults check docs readme results bench tensorboard

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

train: $(VENV)/installed  ## make the environment and train the default: translation of dates with attention
	$(BIN)/seqtrain

test: $(VENV)/installed  ## make the environment and run the tests
	$(BIN)/pytest -n auto --dist worksteal

faults: $(VENV)/installed  ## the long form of the tests of faults: kills, damage, full disks (an hour or two of one core)
	$(BIN)/pytest tests/faults --long -s

check: $(VENV)/installed docs  ## format, lint, types, and the docs site
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

docs: $(VENV)/installed  ## build the docs site: build/site/index.html
	$(BIN)/python docs/build.py

readme: $(VENV)/installed  ## run the commands of README.md as they are written (long)
	$(BIN)/pytest tests/test_docs.py -k README --as-written

results: $(VENV)/installed  ## train what RESULTS.md reports, or ROWS="sst2 weather" of it, and rewrite it (hours)
	$(BIN)/python scripts/results.py $(ROWS)

bench: $(VENV)/installed  ## measure speed, or ROWS="sentiment forecasting" of it, beside the limit of this machine
	$(BIN)/python scripts/benchmark.py $(ROWS)

tensorboard: $(VENV)/installed  ## look at all runs in TensorBoard
	$(BIN)/tensorboard --logdir outputs

# torch comes first and pinned: without a GPU an unpinned one fetches gigabytes of CUDA libraries.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 14) else \
	    f"Python {v.major}.{v.minor} is not supported: name one from 3.11 to 3.13, as in make train PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt torch
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	@touch $@
