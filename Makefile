# Two commands do everything on a fresh machine with Python >= 3.11: `make book` and `make test`.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
WORKERS ?= 2

.PHONY: book site test outputs bench coverage lint format peers clean

book: $(VENV)/docs.installed  ## build the book, every figure computed, and serve it at localhost:8000
	$(RUN) -m mkdocs serve --strict --dev-addr localhost:8000

site: $(VENV)/docs.installed  ## build the book into site/, strictly
	$(RUN) -m mkdocs build --strict

test: $(VENV)/test.installed  ## run all tests
	$(RUN) -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

outputs: $(VENV)/test.installed  ## rewrite the printed outputs in pages, README and docstrings
	$(RUN) -m derivable_book.snippets --write

bench: $(VENV)/peers.installed  ## measure against the peers, as ratios in one run
	$(RUN) -m tests.benchmarks $(ARGS)

PLAIN := tests/test_jit.py tests/descent/test_steps.py tests/autodiff/test_dual.py tests/autodiff/test_tape.py \
	tests/autodiff/test_numerical.py tests/autodiff/test_found.py tests/convolution/test_definition.py \
	tests/convolution/test_errors.py tests/convolution/test_fourier.py tests/stochastic/test_sgd.py \
	tests/networks/test_layers.py tests/networks/test_losses.py

coverage: $(VENV)/test.installed  ## a representative part of the tests without compilation, with coverage
	NUMBA_DISABLE_JIT=1 $(RUN) -m pytest -n $(WORKERS) -m "not slow and not peer" --cov=derivable --cov-report=term \
		$(PLAIN) $(ARGS)

lint: $(VENV)/test.installed  ## style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(VENV)/test.installed
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

peers: $(VENV)/peers.installed  ## install the libraries that the comparisons and benchmarks run against

# Each stamp stands for a set of extras; a changed pyproject.toml installs again.
$(VENV)/created:
	$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'Derivable needs Python 3.11 or newer')"
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	touch $@

$(VENV)/docs.installed: $(VENV)/created pyproject.toml
	$(RUN) -m pip install --quiet --editable ".[docs]"
	touch $@

$(VENV)/test.installed: $(VENV)/created pyproject.toml
	$(RUN) -m pip install --quiet --editable ".[docs,test]"
	touch $@ $(VENV)/docs.installed

$(VENV)/peers.installed: $(VENV)/test.installed
	$(RUN) -m pip install --quiet --editable ".[peers]"
	touch $@

clean:
	rm -rf $(VENV) site .pytest_cache .ruff_cache .mypy_cache
	find src tests docs -name __pycache__ -type d -prune -exec rm -rf {} +
