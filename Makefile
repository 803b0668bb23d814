# bookrelay: start with `make demo` and `make test`; `make help` lists the rest.
# Needs Python 3.11+ and make. uv, Postgres and the broker are installed from PyPI into .bootstrap/ and .venv/.
SHELL := /bin/sh
PYTHON ?= python3
BROKER ?= embedded
# Most tests wait for processes and timeouts, so more workers than cores are useful. Each has its own stack.
WORKERS ?= 4
UV_VERSION := 0.13.8
UV := .bootstrap/bin/uv
export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS ?= 1
RUN := .venv/bin/python
SYNCED := .bootstrap/synced$(if $(filter kafka,$(BROKER)),-kafka,)

.PHONY: help demo up qbo-writer reset test test-kafka lint types contracts bench bench-sandbox model check clean asyncapi env-example
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit("bookrelay needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Choose another one with PYTHON=python3.12.") if sys.version_info < (3, 11) else None'
	@rm -rf .bootstrap && ( $(PYTHON) -m venv .bootstrap 2>/dev/null && .bootstrap/bin/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION) ) \
	  || ( rm -rf .bootstrap && $(PYTHON) -m pip install -q --disable-pip-version-check --target .bootstrap uv==$(UV_VERSION) ) \
	  || { echo "make: could not install uv: $(PYTHON) needs venv or pip (Debian: apt install python3-venv), and PyPI must be reachable." >&2; rm -rf .bootstrap; exit 1; }

.bootstrap/synced: $(UV) uv.lock pyproject.toml
	@$(UV) sync -q --frozen --inexact --no-dev --python $(PYTHON)
	@touch $@
.bootstrap/synced-kafka: $(UV) uv.lock pyproject.toml
	@$(UV) sync -q --frozen --inexact --no-dev --extra kafka --python $(PYTHON)
	@touch $@ .bootstrap/synced
.bootstrap/synced-dev: $(UV) uv.lock pyproject.toml
	@$(UV) sync -q --frozen --all-extras --python $(PYTHON)
	@touch $@ .bootstrap/synced .bootstrap/synced-kafka

demo: $(SYNCED) ## Run the whole flow once, on the embedded stack (BROKER=kafka: on a real Apache Kafka)
	@$(RUN) -m sandbox.demo --broker $(BROKER) $(ARGS)

up: ## Run the system until Ctrl-C, on Apache Kafka (or BROKER=embedded), against stand-ins or the systems in .env
	@$(MAKE) -s run-up BROKER=$(if $(filter file,$(origin BROKER)),kafka,$(BROKER))
.PHONY: run-up
run-up: $(SYNCED)
	@exec $(RUN) -m sandbox.up --broker $(BROKER) $(ARGS)
qbo-writer: $(SYNCED) ## Run an operator command on the system of `make up`: make qbo-writer ARGS="held list"
	@[ -f .bookrelay/qbo-writer.env ] || { echo "qbo-writer: the system is not running. Start it with make up." >&2; exit 1; }
	@set -a && . ./.bookrelay/qbo-writer.env && exec .venv/bin/qbo-writer $(or $(ARGS),--help)
reset: ## Delete the state of `make up` in .bookrelay/
	@rm -rf .bookrelay && echo "deleted: .bookrelay/"

test: .bootstrap/synced-dev ## Install and run the whole test suite
	@$(RUN) -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: .bootstrap/synced-dev
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .
types: .bootstrap/synced-dev
	@MYPYPATH=$(subst $() ,:,$(wildcard services/*/src)) .venv/bin/mypy shared/src services/*/src sandbox/src deploy/src
contracts: .bootstrap/synced-dev
	@$(RUN) -m bookrelay_deploy.import_contracts
	@$(RUN) -m bookrelay_deploy.asyncapi --check
	@$(RUN) -m bookrelay_deploy.compatibility
	@.venv/bin/bookrelay-deploy faults --check docs/faults.md
check: lint types contracts ## Check lint, types, import contracts, and that generated documents are up to date

bench: .bootstrap/synced-dev ## Measure documents a second, commands recorded a second, latencies, memory
	@PYTHONPATH=tests $(RUN) -m bench.pipeline $(ARGS)
bench-sandbox: .bootstrap/synced-dev ## Measure the speed of the QuickBooks stand-in
	@PYTHONPATH=tests $(RUN) -m bench.sandbox_creates $(ARGS)
bench-writer: .bootstrap/synced-dev ## Measure the writer at Intuit's limits, compared with simpler posters
	@PYTHONPATH=tests $(RUN) -m bench.writer $(ARGS)
bench-outages: .bootstrap/synced-dev ## Measure recovery from a crash or a long outage: ARGS=crash or ARGS=feed
	@PYTHONPATH=tests $(RUN) -m bench.outages $(ARGS)
bench-companies: .bootstrap/synced-dev ## Measure many companies in one writer: 2,000 idle, their takeover, ten busy
	@PYTHONPATH=tests $(RUN) -m bench.companies $(ARGS)
bench-ledger: .bootstrap/synced-dev ## Measure the ledger's cost per document with 1,000 commands, and with 1,000,000
	@PYTHONPATH=tests $(RUN) -m bench.ledger $(ARGS)
model: $(SYNCED) ## Check the model of the posting protocol
	@$(RUN) tests/model/posting_protocol.py $(ARGS)
faults: .bootstrap/synced-dev ## Run all fault tests: crash points, random kills, QuickBooks faults
	@PYTHONPATH=tests $(RUN) -m faults.run $(ARGS)

clean: ## Remove installed tools and caches
	@rm -rf .bootstrap .venv .mypy_cache .ruff_cache .pytest_cache
