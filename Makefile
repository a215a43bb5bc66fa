# make quickstart   installs into .venv, then trains, fine-tunes, translates and scores (scripts/quickstart.sh)
# make test         installs into .venv, then runs the whole test suite; TESTS="..." are more options of pytest

PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

# Caches and temporary files stay under the checkout too.
export XDG_CACHE_HOME := $(CURDIR)/$(VENV)/cache
export PIP_CACHE_DIR := $(XDG_CACHE_HOME)/pip
export MPLCONFIGDIR := $(XDG_CACHE_HOME)/matplotlib
export TMPDIR := $(CURDIR)/$(VENV)/tmp

.PHONY: quickstart test install

quickstart: install
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/quickstart.sh

test: install
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(VENV)/bin/python -m pytest -q -n 2 \
		--dist loadfile --no-loadscope-reorder $(TESTS) tests

install: $(INSTALLED)

$(INSTALLED): requirements.txt requirements-no-deps.txt setup.py
	$(PYTHON) -c 'import sys; assert sys.version_info[:2] in ((3, 11), (3, 12)), "Python 3.11 or 3.12 is needed, this is %s: make PYTHON=python3.11 ..." % sys.version.split()[0]'
	mkdir -p $(TMPDIR)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -r requirements.txt
	$(VENV)/bin/pip install --no-deps -r requirements-no-deps.txt
	$(VENV)/bin/pip install --no-deps -e .
	touch $@
