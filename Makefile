PYTHON ?= python3
VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 8080
CONFIG ?=
VLLM ?= 0.32.0
FUZZ_SECONDS ?= 60
BIN := $(VENV)/bin
FUZZ := .fuzz
AUDIT := .audit

.PHONY: help run test test-clients record-clients lint types check record live bench fuzz wheel audit sbom lock clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*##/\1 -/p' $(MAKEFILE_LIST)

run: $(VENV)/.run-ready  ## start the gateway; CONFIG=config.json puts it before your vLLM
	$(BIN)/python gateway.py serve --host $(HOST) --port $(PORT) $(if $(CONFIG),--config $(CONFIG))

test: check  ## lint, types and all tests
	$(BIN)/python -m pytest -n 2

test-clients: $(VENV)/.test-ready  ## try clients that others wrote, each in an environment under .clients; renews docs/clients.md
	$(BIN)/python -m tests.clients.environments
	$(BIN)/python -m pytest --clients tests/clients

record-clients: $(VENV)/.test-ready  ## record tests/clients/cassettes anew, each client before a real vLLM on this machine
	$(BIN)/python -m tests.clients.record

check: lint types

lint: $(VENV)/.test-ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.test-ready
	$(BIN)/mypy
	$(BIN)/pyright

record: $(VENV)/.test-ready  ## record cassettes/ anew from a real vLLM on this machine
	$(BIN)/python -m recording --vllm $(VLLM)

live: $(VENV)/.test-ready  ## try gateway and openai-python on a real vLLM, set up by make record
	$(BIN)/python -m pytest --live tests/live

bench: $(VENV)/.test-ready  ## measure the gateway beside the least possible and its peers; renews docs/performance.md
	$(BIN)/python -m bench.peers || true
	$(BIN)/python -m bench

fuzz: $(FUZZ)/.ready  ## breed bytes that break things, for FUZZ_SECONDS, and put requests to a gateway; renews docs/fuzzing.md
	$(FUZZ)/bin/python -m fuzz --seconds $(FUZZ_SECONDS)

wheel: $(VENV)/.test-ready  ## build the wheel into dist/; the same sources give the same bytes, and a test proves it
	$(BIN)/python -m tests.contract.wheel

audit: $(AUDIT)/.ready  ## look for known vulnerabilities in what constraints.txt pins; skipped where the database is out of reach
	AUDIT=$(AUDIT)/bin/pip-audit .ci/audit

sbom: $(AUDIT)/.ready  ## write dist/sbom.cdx.json: all that an installed gateway consists of (CycloneDX)
	rm -rf build/installed && $(PYTHON) -m venv --without-pip build/installed
	$(AUDIT)/bin/python -m pip --python build/installed/bin/python install --quiet -c constraints.txt '.[fast,workers]'
	mkdir -p dist && $(AUDIT)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		--output-format JSON --output-file dist/sbom.cdx.json build/installed/bin/python

lock:  ## renew constraints.txt from the newest releases
	rm -rf build/lock && $(PYTHON) -m venv build/lock && build/lock/bin/python -m pip install --quiet '.[dev,fuzz,audit]'
	build/lock/bin/python -m pip freeze --all --exclude pip --exclude bifrost-vllm > constraints.txt

clean:
	rm -rf $(VENV) $(FUZZ) $(AUDIT) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run-ready: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.test-ready: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.run-ready

$(FUZZ)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(FUZZ)
	$(FUZZ)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	touch $@

$(AUDIT)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=24'
	$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt cyclonedx-bom pip-audit
	touch $@
