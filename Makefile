# Two commands: `make demo` compiles the catalogue and trains from a bundle, `make test` runs all tests.
# Both make their own environment in .venv; PYTHON chooses the interpreter (3.11 to 3.13). The demo makes a
# signing key where there is none, on a CI machine too.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STORE ?= .store

.PHONY: demo test clean

demo: $(VENV)/installed
	@env -u CI $(BIN)/tezzeret compile --store $(STORE) --approvals fixtures/approvals.toml || { code=$$?; [ $$code -eq 3 ] \
	  && echo "done; some blueprints ship as eager fallbacks, the table says why"; }
	$(BIN)/python examples/train_from_bundle.py $(STORE) BP023

test: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[test,dev]'
	touch $@

clean:
	rm -rf $(VENV) $(STORE)
