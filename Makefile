# The one door: `make help` lists the targets. CI calls the same ones.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
JOBS ?= 2
# Most tests wait for a process, a socket or a timer: two for each core keep both cores busy.
TEST_JOBS ?= 4
# Each begins with a quarter of the files, so that what a file's tests share is made once; who is done takes of the others.
PYTEST = $(PY) -m pytest -n $(TEST_JOBS) --dist worksteal
FASTMESH_PROFILE ?= release
ONLY ?=
export PYTHON FASTMESH_PROFILE JOBS
# Bytecode is kept, whatever the environment says: each worker of the tests reads all of it, and each process that they
# start reads the package.
export PYTHONDONTWRITEBYTECODE :=
# Servers, as nginx and HAProxy are, stand where the PATH of a user who is not root does not lead.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

V := .venv
PY := $(V)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check -q
TESTS ?= tests examples
TARGET ?= all
TIME ?= 60

# --- set-up: each step leaves a stamp and is not repeated -------------------

.PHONY: setup
setup: $(V)/.dev ## system packages, .venv, tools for tests and checks

build/.system-%: system-packages.txt scripts/system-packages
	scripts/system-packages $*
	@mkdir -p build && touch $@

$(V)/pyvenv.cfg: | build/.system-build
	@$(PYTHON) -c 'import sys; v = sys.version_info; \
	    sys.exit(f"fastmesh needs Python 3.11 or later; $(PYTHON) is {v[0]}.{v[1]}" if v < (3, 11) else 0)'
	$(PYTHON) -m venv $(V) || { rm -rf $(V); exit 1; }

# A Python that was asked for by name must be the one that .venv has.
.PHONY: python
python: $(V)/pyvenv.cfg
ifneq ($(origin PYTHON),file)
	@made=$$($(PYTHON) -c 'import sys; print("python%d.%d" % sys.version_info[:2])'); [ -d $(V)/lib/$$made ] || \
	    { echo "$(V) has another Python than $(PYTHON), which is $$made: remove $(V), or leave out PYTHON" >&2; exit 1; }
endif

$(V)/.run: requirements/build.txt requirements/run.txt | $(V)/pyvenv.cfg
	$(PIP) install -r requirements/build.txt -r requirements/run.txt
	@touch $@

# The package itself, from the tree: brings .venv/bin/fastmesh. The extensions are compiled by `build`.
$(V)/.tree: pyproject.toml $(V)/.run
	FASTMESH_PURE=1 $(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(V)/.dev: requirements/dev.txt $(V)/.tree | build/.system-test
	$(PIP) install -r requirements/dev.txt
	@touch $@

$(V)/.bench: requirements/bench.txt $(V)/.dev | build/.system-bench
	$(PIP) install -r requirements/bench.txt
	@touch $@

# --- everyday ---------------------------------------------------------------

.PHONY: build
build: python $(V)/.tree ## compile what changed; leaves .venv/bin/fastmesh (ONLY=module prefix, FASTMESH_PROFILE=dev|perf)
	@FASTMESH_ONLY="$(ONLY)" $(PY) setup.py -q build_ext --inplace -j$(JOBS)

.PHONY: test
test: build $(V)/.dev ## unit and integration tests, what an engine has a part in on both (TESTS=path or arguments)
	$(PYTEST) $(TESTS)

.PHONY: test-long
test-long: build $(V)/.dev ## all of them on both engines, and what tries at random tries four times as much
	TEST_LONG=1 $(PYTEST) $(TESTS)

.PHONY: demo
demo: build ## three services, their sidecars, live traffic, and what goes wrong with them
	@$(PY) -m demo

.PHONY: check
check: build $(V)/.dev ## linters, types, the rules of the core, stubs, links
	$(V)/bin/ruff check
	$(V)/bin/mypy
	PATH="$(CURDIR)/$(V)/bin:$$PATH" cython-lint src/fastmesh/_core $(wildcard tests/probes)
	$(PY) tools/check_layers.py
	$(PY) tools/check_imports.py
	$(PY) tools/check_core.py
	$(PY) tools/check_hints.py
	$(PY) tools/check_stubs.py
	$(PY) tools/check_links.py
	$(PY) tools/gen_filter_docs.py --check

.PHONY: asan
asan: build $(V)/.dev ## the same tests, built with AddressSanitizer and UBSan, in build/asan/tree
	scripts/sanitized $(TESTS)

.PHONY: fuzz
fuzz: $(V)/.dev build/.system-fuzz ## coverage-guided fuzzing of the codecs and the proxy (TARGET=h1_request TIME=seconds each)
	scripts/fuzz $(TARGET) $(TIME)

.PHONY: bench
bench: build $(V)/.bench ## beside nginx, HAProxy and Envoy, about an hour on two cores (QUICK=1: 2 minutes, ARGS=...)
	$(PY) -m bench $(if $(QUICK),--quick) $(ARGS)

.PHONY: bench-smoke
bench-smoke: build $(V)/.bench ## each scenario of the benchmark for a second: nothing fails (BENCH_PEERS=fastmesh,nginx,...)
	$(PY) -m pytest bench/smoke

.PHONY: bench-instructions
bench-instructions: build $(V)/.bench ## instructions per operation against those kept, by valgrind (ACCEPT="why it may rise")
	$(PY) -m bench.instructions $(if $(ACCEPT),--accept "$(ACCEPT)")

.PHONY: bench-compare
bench-compare: build $(V)/.bench ## the micro-benchmarks beside those of another commit (REF=commit, ARGS=...)
	@test -n "$(REF)" || { echo "Say what to compare with: make bench-compare REF=main" >&2; exit 2; }
	$(PY) -m bench.compare $(ARGS) "$(REF)"

# --- what leaves the house --------------------------------------------------

.PHONY: wheel
wheel: $(V)/.run ## dist/*.whl, for this version of Python
	rm -rf build/release/lib build/release/lib.*
	$(PIP) wheel --no-deps --no-build-isolation -w dist .
	@ls -l dist/*.whl

.PHONY: newcomer
newcomer: wheel ## the tutorial, command by command, in a new environment with the wheel (docs/filters/tutorial.md)
	$(PY) tools/newcomer.py

.PHONY: image
image: ## the container image fastmesh:latest
	docker build -t fastmesh .

.PHONY: clean
clean: ## remove everything that was built, but not .venv
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name '*.so' -delete
	find src tests demo tools bench -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

.PHONY: help
help: ## this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
