# Two commands set everything up on a fresh machine: `make demo` and `make test`. They need python3 >= 3.11 with venv, and pip's registry.
#
#   PYTHON   the Python that makes the environment          make demo PYTHON=python3.12
#   TORCH    the torch build that the tests use, as pip     make test TORCH=torch==2.13.0
#            names it; more pip options may follow it

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
.DEFAULT_GOAL := help
.PHONY: help demo test test-weights test-learning lint format docs bench bench-train picture clean FORCE

help:  ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)

demo: $(VENV)/.run  ## install, remove a person from the sample clip, say where the result and its report lie
	@$(BIN)/framefill demo --folder demo

test: $(VENV)/.test  ## install what the tests need, run them
	$(BIN)/python -m pytest -m "not weights and not learning" $(ARGS)

test-weights: $(VENV)/.test  ## get the weights of the networks that measure (255 MB), run the tests that need them
	$(BIN)/framefill weights get all
	$(BIN)/python -m pytest -m weights $(ARGS)

test-learning: $(VENV)/.test  ## train small nets for half an hour and see that they learned
	$(BIN)/python -m pytest -m learning $(ARGS)

lint: $(VENV)/.test $(VENV)/.lint  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.lint  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.docs  ## the documentation as HTML in site/
	$(BIN)/mkdocs build --strict

bench: $(VENV)/.run  ## the figures of the README, measured here
	$(BIN)/python benchmarks/fill.py $(ARGS)

bench-train: $(VENV)/.test  ## the figures of training and of the weights that come along, measured here
	$(BIN)/python benchmarks/training.py $(ARGS)
	$(BIN)/python benchmarks/tasks.py

picture: $(VENV)/.test  ## the README's pictures, made by the program
	$(BIN)/python tools/make_readme_picture.py docs/before-mask-after.jpg docs/what-no-frame-shows.jpg

clean:  ## remove the environment and everything made
	rm -rf $(VENV) build dist site demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# Stamps: each says that one set of packages is installed, so that a second run starts at once.
# The environment holds this checkout itself (an editable install): a change to the code needs no new install.

$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { echo "framefill needs Python 3.11 or newer; '$(PYTHON)' was not found. Say which: make demo PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "framefill needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Say another: make demo PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "'$(PYTHON)' has no venv module. Install it (Debian, Ubuntu: apt install python3-venv) and run make again." >&2; exit 1; }
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: pyproject.toml $(VENV)/.made
	@echo "Installing framefill into $(VENV)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.torch: FORCE $(VENV)/.made
	@echo '$(TORCH)' | cmp -s - $@ || { echo "Installing $(TORCH) into $(VENV)" && $(PIP) $(TORCH) && echo '$(TORCH)' > $@; }

$(VENV)/.test: pyproject.toml $(VENV)/.run $(VENV)/.torch
	@echo "Installing what the tests need into $(VENV)"
	@$(PIP) --editable '.[test,train,depth]'
	@touch $@

$(VENV)/.lint: pyproject.toml $(VENV)/.run
	@echo "Installing the linters into $(VENV)"
	@$(PIP) --editable '.[lint]'
	@touch $@

$(VENV)/.docs: pyproject.toml $(VENV)/.run
	@echo "Installing mkdocs into $(VENV)"
	@$(PIP) --editable '.[docs]'
	@touch $@
