# make demo   from nothing to pictures in figures/demo/
# make test   from nothing through all tests
# make docs   from nothing to the documentation site in docs/_build/html; a warning is an error
# make bench  speed against the bare limit and other packages, into benchmarks/RESULTS.md
PYTHON ?= python3
# pip compiles nothing: a module is compiled when it is first imported, and that is kept whatever the surroundings say.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
INSTALLED := $(VENV)/.installed
DOCS_VENV := .venv-docs
DOCS_INSTALLED := $(DOCS_VENV)/.installed
BENCH_VENV := .venv-bench
BENCH_INSTALLED := $(BENCH_VENV)/.installed
# landscaper needs topopy, which declares numpy < 2 and nevertheless runs with numpy 2; nglpy, which topopy needs,
# declares packages that it does not import. So pip may not look at what these three declare: the rest of it is in
# the extra "bench".
UNRESOLVED := landscaper==1.3.1 topopy==1.0.4 nglpy==1.1.7

.PHONY: demo test check docs bench install clean

demo: $(INSTALLED)
	$(VENV)/bin/landscape demo

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 8 --dist worksteal

check: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy -p landscape
	$(VENV)/bin/mypy cli

docs: $(DOCS_INSTALLED)
	$(DOCS_VENV)/bin/python -m sphinx -q -W --keep-going -j auto -b html -c docs . docs/_build/html

bench: $(BENCH_INSTALLED)
	$(BENCH_VENV)/bin/python -m benchmarks $(BENCH_ARGUMENTS)

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[test,check]'
	touch $@

# Sphinx and what goes with it are not for tests.
$(DOCS_INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

# The other packages are no part of this project's own environment, hence a second one.
$(BENCH_INSTALLED): pyproject.toml constraints.txt Makefile
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BENCH_VENV)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --no-deps $(UNRESOLVED)
	touch $@

clean:
	rm -rf $(VENV) $(DOCS_VENV) $(BENCH_VENV) docs/_build docs/api build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
