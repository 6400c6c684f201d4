# Two commands do all the set-up:  make plan   and   make test
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
JOB    ?= planner/examples/llama3-70b-1024-h100.yaml

.PHONY: plan test lint smoke bench docs clean

plan: $(VENV)/installed
	@$(BIN)/sixfold plan $(JOB)

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The speed benchmarks once, for their answers: nothing fails for being slow.
smoke: $(VENV)/installed-dev
	$(BIN)/python -m pytest benchmarks/speed --benchmark-disable

bench: $(VENV)/installed-dev
	$(BIN)/python -m pytest benchmarks/speed -s

# What the documents show of real runs; VALIDATION: what `sixfold validate --json` wrote, then its runs.
docs: $(VENV)/installed
	$(BIN)/python docs/refresh.py $(VALIDATION)

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,jax]'
	@touch $@

clean:
	rm -rf $(VENV) out
