# Every target makes the virtual environment that it needs; PYTHON chooses the interpreter, VENV the place.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# What setuptools has to say about every editable installation is known.
INSTALL := PYTHONWARNINGS='ignore:Editable installation' $(BIN)/pip install --quiet
SOURCES := pyproject.toml .packaging/backend.py .packaging/hardening.py \
  $(wildcard .packaging/enfilade/*.[ch]) \
  $(shell find transport hostcalls actors -name '_build.py' -o -name '*.[ch]' 2>/dev/null)

# Hundreds of tests start Python: without its caches each of them would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

# A stamp of an extra holds what was installed; one whose installation failed is none.
.DELETE_ON_ERROR:

# Asked for once in a run of make, by whatever is made first.
PREREQUISITES = $(if $(ASKED),@:,$(eval ASKED := yes)@$(PYTHON) .packaging/prerequisites.py)

.PHONY: all demo tests quick check format kits soak bench docs pictures c-tests mutants wheels clean help

# A line `##@ NAME` begins a group of the help, `##` after a target says what it does.
help:  ## list the targets
	@awk 'BEGIN { FS = ":.*## *" } \
	  /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*##/ { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PREREQUISITES)
	@echo "Making the virtual environment $(VENV), this once."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --upgrade pip

$(VENV)/.installed: $(SOURCES) | $(BIN)/python
	$(PREREQUISITES)
	@echo "Compiling doors and the guest engine, installing what they need: about half a minute."
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "Installing what the tests need: about a minute."
	@$(BIN)/python .packaging/extra.py test > $@ && $(INSTALL) --requirement $@

$(VENV)/.installed-bench: $(VENV)/.installed
	@echo "Installing what the benchmarks need."
	@$(BIN)/python .packaging/extra.py bench > $@ && $(INSTALL) --requirement $@

$(VENV)/.installed-docs: $(VENV)/.installed
	@echo "Installing what the documentation needs."
	@$(BIN)/python .packaging/extra.py docs > $@ && $(INSTALL) --requirement $@

# npm is not ours to install; without it the tests of that kit are skipped.
$(VENV)/.installed-kits: $(VENV)/.installed-test
	@echo "Installing what the kits need."
	@$(BIN)/python .packaging/extra.py kits > $@ && $(INSTALL) --requirement $@
	@if command -v npm >/dev/null; then \
	  npm install --silent --no-audit --no-fund --prefix $(VENV)/kits 'assemblyscript@~0.28'; \
	else echo "npm was not found, so the AssemblyScript kit is left out."; fi

##@ First steps

demo: $(VENV)/.installed  ## two zones, a supervision tree in each, messages through doors
	$(BIN)/enfilade demo

tests: $(VENV)/.installed-test  ## the whole test suite, in the stages of CI
	$(BIN)/python -m tests.stages

##@ While you change something

QUICK := $(addprefix tests/,conformance/actors conformance/channels actors/supervision) \
  $(patsubst %,tests/actors/test_%.py,cancellation dispatch ended_processes full_mailboxes methods receive same_rules timers) \
  $(patsubst %,tests/transport/test_%.py,memory_file node_link patience wire)
# What goes on between nodes takes longer; `make tests` has it.
NOT_QUICK := $(patsubst %,tests/conformance/actors/test_%.py,across_zones near_and_far) \
  $(patsubst %,tests/actors/supervision/test_%.py,between_incarnations child_events started_children)

quick: $(VENV)/.installed-test  ## the tests to run after every change, in half a minute
	$(BIN)/python -m pytest -q -m 'not real and not soak' -n 2 --dist worksteal $(QUICK) \
	  $(addprefix --ignore=,$(NOT_QUICK)) --ignore-glob='*/conformance/actors/test_remote_*' \
	  --ignore-glob='*/conformance/actors/test_far_*'

check: $(VENV)/.installed-test  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-test  ## write the Python the way that `make check` wants it
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-docs  ## the documentation, as HTML in docs/_build
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build

pictures: $(VENV)/.installed-test  ## the pictures of the observers in docs/pictures; needs Chromium
	$(BIN)/python -m tests.actors.cli.observe.docs_pictures
	$(BIN)/python -m tests.actors.cli.observe.zone_pictures

all: check tests docs  ## check, test, and build the documentation

##@ Long or special

kits: $(VENV)/.installed-kits  ## compilers for guests in Zig and AssemblyScript, so that their tests run

soak: $(VENV)/.installed-test  ## long fuzz and chaos runs
	$(BIN)/python -m pytest -rs -m 'soak or hypothesis' --hypothesis-profile=search
	$(BIN)/python -m tests.simulation.soak --hours 1

c-tests: $(VENV)/.installed-test  ## the C parts alone, also under sanitizers and valgrind
	$(MAKE) -C transport/doors/c test asan valgrind
	$(MAKE) -C transport/queue test asan valgrind
	$(MAKE) -C hostcalls/engine/shim test
	$(MAKE) -C actors/core asan
	$(MAKE) -C transport/core asan

# tractor needs an older trio than ours and an older pip than today's. Without it, it is reported as absent.
$(VENV)/tractor/.installed: tests/benchmarks/peers/tractor.txt | $(BIN)/python
	$(BIN)/python -m venv $(VENV)/tractor
	-$(VENV)/tractor/bin/pip install --quiet 'pip<24.1' && \
	  $(VENV)/tractor/bin/pip install --quiet --disable-pip-version-check --requirement $< && \
	  $(VENV)/tractor/bin/pip install --quiet --disable-pip-version-check --no-deps 'tractor==0.1.0a5' && touch $@

# The tools of a release are pinned with their digests, which are those for one Python on one machine.
$(VENV)/wheels/.installed: .packaging/release-tools.txt | $(BIN)/python
	@$(PYTHON) -c 'import sys; sys.version_info[:2] == (3, 11) or sys.exit("a release is made with Python 3.11: make PYTHON=python3.11 wheels")'
	@$(PYTHON) -m venv $(VENV)/wheels
	@$(VENV)/wheels/bin/pip install --quiet --require-hashes --only-binary :all: --requirement $<
	@touch $@

bench: $(VENV)/.installed-bench $(VENV)/tractor/.installed  ## our figures beside each peer's
	$(BIN)/python -m tests.benchmarks $(BENCH)

mutants: $(VENV)/.installed-test  ## faults made on purpose, which the tests must find
	$(BIN)/python -m tests.mutants $(MUTANTS)

wheels: $(VENV)/wheels/.installed  ## the source archive and the wheels of a release, in dist/
	$(VENV)/wheels/bin/python .packaging/wheels.py

clean:  ## remove everything that the targets made
	rm -rf $(VENV) build dist docs/_build .packaging/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find actors hostcalls transport -name '*.so' -delete
