# Needs Python 3.11 or newer with pip, and make. `make run PYTHON=python3.12 ARGS="--port 9000"` works as you would think.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
# Test processes side by side, one per core and four at most unless a number is given; each takes whole files, because
# what a file needs is started once, in the order of the folders: those of tests/ml, which are many and short, fill the
# end. With 0 there is one process, which runs the tests in their order: `make test WORKERS=0 ARGS="-x -k erase"`.
WORKERS ?= logical

# Where `make bench` puts its figures, and how long its last part goes on.
FIGURES ?= build/bench
# Looks for what people with screen readers or keyboards cannot use; where there is no npm, those tests skip, visibly.
AXE := .cache/axe/node_modules/axe-core/axe.min.js
SOAK_MINUTES ?= 20

.PHONY: run test lint format bench screenshots clean

run: $(VENV)/.installed-run  ## Starts the service on http://127.0.0.1:8000
	$(BIN)/rollcall serve $(ARGS)

test: $(VENV)/.installed-test $(AXE)  ## Runs the tests; those that need PostgreSQL skip, visibly, where there is none
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.installed-test  ## Style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-test  ## Measures speed and memory for an hour, as tables and as JSON; nothing else should run
	mkdir -p $(FIGURES)
	for part in pipeline serving lanes search dashboard; do \
		$(BIN)/python -m benchmarks.$$part --json $(FIGURES)/$$part.json || exit 1; \
	done
	$(BIN)/python -m benchmarks.soak --minutes $(SOAK_MINUTES) --json $(FIGURES)/soak.json

screenshots: $(VENV)/.installed-test  ## Takes pictures of every page of a made-up company, into build/screenshots
	$(BIN)/python -m tests.browser.screenshots $(ARGS)

format: $(VENV)/.installed-test  ## Repairs style and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Removes what the targets above made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# A second call finds these files newer than pyproject.toml and installs nothing.
$(VENV)/.installed-run: pyproject.toml | $(BIN)/pip
	$(BIN)/python -m pip install --editable ".[openvino]"
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/pip
	$(BIN)/python -m pip install --editable ".[test]"
	touch $(VENV)/.installed-run $@

$(AXE):
	command -v npm >/dev/null && npm install --silent --no-audit --no-fund --prefix .cache/axe axe-core@4 || true

# Debian ships venv without pip unless python3-venv is installed; then pip is put in from outside.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install pip; }
