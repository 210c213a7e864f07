# What a newcomer and CI do. Each target sets up what it needs first; set-up does nothing where nothing is missing.
# All but `bench` use the dev profile, so that dependencies are compiled once.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test bench faults peers fuzz guest format authenticator reproducible

CARGO := cargo
ONCE ?=
SECONDS_EACH ?= 60
FAULT_COUNT ?= 10000
FAULT_SEED ?= $(shell date +%s)
KILL_ROUNDS ?= 200
# What is built before the demo. CI says `--workspace --all-targets`: it has that already, and the program alone would ask for
# some dependencies with fewer features, that is, once more.
BUILD ?= --package chorion

# Test names are sentences; these words stand in those about what breaks.
FAULTS := _flipped_ _torn_ _cut_ kill crash _lost _failed _fails_ _full_ _corrupt _broken_ _repair resume _restart

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup-%:
	@testing/setup.sh $*

demo: setup-demo setup-authenticator ## the whole story on a bundled run of real reads; ONCE=1 ends it after the last step
	@$(CARGO) build --locked $(BUILD)
	@web/build.sh
	@target/debug/chorion demo $(if $(ONCE),--once)

test: setup-test ## all tests
	@testing/run_tests.sh

faults: setup-test ## ten thousand faults (FAULT_COUNT, FAULT_SEED), 200 kills of real processes (KILL_ROUNDS), a disk that is really full, then the tests of faults
	@CHORION_FAULTS=$(FAULT_COUNT) CHORION_FAULTS_SEED=$(FAULT_SEED) $(CARGO) test --locked --workspace --lib -- --nocapture \
	    after_any_fault one_flipped_bit
	@CHORION_KILL_ROUNDS=$(KILL_ROUNDS) $(CARGO) test --locked --workspace --test journeys -- --nocapture \
	    whatever_is_killed a_disk_is_full
	@testing/run_tests.sh $(FAULTS)

peers: setup-test setup-bench setup-peers ## other programs as judges: picard, samtools, MultiQC, Illumina's library, sslscan, schemathesis
	@$(CARGO) build --locked $(BUILD)
	@testing/peers/hub.sh target/debug/chorion
	@testing/peers/demultiplexing.sh target/debug/chorion
	@CHORION_TEST_PYTHON=$(CURDIR)/target/venv/bin/python testing/run_tests.sh multiqc illumina_s_library the_library

bench: setup-bench ## Chorion beside its peers, as ratios, in the release profile
	@$(CARGO) build --locked --release --workspace --bins --examples
	@testing/run_benches.sh

guest: setup-guest ## the image of a confidential guest, built twice the same and booted without SEV
	@$(CARGO) build --locked --package chorion
	@$(CARGO) build --locked --package vault --no-default-features
	@deploy/guest/check.sh --vault target/debug/vault --chorion target/debug/chorion

authenticator: setup-authenticator ## what browsers run: the authenticator and the website's pages that open files, into target/web
	@web/build.sh

reproducible: setup-authenticator ## what browsers run, built in two folders, is the same bytes
	@web/check_reproducible.sh

fuzz: ## every fuzz target for SECONDS_EACH=60 seconds
	@testing/run_fuzzers.sh $(SECONDS_EACH)

format: ## format everything
	@$(CARGO) fmt --all
