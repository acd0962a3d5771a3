# Everything happens in a virtual environment in the checkout, .venv; nothing else is touched but cargo's and
# Go's own caches and the cache of `make etcd-binaries`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := $(VENV)/.stamp-tools
MODULE := $(VENV)/.stamp-module
CRATE := Cargo.toml Cargo.lock $(shell find src -name '*.rs' 2>/dev/null)
# Options for pytest, as in `make py-test ARGS='-k matrix -x'`, or for the measurements, as in
# `make bench ARGS='--directory /mnt/scratch'`.
ARGS ?=
# Processes of pytest: most tests wait for servers, so that a machine takes more of them than it has cores.
WORKERS ?= 3
# For each target of `make fuzz`.
SECONDS ?= 60

# protoc, which etcd-client's build script calls, comes in a wheel.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup build demo test check check-rust check-python rust-test py-test fuzz etcd-binaries bench bench-small bench-large bench-reading bench-loop bench-libraries docs dist test-wheels clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(TOOLS) ## Make .venv with every tool of development

$(TOOLS): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("$(PYTHON) is older than 3.10: say which to use with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

build: $(MODULE) ## Build the extension module into .venv, with the package in place

$(MODULE): $(TOOLS) $(CRATE)
	PIP_QUIET=1 $(BIN)/maturin develop --release --quiet
	@touch $@

demo: $(MODULE) ## Back up, destroy and restore a real 3-member etcd on loopback, step by step
	$(BIN)/python demo/demo.py

test: check rust-test py-test ## Everything that CI runs

check: $(MODULE) ## Formatting, lints, types, stubs, documentation, two of check-rust, check-python and docs at a time
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target check-rust check-python docs

check-rust: $(TOOLS) ## Rust's formatting and lints, for every set of features
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --release --all-targets --no-default-features -- -D warnings
	cargo clippy --release --all-targets -- -D warnings
	cargo clippy --release --all-targets --features python -- -D warnings

check-python: $(MODULE) ## Python's formatting, lints, types, and that the stub is what there is
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest dcos_etcd._core
	$(BIN)/basedpyright --warnings
	$(BIN)/basedpyright --verifytypes dcos_etcd --ignoreexternal >$(VENV)/verifytypes.txt || { cat $(VENV)/verifytypes.txt; exit 1; }

docs: $(MODULE) ## Build the site into target/docs; a warning is an error
	$(BIN)/sphinx-build --quiet -W --nitpicky --keep-going -b html -d target/doctrees docs target/docs

rust-test: $(TOOLS) ## Rust tests; they need no Python
	cargo test --release

py-test: $(MODULE) ## Python tests in WORKERS processes, WORKERS=0 for one alone; ARGS goes to pytest
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) $(ARGS)

fuzz: $(MODULE) ## Mutated files for every reader, SECONDS for each target; ARGS are targets
	cd fuzz && cargo clippy --release --locked --quiet -- -D warnings
	$(BIN)/python fuzz/run.py --seconds $(SECONDS) $(ARGS)

dist: $(TOOLS) ## Build one wheel for every CPython and an sdist into dist/, and look into both
	rm -rf dist
	$(BIN)/maturin build --release --locked --sdist --out dist
	@for python in python3.13t python3.14t; do ! command -v $$python >/dev/null \
		|| $(BIN)/maturin build --release --locked --out dist --interpreter $$python || exit 1; done
	$(BIN)/python tests/distributions.py check

test-wheels: dist etcd-binaries ## Install wheel and sdist into clean environments of every CPython here, and try them
	$(BIN)/python tests/distributions.py test

etcd-binaries: $(TOOLS) ## Get etcd 3.4, 3.5, 3.6 and 3.7 for the tests, into ~/.cache/dcos-etcd
	$(BIN)/python tests/etcd_binaries.py

bench: $(MODULE) etcd-binaries ## Measure us beside the peers on 1.35 GiB, in 12 minutes; needs 8 GiB of disk in TMPDIR
	$(BIN)/python benches/bench.py $(ARGS)

bench-small: $(MODULE) etcd-binaries ## The same on 120 MiB, in two minutes
	$(BIN)/python benches/bench.py --keys 60000 --rounds 2 $(ARGS)

bench-large: $(MODULE) etcd-binaries ## Memory and time on 8 GiB, in 10 minutes; needs 27 GiB of disk in TMPDIR
	cargo build --release --quiet --no-default-features --example large_database
	$(BIN)/python benches/bench.py --large $(ARGS)

bench-reading: $(MODULE) ## Measure the reader on two million small keys, in four minutes; needs 2 GiB of disk in TMPDIR
	$(BIN)/python benches/reading.py $(ARGS)

bench-loop: $(MODULE) etcd-binaries ## Measure how late an event loop is beside each coroutine, in three minutes; needs 8 GiB of disk in TMPDIR
	cargo build --release --quiet --no-default-features --example large_database
	$(BIN)/python benches/event_loop.py $(ARGS)

bench-libraries: $(TOOLS) ## Compare codecs and checksums on the database in FILE
	cargo run --release --quiet --manifest-path benches/libraries/Cargo.toml -- $(FILE)

clean: ## Remove what was built; the cache of etcd binaries stays
	rm -rf $(VENV) target fuzz/target fuzz/corpus fuzz/findings dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find python -name '*.so' -delete
