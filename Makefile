# make demo    installs into .venv and runs the built-in example, dates in many languages to ISO 8601
# make test    installs what the tests need and runs everything that .ci/run checks
# make clean   removes .venv, runs and caches
#
# PYTHON=python3.12 make demo     uses another Python, 3.11 to 3.13
# PYTEST_ARGS="-k search" make test

PYTHON ?= python3
PYTEST_ARGS ?=
BIN := .venv/bin

# A stamp newer than pyproject.toml means: installed. Then pip is not asked, so that everything works offline.
INSTALLED := .venv/installed
INSTALLED_FOR_TESTS := .venv/installed-for-tests

.PHONY: demo test clean

demo: $(INSTALLED)
	$(BIN)/heliograph run dates

test: $(INSTALLED_FOR_TESTS)
	$(BIN)/python -m pip check --disable-pip-version-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest --numprocesses 2 --dist loadfile $(PYTEST_ARGS)

clean:
	rm -rf .venv runs build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml | $(BIN)/python
	@echo 'installing into .venv, a few minutes and 2 GB the first time'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(INSTALLED_FOR_TESTS): pyproject.toml | $(BIN)/python
	@echo 'installing into .venv, a few minutes and 2 GB the first time'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $(INSTALLED) $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "expected Python 3.11 to 3.13, got $$($(PYTHON) --version 2>&1); name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
