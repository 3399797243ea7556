# What a person runs. The work is in .ci/; each script does only what is missing.
.DEFAULT_GOAL := help
.PHONY: help setup setup-clickhouse setup-tests build transforms demo test bench clean

# The build that `make demo` and `make build` use: dev (minutes sooner) or release.
PROFILE ?= dev
BIN = $${CARGO_TARGET_DIR:-target}/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

setup: ## What building needs: WASM target, C++ tools, OpenSSL
	@.ci/setup

setup-tests: setup ## What the tests need: Kafka, Debezium, PostgreSQL, MinIO, Python packages, cargo tools
	@.ci/setup-tests

# The simulation needs a clock that can be stopped, and cargo would build the same
# one into everything. Only the tests, which need it anyway, build once with it.
APART = --exclude dabi-sim
test: APART =

build: setup ## The binaries
	@cargo build --locked --workspace $(APART) --bins --profile $(PROFILE)

transforms: build ## The transforms in transforms/, to .dabi/transforms/*.wasm
	@$(BIN)/dabi build

setup-clickhouse: build ## The embedded ClickHouse engine
	@$(BIN)/dabi setup clickhouse

# Standard output belongs to the demo: with --json a script reads it.
demo: ## Everything on embedded parts; options in ARGS
	@$(MAKE) --no-print-directory setup-clickhouse >&2
	@$(BIN)/dabi demo $(ARGS)

test: setup-tests setup-clickhouse ## Every check and test; options for nextest in ARGS
	@.ci/test $(ARGS)

bench: setup-tests ## Measures; results in bench/results.json
	@$(MAKE) --no-print-directory setup-clickhouse PROFILE=release
	@.ci/bench $(ARGS)

clean: ## What building made; caches shared by clones stay
	cargo clean
	rm -rf .dabi .venv
