# Two commands are all a newcomer needs: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo serve test test-system soak bench screenshots check lock format clean

demo: $(READY)
	@$(BIN)/broker demo

serve: $(READY)
	@$(BIN)/broker serve --embedded

# Most tests wait for real servers and processes: four side by side keep two cores busy.
SIDE_BY_SIDE := -n 4 --dist loadfile

test: $(READY)
	$(BIN)/python -m pytest -m "not system and not long" $(SIDE_BY_SIDE) $(ARGS)

test-system: $(READY) $(VENV)/.system-ready
	$(BIN)/python -m pytest -m "system or long" $(SIDE_BY_SIDE) $(ARGS)

$(VENV)/.system-ready: requirements/system.txt $(READY)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/system.txt
	@touch $@

soak: $(READY) $(VENV)/.system-ready
	SOAK=1 $(BIN)/python -m pytest -m "not system" $(SIDE_BY_SIDE) $(ARGS)
	SOAK=1 $(BIN)/python -m pytest -n 6 tests/system/test_api_by_schemathesis.py

NAME ?= $(error say which: make bench NAME=leases)
bench: $(READY) $(VENV)/.bench-ready
	@$(BIN)/python benchmarks/$(NAME).py

# The peers: in the same environment, but only once somebody measures.
$(VENV)/.bench-ready: requirements/bench.txt $(READY)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

# Every page in every state, to be looked at: var/screenshots/.
screenshots: $(READY) $(VENV)/.system-ready
	@ONLY=$(ONLY) $(BIN)/python -m tests.screenshots

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/python -m tests.licences

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Locks carry hashes and no address of an index.
lock: $(READY)
	$(BIN)/pip install --quiet uv
	cd requirements && for f in runtime dev bench system; do \
	  ../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	    --no-header --no-annotate $$f.in -o $$f.txt || exit 1; done

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked requirements into $(VENV) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf $(VENV) var
