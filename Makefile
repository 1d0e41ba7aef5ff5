# make help lists the targets. The two that a newcomer needs: make demo, make test.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Extra arguments for pip's installation of PyTorch, for instance an index with builds for your processor or GPU.
TORCH_ARGS ?=
# a module is compiled when it is first imported, and kept: where an environment forbids that, each process would
# compile PyTorch anew, four seconds; to compile all modules at installation takes longer than to install them
unexport PYTHONDONTWRITEBYTECODE
PIP    := $(BIN)/pip install -q --disable-pip-version-check --no-compile -c constraints.txt
UV     := $(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help env demo results test export figures readme pages docs lab clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

env: $(VENV)/.ready  ## the environment, pinned by constraints.txt (a minute, 1.7 GB)

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH_ARGS) torch==2.13.0
	$(PIP) uv
	@# uv takes 12 seconds where pip takes 80; it does not read pip's settings, so an index named there is pip's to find
	$(UV) -e .[dev] || $(PIP) -e .[dev]
	@touch $@

DEMO := -p data_dir demo/data
DEMO_OUT := -p runs_dir demo/runs -p reports_dir demo/reports
PRECOG := -p benchmark precog -p recipe precog
demo: env  ## recordings of 12 people (PRECOG 2016, in the box) to a report (some minutes); nothing outside demo/ is touched
	msagcn prepare -p benchmark precog $(DEMO)
	msagcn train -f params/precog.yaml -p stream joint,bone $(DEMO) $(DEMO_OUT)
	msagcn fuse $(PRECOG) -p model msg3d -p streams joint,bone -p reports_dir demo/reports
	msagcn report $(PRECOG) $(DEMO) $(DEMO_OUT)
	@echo; echo "Trained on nine people, tested on three others; all twelve in turn: make results"
	@echo "Open $(CURDIR)/demo/reports/precog.html"; echo "For commands of your own: . $(VENV)/bin/activate"

RESULTS := -p data_dir results/data
# where a processor has AVX2, the arithmetic that is the same on all that have it (docs/start.md)
PORTABLE := $(shell grep -qsw avx2 /proc/cpuinfo && echo ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_CBWR=COMPATIBLE OPENBLAS_CORETYPE=Haswell)
results: env  ## PRECOG 2016 again: MS-G3D, four folds of people, three seeds, against reports/precog.csv (ten minutes on two cores)
	msagcn prepare -p benchmark precog $(RESULTS)
	$(PORTABLE) msagcn crossval $(RESULTS) -p runs_dir results/runs -p reports_dir results/reports -p recorded reports/precog.csv

test: env  ## everything: notebooks as tests, then tests/
	OMP_NUM_THREADS=1 python docs/execute.py  # as nbdev-test does, and whether they show what is kept in them
	@# three on two cores, as some tests wait for a browser, a kernel or another process; in a test that trains by two
	@# threads, one that waits for the other leaves its core to the rest;
	@# no logs are collected, as nothing writes any
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive pytest -p no:logging -n 3 --dist loadfile --no-loadscope-reorder tests

export: env  ## notebooks to msagcn/, formatted and cleaned
	ruff format -q nbs
	python docs/export.py
	nbdev-clean

figures: env  ## run the library's notebooks, and keep what their cells show
	OMP_NUM_THREADS=1 python docs/execute.py --write
	nbdev-clean

readme: env  ## README.md from nbs/index.ipynb, its tables from reports/
	cd nbs && jupyter nbconvert --log-level=ERROR --to markdown --execute --TagRemovePreprocessor.enabled=True \
		--TagRemovePreprocessor.remove_input_tags='["hide"]' --output-dir=$(or $(OUT),..) --output=README index.ipynb

# of the data and weights that may be here nothing is used: the pages are the same on every machine
pages: readme  ## README.md and all pages and tables in reports/, from the files in reports/ alone
	msagcn tables
	msagcn report -p benchmark nw_ucla -p recipe cpu30 -p data_dir docs/made/none -p runs_dir docs/made

docs: env  ## the site from notebooks and reports, in docs/_build/html (a minute or two); works without a network
	sphinx-build -q -b html docs docs/_build/html
	@echo "Open $(CURDIR)/docs/_build/html/index.html"

lab: env  ## JupyterLab on the notebooks
	jupyter lab nbs

clean:  ## what demo and results made, and caches; never data, runs or reports
	rm -rf demo results build dist docs/_build docs/made .pytest_cache *.egg-info
