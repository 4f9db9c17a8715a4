# The two commands of the README: `make demo` and `make test`. Python 3.11+ and pip are enough.
PYTHON ?= python3
VENV := .venv
# What audits and describes a release, in an environment of its own: nothing of it is shipped.
RELEASE_VENV := $(VENV)-release
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet

.PHONY: demo test coverage mutants test-deploy lint dist audit release-check bench bench-quick lock clean help

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

# Apart, since it takes a quarter of an hour; .ci/run runs a tenth each time, chosen by the date.
mutants: $(VENV)/.dev ## small mistakes that the tests must notice; MUTANTS_ARGS="--only NAME"
	$(PY) -m tests.mutants $(MUTANTS_ARGS)

test-deploy: $(VENV)/.dev $(RELEASE_VENV)/.stamp ## the release where it runs; needs root, a network, tools of .ci/run
	$(PY) -m pytest -n 2 --dist loadfile $(PYTEST_ARGS) tests/deploy

lint: $(VENV)/.dev ## ruff, mypy --strict and the import contract
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-cache

# The wheel is made of the sdist, in a folder of its own, so that nothing gets into it that the sdist
# has not, nor what an earlier build left behind. Of one commit it comes out the same each time.
dist: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 315532800)
dist: $(VENV)/.runtime $(RELEASE_VENV)/.stamp ## the sdist, the wheel and its SBOM, in dist/
	rm -rf dist
	$(PY) -c "from setuptools import build_meta; build_meta.build_sdist('dist')" >/dev/null
	$(PIP) wheel --no-build-isolation --no-deps --wheel-dir dist dist/*.tar.gz
	for wheel in dist/*.whl; do $(SBOM) -o "$${wheel%.whl}.cdx.json" requirements.lock; done

# CycloneDX 1.6, of the lock file: what `deploy/install.sh` and the image install. Its only warning
# is that a lock file does not say which package needs which.
SBOM = $(RELEASE_VENV)/bin/python -W ignore::UserWarning -m cyclonedx_py requirements \
  --pyproject pyproject.toml --output-reproducible --of JSON

AUDIT = $(RELEASE_VENV)/bin/pip-audit --require-hashes --disable-pip --format json

# pip-audit ends with 1 for a finding, and with 0 where nobody answered: its report says which.
audit: $(VENV)/.dev $(RELEASE_VENV)/.stamp ## known vulnerabilities; an answer is kept in deploy/audit.json
	-@$(AUDIT) -r requirements.lock >$(RELEASE_VENV)/audit.json 2>/dev/null
	$(PY) -m tests.deploy.audit --record $(RELEASE_VENV)/audit.json

release-check: $(VENV)/.dev ## whether the last audit with an answer is of this lock file and this week
	$(PY) -m tests.deploy.audit --check

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
	rm -rf $(VENV) $(RELEASE_VENV) instance/demo .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
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

$(RELEASE_VENV)/.stamp: requirements-audit.lock | $(VENV)/bin/python
	$(PY) -m venv $(RELEASE_VENV)
	$(RELEASE_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes \
	  --only-binary :all: -r requirements-audit.lock
	@touch $@

$(VENV)/.bench: requirements-bench.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes --only-binary :all: -r requirements-bench.lock
	$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@ $(VENV)/.dev $(VENV)/.runtime
