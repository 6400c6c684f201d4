# Two commands do all the set-up:  make plan   and   make test
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
JOB    ?= planner/examples/llama3-70b-1024-h100.yaml

.PHONY: plan test lint bench clean

plan: $(VENV)/installed
	@$(BIN)/sixfold plan $(JOB)

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/installed-dev
	$(BIN)/python -m pytest benchmarks/speed

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev,jax]'
	@touch $@

clean:
	rm -rf $(VENV) out
