# Every target sets up what it needs: .venv with the pinned packages of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo serve test lint bench storm clean

demo: $(VENV)/.ready-run
	$(BIN)/vibevoice-serve demo --config configs/local.yaml --cards simulated \
		--script configs/examples/scene.txt --output out/demo.wav

serve: $(VENV)/.ready-ui
	$(BIN)/vibevoice-serve serve --config configs/studio.yaml

test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest --numprocesses 3

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.ready-dev
	$(BIN)/python -m tests.bench

# Two minutes of rude clients, ten thousand malformed requests, two thousand of schemathesis.
storm: $(VENV)/.ready-dev
	$(BIN)/python -m tests.bench storm malformed
	API_EXAMPLES=2000 $(BIN)/python -m pytest tests/unit/test_api_description.py --timeout 1200

clean:
	rm -rf $(VENV) out build *.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready-run: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) -e '.[piper]'
	touch $@

$(VENV)/.ready-ui: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) -e '.[piper,ui]'
	touch $@ $(VENV)/.ready-run $(VENV)/.ready-ui

$(VENV)/.ready-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) -e '.[piper,ui,vibevoice,dev]'
	touch $@ $(VENV)/.ready-run $(VENV)/.ready-ui
