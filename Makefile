# Every target does its own set-up: virtual environment, locked dependencies, system packages.
SHELL := /bin/bash
PY := .venv/bin/python

.PHONY: setup system servers demo test check bench bench-kafka simulate crash chaos bundle clean

setup: .venv/.ready system

.venv/.ready: requirements.lock pyproject.toml
	@bash deploy/system-packages.sh base
	python3 -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

system:
	@bash deploy/system-packages.sh tests

# Real servers that no package manager has: Kafka from its jars, the others from their published source. A part that can't be had
# is a skip with a reason on a laptop, and a failure in CI.
servers:
	@bash deploy/kafka/kafka.sh fetch & bash deploy/influxdb/build-influxd.sh build/influxdb & \
	bash deploy/s3/build-s3-server.sh build/s3 & bash deploy/helm/build-helm.sh build/helm & wait

demo: .venv/.ready
	.venv/bin/offsite demo

test: setup servers check
	@$(PY) tests/suites.py

check: .venv/.ready
	@started=$$SECONDS; \
	.venv/bin/ruff check . && .venv/bin/mypy && .venv/bin/lint-imports && $(PY) tests/budgets.py && \
	$(PY) -m pytest -q --doctest-modules detectors connectors streams cases console offsite --ignore=offsite/city/__main__.py --ignore=cases/migrations && \
	echo "check: $$((SECONDS - started)) s"

bench: .venv/.ready
	$(PY) -m tests.bench

bench-kafka: .venv/.ready system servers
	$(PY) -m tests.bench.kafka

simulate: .venv/.ready
	$(PY) tests/faults/simulate.py --seeds $(or $(SEEDS),2000) --world $(or $(WORLD),machine)

crash: .venv/.ready
	KILLS=$(or $(KILLS),50) $(PY) -m pytest -q tests/faults/test_crash.py

chaos: .venv/.ready system servers
	CHAOS=full $(PY) -m pytest -q -s tests/distributed/test_chaos.py

bundle: .venv/.ready
	bash deploy/bundle.sh $(or $(DIR),build/bundle)

clean:
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis
