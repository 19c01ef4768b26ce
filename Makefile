# The commands of Slipway. A fresh machine needs only make and python3 (3.11 or newer) with pip.
UV_VERSION = 0.13.9
UV = .boot/bin/uv
PYTHON = .venv/bin/python
CHANGE ?=
OPTIONS ?=
WORKERS = 4
VERSIONS = 3.12 3.13 3.14

# Let Python cache its bytecode, whatever the caller's environment says: these commands start many processes.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-versions lint deploy rollback crash-test bench

help:            ## show this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: .venv/.ready examples/shop/.venv/.ready   ## install all dependencies into this folder only

demo: setup      ## ship two changes on an embedded stack: one is kept, one is rolled back
	@$(PYTHON) -m slipway.deployments.demo

up: setup        ## run the whole stack until Ctrl-C
	@$(PYTHON) -m slipway.deployments.up

test: setup      ## run all tests (tests whose programs are missing are skipped, with the reason)
	@$(PYTHON) -m tests.run --numprocesses=$(WORKERS)

test-versions: setup ## run the tests, except those of the whole stack, on every other Python that is installed
	@for version in $(VERSIONS); do \
	  $(UV) python find --no-python-downloads $$version >/dev/null 2>&1 || { echo "Python $$version is not installed: skipped"; continue; }; \
	  environment=.venv-$$(basename $${version%/bin/*}); echo "Python $$version in $$environment"; \
	  UV_PROJECT_ENVIRONMENT=$$environment $(UV) sync --frozen --quiet --compile-bytecode --python $$version && \
	  $$environment/bin/python -m tests.run --numprocesses=$(WORKERS) --ignore=tests/stack || exit 1; \
	done

lint: setup      ## check format, style, types, imports, spelling and prose
	@.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy && .venv/bin/lint-imports --no-logo
	@git ls-files -z | xargs -0 .venv/bin/codespell && $(PYTHON) -m tests.prose

crash-test: setup ## kill -9 each process in every step, then check all data (OPTIONS="--quick")
	@$(PYTHON) -m tests.crash.run $(OPTIONS)

bench: setup     ## run the benchmarks: each beside a peer in the same run, printed as JSON lines with ratios
	@$(PYTHON) -m benchmarks.start
	@$(PYTHON) -m benchmarks.copy
	@$(PYTHON) -m benchmarks.live
	@$(PYTHON) -m benchmarks.backfill
	@$(PYTHON) -m benchmarks.report
	@$(PYTHON) -m benchmarks.probe
	@$(PYTHON) -m benchmarks.purge
	@$(PYTHON) -m benchmarks.admin
	@$(PYTHON) -m benchmarks.page

deploy: setup    ## install the jobs on the Prefect server at PREFECT_API_URL
	@$(PYTHON) -m slipway.deployments.deploy

rollback: setup  ## roll back a shipped change: make rollback CHANGE=<name>
	@test -n "$(CHANGE)" || { echo "usage: make rollback CHANGE=<name>" >&2; exit 2; }
	@.venv/bin/slipway rollback "$(CHANGE)"

$(UV):
	@echo "setting up: uv $(UV_VERSION)"
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is required, found " + sys.version)'
	@python3 -m venv .boot
	@.boot/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.ready: pyproject.toml uv.lock | $(UV)
	@echo "setting up: Slipway's packages"
	@$(UV) sync --frozen --quiet --compile-bytecode
	@touch $@

examples/shop/.venv/.ready: examples/shop/pyproject.toml examples/shop/uv.lock | $(UV)
	@echo "setting up: the example shop's packages"
	@$(UV) sync --frozen --quiet --compile-bytecode --project examples/shop
	@touch $@
