# `make` alone prints this help. Every target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.roundhouse

.DEFAULT_GOAL := help
.PHONY: help setup system peers run test check unit firmware postgresql15 qemu images bench fuzz soak docs clean

help: ## this list
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is %d.%d" % sys.version_info[:2]) if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[embedded,dev]'
	touch $@

setup: $(STAMP) ## the environment (.venv) with pinned dependencies

system: ## Debian packages that images, QEMU and the second test peers need (root)
	./.ci/system-packages

peers: ## Debian packages that the benches compare with (root)
	./.ci/system-packages bench

run: setup ## service, virtual rack and one order; stays up (ONCE=1: releases the machine and exits)
	$(BIN)/roundhouse lab demo $(if $(ONCE),--once) $(LAB)

check: setup ## formatting, lints, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Much of a test's time is waiting: three run side by side. A virtual machine wants the processors for itself.
unit: setup ## the tests (PYTEST=… passes options)
	$(BIN)/pytest -n 3 --dist worksteal -m "not qemu" $(PYTEST)
	$(BIN)/pytest -m "qemu and smoke" $(PYTEST) || test $$? -eq 5

firmware: images ## all that runs in virtual machines: firmware, installs, erases (root; some 40 minutes)
	$(BIN)/pytest -m qemu $(PYTEST)

postgresql15: setup ## the tests of database and service once more, on Debian's PostgreSQL 15
	./.ci/with-postgresql-15 $(BIN)/pytest -n 3 --dist worksteal tests/ipam tests/service tests/boot tests/lab/test_main_path.py \
		-k "not embedded and not any_step and not fuzz and not cli and not completion and not matrix"

test: check unit ## everything the gate runs

# The virtual rack's machines are virtual: they start the cloud kernel in half the time.
images: export ROUNDHOUSE_BUILD_KERNEL ?= cloud
images: setup system ## the in-RAM installers, the Debian 12 image and its distribution's installer, into var/images
	$(BIN)/roundhouse image build installer
	$(BIN)/roundhouse image build installer --arch arm64
	$(BIN)/roundhouse image build debian-12
	$(BIN)/roundhouse image build debian-12-netboot

qemu: images ## a real virtual machine: order, network boot, install, SSH login (UEFI=1 for UEFI)
	$(BIN)/roundhouse lab demo --once --machines 0 --leaves 1 --qemu 1 $(if $(UEFI),--firmware uefi)

bench: setup ## how fast it is, into build/bench.json (BENCH=ipam.allocate for one part; all: some 40 minutes)
	$(BIN)/python -m tests.bench $(BENCH)

fuzz: setup ## schemathesis over the whole API with every kind of token (some three quarters of an hour)
	$(BIN)/python -m tests.service.fuzz --examples 10

soak: setup ## a million random operations on the address manager, checked
	$(BIN)/python -m tests.ipam.soak --operations 1000000

docs: setup ## files that are made from the code
	$(BIN)/python -m service.lifecycle > docs/lifecycle.md
	$(BIN)/python -m service.cli.manual > docs/cli.md
	$(BIN)/python -W ignore -m service.store.dump > sql/schema.sql

clean: ## remove what was made
	rm -rf $(VENV) build var *.egg-info
