# make book | pdf | test | run RUN=name | lint | bench | bench-gpu | chaos | lock | clean | help
PYTHON ?= python3
RUN ?= igpt-mini
ARGS ?=
export OMP_WAIT_POLICY ?= PASSIVE
# A run has many processes, and each would compile all modules again; 'make clean' removes what is kept.
export PYTHONDONTWRITEBYTECODE :=

VENV := .venv
READY := $(VENV)/.installed
IN := $(VENV)/bin/python
CANDIDATES := $(PYTHON) $(if $(filter file,$(origin PYTHON)),python3.12 python3.11)
SUITABLE := import ensurepip, os, sys, sysconfig, venv; \
  sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 12) and os.path.exists(sysconfig.get_paths()["include"] + "/Python.h")))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: book pdf test run lint bench bench-gpu chaos lock clean help

help:
	@echo "make book           run what changed and build the book: _build/html/index.html"
	@echo "make pdf            print the whole book with Chromium: _build/book.pdf"
	@echo "make test           all tests but the long ones and those that need a built book"
	@echo "make run RUN=name   run the notebooks of notebooks/runs/name.yml (ARGS='-p extract.n_per_class=100')"
	@echo "make lint           style: line length, complexity, order of imports, layout"
	@echo "make bench          benchmarks, into benchmarks/results; methods against known answers, into book/results"
	@echo "make bench-gpu      what needs a GPU, one file a row as it goes, in nine minutes at most"
	@echo "make chaos          kill runs, builds and downloads a hundred times and see what is lost, into book/results/chaos"
	@echo "make lock           locks/: every package behind requirements.txt with its hashes (after a pin has changed)"
	@echo "make clean          remove the built book and what 'make book' computed (never downloads, nor what another run uses)"
	@echo "The first of them makes $(VENV) and installs requirements.txt; PYTHON=... names a Python 3.11 or 3.12."

$(READY): requirements.txt
	@for python in $(CANDIDATES); do \
	  "$$python" -c '$(SUITABLE)' >/dev/null 2>&1 && break; python=''; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "error: no usable Python among: $(CANDIDATES); install Python 3.11 or 3.12 with venv and headers (Debian: python3-venv python3-dev), or name one: make PYTHON=/path/to/python3.11" >&2; \
	  exit 1; \
	fi; \
	for compiler in "$${CC:-cc}" gcc clang; do command -v "$$compiler" >/dev/null 2>&1 && break; compiler=''; done; \
	if [ -z "$$compiler" ]; then \
	  echo "error: no C compiler (looked for $${CC:-cc}, gcc, clang), which dadapy needs; install one (Debian: apt-get install gcc)" >&2; \
	  exit 1; \
	fi; \
	if [ -e $@ ]; then rm -f $@; else "$$python" -m venv --clear $(VENV) || exit 1; fi; \
	echo "installing requirements.txt into $(VENV) (once)"; \
	CC="$$compiler" $(IN) -m pip install --quiet --no-input --disable-pip-version-check -r requirements.txt && touch $@

book: $(READY)
	$(IN) -m georep_utils run igpt-mini compare-igpt-mini paper --jobs 2 --book

pdf: book
	$(IN) -m georep_utils book --pdf

test: $(READY)
	OMP_NUM_THREADS=1 $(IN) -m pytest -n 2 --dist loadfile -m "not long and not slow and not book"

run: $(READY)
	$(IN) -m georep_utils run $(RUN) $(ARGS)

lint: $(READY)
	$(IN) -m ruff check .
	$(IN) -m ruff format --check .

bench: $(READY)
	$(IN) -m pip install --quiet --no-input --disable-pip-version-check -r benchmarks/requirements.txt
	@for file in benchmarks/bench_*.py benchmarks/validate_*.py benchmarks/operating_curve.py benchmarks/relation_coverage.py benchmarks/error_bars.py; do echo "$$file"; $(IN) "$$file" || exit 1; done

bench-gpu: $(READY)
	$(IN) benchmarks/gpu.py $(ARGS)

chaos: $(READY)
	$(IN) tests/kill_at_random.py

lock: $(READY)
	@$(IN) -m pip install --quiet --no-input --disable-pip-version-check uv
	@for version in 3.11 3.12; do file=locks/python-$$version.txt; \
	  { echo "# Every package that requirements.txt brings on Linux (x86-64) with Python $$version, with the hashes of its files on PyPI."; \
	    echo "# Install exactly these: pip install --require-hashes -r $$file"; \
	    echo "# Made by 'make lock'; not to be edited."; \
	    $(IN) -m uv pip compile requirements.txt --quiet --python-version $$version --python-platform x86_64-manylinux_2_28 \
	      --generate-hashes --no-annotate --no-header --index-url https://pypi.org/simple; } >$$file.new || exit 1; \
	  mv $$file.new $$file; echo "$$file"; done

clean:
	@if [ -x $(IN) ]; then for run in igpt-mini compare-igpt-mini paper; do $(IN) -m georep_utils clean $$run; done; fi
	rm -rf _build .pytest_cache .ruff_cache .hypothesis
	find georep_utils tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
