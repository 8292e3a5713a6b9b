# Everything a developer or CI runs. Needs Python 3.11 to 3.13, make and a package index.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JOBS ?= 2
PYTEST ?= -n $(JOBS) --dist worksteal -m "not slow"

.PHONY: demo test test-slow coverage check docs site release-check benchmarks clean

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	    sys.exit(0 if (3, 11) <= v <= (3, 13) else "EdgeZoo exports on Python 3.11 to 3.13, this is %d.%d: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[all,dev]"
	touch $@

demo: $(READY)  ## export, verify, classify
	$(BIN)/python docs/examples/demo.py

test: $(READY)  ## all tests but the long matrices
	$(BIN)/python -m pytest $(PYTEST)

test-slow: $(READY)  ## the long matrices
	$(BIN)/python -m pytest -m slow

coverage: export EDGEZOO_TEST_COVERAGE := $(CURDIR)/build/coverage
coverage: export COVERAGE_PROCESS_START := $(CURDIR)/pyproject.toml
coverage: $(READY)  ## branch coverage of product code by the tests, children counted
	rm -rf build/coverage && mkdir -p build/coverage
	$(BIN)/python -m pytest $(PYTEST)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

check: $(READY) site  ## format, lint, types, layers, generated documents, the site
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --verbose
	$(BIN)/python docs/generate.py --check

docs: $(READY)  ## write the generated documents anew, then the site
	$(BIN)/python docs/generate.py
	$(MAKE) site

site: $(READY)  ## the documents as a site in build/site; a warning is an error
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -b html \
	    -d build/doctrees docs build/site

release-check: $(READY)  ## the list of docs/releasing.md
	$(BIN)/python docs/release.py

benchmarks: $(READY)  ## the figures of benchmarks/results, on this machine
	$(BIN)/python benchmarks/int8_accuracy.py
	$(BIN)/python benchmarks/int8_families.py
	$(BIN)/python benchmarks/cost.py
	$(BIN)/python benchmarks/int8_latency.py
	$(BIN)/python benchmarks/explain.py
	$(BIN)/python benchmarks/device.py
	$(BIN)/python benchmarks/kernels.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
