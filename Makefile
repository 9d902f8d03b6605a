# The two commands of the README: `make demo` and `make test`. Set-up runs once and again only
# when what it was made from changes.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := $(shell find csrc -type f) setup.py pyproject.toml

.PHONY: demo test lint build clean

test: .venv/.tests .venv/.built lint
	$(BIN)/python -m pytest

lint: .venv/.tests .venv/.built
	$(BIN)/ruff check python tests setup.py
	$(BIN)/ruff format --check python tests setup.py

build: .venv/.built

.venv/.core: requirements/build.txt requirements/eval.txt requirements/demo.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements/build.txt
	$(BIN)/python -m pip install --quiet -r requirements/eval.txt
	$(BIN)/python -m pip install --quiet --no-deps -r requirements/demo.txt
	touch $@

.venv/.tests: .venv/.core requirements/dev.txt requirements/peers.txt
	$(BIN)/python -m pip install --quiet -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps -r requirements/peers.txt
	touch $@

.venv/.built: .venv/.core $(SOURCES)
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	touch $@

clean:
	rm -rf build .venv python/shiftable/*.so
