# Two commands do all the set-up:  make plan   and   make test
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
JOB    ?= planner/examples/llama3-70b-1024-h100.yaml
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Tests start many processes: what one has compiled of Python the next should find.
unexport PYTHONDONTWRITEBYTECODE

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

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

# Everything at once, and compiled by all cores.
$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(PIP) --no-compile --editable '.[dev,jax]'
	@$(BIN)/python -m compileall -q -j 0 -x '/tests?/' $(VENV)/lib > /dev/null || true
	@touch $(VENV)/installed $@

clean:
	rm -rf $(VENV) out
