# Everything from a fresh clone: `make demo` and `make test` set up .venv by themselves.
#
#   PYTHON=python3.12 make demo     another Python (3.11 or newer)
#   TORCH_INDEX= make demo          torch as PyPI has it: on Linux the CUDA build, several GB, for a GPU
#   ONLY="broker grading" make mutants   defects of modules whose path has one of these words
#   EXTRAS=dev,sample,track make setup   more of pyproject.toml's extras

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= dev,sample,data,openenv
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# Two workers, each with one thread: on two cores faster than one worker with two.
WORKERS ?= 2

STAMP := $(VENV)/.installed
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
TORCH := $(shell grep '^torch==' constraints.txt)
# Files in the order of tests/conftest.py; by default xdist begins with those of many tests, and ends in a long one.
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: help demo test check static slow coverage mutants setup clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */\1|/' | awk -F'|' '{printf "  make %-8s %s\n", $$1, $$2}'

demo: setup  ## set up from nothing, then train and report on the practice market (about four minutes on two cores)
	$(VENV)/bin/tradeschool run recipes/demo.yaml --open

test: setup  ## set up from nothing, then the tests
	$(PYTEST)

check: static  ## ruff, mypy and the fast tests
	$(PYTEST) -q

static: setup  ## ruff and mypy alone
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

slow: setup  ## the tests that train models
	$(VENV)/bin/python -m pytest -m slow --durations=10 -v

coverage: setup  ## how many of the environment's lines its tests run: 95 % or more
	$(PYTEST) -q tests/env --cov=tradeschool/env --cov-report=term-missing:skip-covered --cov-fail-under=95

mutants: setup  ## plant some 250 defects in the environment, one at a time: every one turns a test red (half an hour)
	$(VENV)/bin/python -m tests.mutants $(ONLY)

setup: $(STAMP)  ## set up alone: a virtual environment in .venv with the exact versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "tradeschool needs Python 3.11 or newer, and '$(PYTHON)' is: $$($(PYTHON) --version 2>&1 || true)"; \
	    echo "Install one, or name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "[1/3] virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "Could not make it. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "[2/3] $(TORCH) (200 MB; some minutes)"
	@$(PIP) install -q --no-deps $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX) --timeout 20 --retries 1) $(TORCH)
	@echo "[3/3] tradeschool and its other libraries (300 MB; some minutes)"
	@$(PIP) install -q -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@
	@echo "Set up."

clean:  ## remove the virtual environment and all caches; runs/ stays
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find tradeschool tests -name __pycache__ -type d -prune -exec rm -rf {} +
