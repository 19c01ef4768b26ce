# The doors of Slipway. A fresh machine needs make, python3 (3.11 or newer) with pip, and nothing else.
UV_VERSION = 0.13.9
UV = .boot/bin/uv
PYTHON = .venv/bin/python
CHANGE ?=
OPTIONS ?=
WORKERS = 4

# Python caches what it has compiled, whatever the caller's environment says: everything here starts many processes.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help setup demo up test lint deploy rollback crash-test bench

help:            ## show this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: .venv/.ready examples/shop/.venv/.ready   ## install what is needed, into this folder only

demo: setup      ## ship two changes on an embedded stack: one is kept, one rolls itself back
	@$(PYTHON) -m slipway.deployments.demo

up: setup        ## run the whole stack until Ctrl-C
	@$(PYTHON) -m slipway.deployments.up

test: setup      ## run every test (those without their parts are skipped, with the reason)
	@$(PYTHON) -m tests.run --numprocesses=$(WORKERS)

lint: setup      ## check format, style, types, imports, spelling and prose
	@.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy && .venv/bin/lint-imports --no-logo
	@git ls-files -z | xargs -0 .venv/bin/codespell && $(PYTHON) -m tests.prose

crash-test: setup ## kill -9 everything in every step, and look at the whole world afterwards (OPTIONS="--quick")
	@$(PYTHON) -m tests.crash.run $(OPTIONS)

bench: setup     ## measure against peers, side by side in one run: JSON lines with ratios
	@$(PYTHON) -m benchmarks.start
	@$(PYTHON) -m benchmarks.copy
	@$(PYTHON) -m benchmarks.live
	@$(PYTHON) -m benchmarks.backfill
	@$(PYTHON) -m benchmarks.report
	@$(PYTHON) -m benchmarks.probe
	@$(PYTHON) -m benchmarks.purge
	@$(PYTHON) -m benchmarks.admin
	@$(PYTHON) -m benchmarks.page

deploy: setup    ## install the jobs on the Prefect server that PREFECT_API_URL names
	@$(PYTHON) -m slipway.deployments.deploy

rollback: setup  ## roll a shipped change back: make rollback CHANGE=<name>
	@test -n "$(CHANGE)" || { echo "usage: make rollback CHANGE=<name>" >&2; exit 2; }
	@.venv/bin/slipway rollback "$(CHANGE)"

$(UV):
	@echo "setting up: uv $(UV_VERSION)"
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
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
