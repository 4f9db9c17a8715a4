# The two commands of the README: `make demo` and `make test`. Python 3.11+ and pip are enough.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet

.PHONY: demo test coverage test-deploy lint dist bench bench-quick lock clean help

help: ## show what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /: /'

demo: $(VENV)/.runtime ## people, requests, one sweep and its result, on embedded SQLite
	$(PY) -m tests.demo

test: $(VENV)/.dev ## every test; PostgreSQL comes from a wheel
	$(PY) -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

# Apart, since it takes half as long again: following each branch is a third of the CPU's time.
coverage: $(VENV)/.dev ## the same tests, and which lines and branches none of them reaches
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest -n auto --dist worksteal $(PYTEST_ARGS)
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report --skip-covered $(COVERAGE_ARGS)

test-deploy: $(VENV)/.dev ## the release where it runs; needs root, a network, tools of .ci/run
	$(PY) -m pytest -n 2 --dist loadfile $(PYTEST_ARGS) tests/deploy

lint: $(VENV)/.dev ## ruff, mypy --strict and the import contract
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-cache

# The wheel is made of the sdist, in a folder of its own, so that nothing gets into it that the sdist
# has not, nor what an earlier build left behind. Of one commit it comes out the same each time.
dist: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 315532800)
dist: $(VENV)/.runtime ## the sdist and the wheel, in dist/
	rm -rf dist
	$(PY) -c "from setuptools import build_meta; build_meta.build_sdist('dist')" >/dev/null
	$(PIP) wheel --no-build-isolation --no-deps --wheel-dir dist dist/*.tar.gz

bench: $(VENV)/.bench ## speed and memory beside the other ways, within an hour; BENCH_ARGS="--only big"
	$(PY) -m tests.benchmarks $(BENCH_ARGS)

bench-quick: $(VENV)/.bench ## the same, smaller, within five minutes
	$(PY) -m tests.benchmarks --quick $(BENCH_ARGS)

lock: ## resolve the lock files anew (needs uv; runs on one's own machine, not in CI)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --all-extras --group build pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --all-extras --group dev pyproject.toml -o requirements-dev.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --all-extras --group bench pyproject.toml -o requirements-bench.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --group audit -o requirements-audit.lock

clean: ## delete what the other targets made, but no requests and no exports
	rm -rf $(VENV) instance/demo .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -rf bench-results build dist *.egg-info

# Stamps: each is redone when its lock changes. A venv that lost its interpreter is made again.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes --only-binary :all: -r requirements.lock
	$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes --only-binary :all: -r requirements-dev.lock
	$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@ $(VENV)/.runtime

$(VENV)/.bench: requirements-bench.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes --only-binary :all: -r requirements-bench.lock
	$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@ $(VENV)/.dev $(VENV)/.runtime
