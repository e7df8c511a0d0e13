# Every target does its own set-up: virtual environment, locked dependencies, system packages.
SHELL := /bin/bash
PY := .venv/bin/python

.PHONY: setup system demo test check bench simulate crash clean

setup: .venv/.ready system

.venv/.ready: requirements.lock pyproject.toml
	@bash deploy/system-packages.sh base
	python3 -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

system:
	@bash deploy/system-packages.sh tests

demo: .venv/.ready
	.venv/bin/offsite demo

test: setup check
	@$(PY) tests/suites.py

check: .venv/.ready
	@started=$$SECONDS; \
	.venv/bin/ruff check . && .venv/bin/mypy && .venv/bin/lint-imports && $(PY) tests/budgets.py && \
	$(PY) -m pytest -q --doctest-modules detectors connectors streams cases console offsite --ignore=offsite/city/__main__.py --ignore=cases/migrations && \
	echo "check: $$((SECONDS - started)) s"

bench: .venv/.ready
	$(PY) -m tests.bench

simulate: .venv/.ready
	$(PY) tests/faults/simulate.py --seeds $(or $(SEEDS),2000)

crash: .venv/.ready
	KILLS=$(or $(KILLS),50) $(PY) -m pytest -q tests/faults/test_crash.py

clean:
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis
