# Everything a newcomer types. Only Python 3.11, pip, make and git are needed; nothing needs root.
PYTHON ?= python3.11
BIN := .venv/bin
UV := $(BIN)/uv
COMPILE := $(UV) pip compile --universal --generate-hashes --no-emit-index-url --no-annotate --no-header -q

.PHONY: setup demo test check format bench lock wheels clean
.DEFAULT_GOAL := help

help:  ## what each target does
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: .venv/.ready  ## .venv with handrail in it, locked by hash

.venv/.ready: requirements/uv.txt requirements/dev.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(UV) pip sync -q --python $(BIN)/python --require-hashes requirements/uv.txt requirements/dev.txt
	@$(UV) pip install -q --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## the main job: demonstrations -> guide -> small policy, compared and drawn
	@$(BIN)/handrail demo

test: setup  ## the tests
	@$(BIN)/python -m pytest -n 2 --dist worksteal

check: setup  ## format, lint, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright

format: setup  ## format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup  ## the benchmarks; each ends with one JSON line of ratios
	@for script in benchmarks/[a-z]*.py; do $(BIN)/python $$script || exit 1; done

lock: setup  ## compile requirements/*.txt from pyproject.toml
	@echo uv | $(COMPILE) - -o requirements/uv.txt
	@$(COMPILE) pyproject.toml --extra native --extra bullet --extra video --extra ray --group dev --python-version 3.11 -o requirements/dev.txt

wheels: setup  ## whether all that handrail needs has a wheel for the newer Pythons
	@for version in 3.12 3.13; do $(UV) pip install -q --dry-run --only-binary :all: \
		--target build/wheels --python-version $$version --python-platform x86_64-manylinux_2_28 \
		-r pyproject.toml --extra native --extra video --extra ray || exit 1; \
		echo "Python $$version: a wheel for each"; done

clean:
	@rm -rf .venv build dist
