# `make test` is the one command that CI runs: it installs what the tests need and runs them all.
# Each target below it runs alone as well.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

.PHONY: help test install lint audit build rust simulation chaos sdk python clients deploy page autobahn autobahn-all instructions bench-smoke readme fuzz figures figures-all soak

help: ## says what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

test: ## installs what the tests need and runs every test
	@tests/run.sh

install: ## Debian, npm and Python packages, the Autobahn suite
	@tests/install.sh

lint: ## formatting and clippy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --test simulation -- -D warnings

audit: ## licences and sources of dependencies, and the Dockerfile
	tests/.cache/audit/bin/cargo-deny --locked check --hide-inclusion-graph bans licenses sources
	tests/.cache/audit/bin/hadolint Dockerfile

build: ## the release binaries
	cargo build --release --workspace

rust: ## unit tests, tidy, transcripts, properties, loom
	cargo test --workspace

simulation: ## seeded simulation of several shards, with planted faults
	cargo test --release --test simulation -- --nocapture

# Root makes network namespaces: who is not root has them in a namespace where it is.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,unshare --user --map-root-user --net)

chaos: build ## faults in real processes under load; MINUTES=30 goes on so long (nightly)
	cargo test --test chaos --no-run
	FANFARE_BIN=$(CURDIR)/target/release/fanfare $(AS_ROOT) sh -c 'ip link set lo up && $(CHAOS_LIMIT) cargo test --test chaos'

# One file at a time: how soon a healthy client is served is measured beside nothing else.
sdk: build ## official SDKs and hostile clients against the release binary
	mkdir -p target/clients
	cd tests/sdk && node --test --test-concurrency=1 --test-reporter=spec --test-reporter-destination=stdout \
	  --test-reporter=./features.mjs --test-reporter-destination=../../target/clients/js.jsonl

python: build ## centrifuge-python and cent against the release binary
	tests/.cache/python/bin/pytest tests/python --features=target/clients/python.jsonl

clients: ## docs/clients.md, from the last runs of sdk and python
	tests/clients.py

deploy: build ## commands, image, Compose, systemd, proxies, example configurations, alert rules, dashboard
	tests/.cache/deploy/bin/python -m unittest discover --start-directory tests/deploy

page: build ## the page of dev mode in Chromium
	cd tests/page && node --test --test-reporter=spec

autobahn: build ## RFC 6455 and some of RFC 7692 by the Autobahn suite, through the echo endpoint
	python3 tests/autobahn/run.py

autobahn-all: build ## the same with all 216 cases of permessage-deflate (nightly: some minutes)
	python3 tests/autobahn/run.py --all

instructions: ## instructions of ours, counted by callgrind, beside benches/baseline.json
	cargo bench --bench instructions

soak: build ## 10,000 people come and go for 10 minutes: memory and descriptors (nightly)
	target/release/loadtest soak --minutes $(or $(MINUTES),10)

bench-smoke: ## small load runs: fails when anything is lost, duplicated or reordered
	loadtest/bench-smoke.sh

readme: build ## the README's code blocks
	node tests/readme.mjs

fuzz: ## seven fuzz targets for a minute each (nightly; FUZZ_SECONDS for longer)
	fuzz/run.sh

figures: build ## five scenarios beside five peers (about 10 minutes, needs a quiet machine)
	target/release/loadtest compare --save docs/plots/runs.json
	target/release/loadtest render

figures-all: build ## every scenario (about 40 minutes, needs a quiet machine)
	target/release/loadtest compare --scenario all --save docs/plots/runs.json
	target/release/loadtest render
