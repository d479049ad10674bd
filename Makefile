# The front door. `make` shows what there is; `make run` and `make test` do everything on a fresh Debian 12.

ARGS ?=
FUZZ_SECONDS ?= 300
SOAK_SECONDS ?= 600

.DEFAULT_GOAL := help
.PHONY: help run demo build image image-kernels test asan fuzz lint format docs bench chaos soak cluster-up cluster-down test-cluster clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{ printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  make run ARGS="--port 9999"          pass flags to the gateway (see build/elara-gateway --help)'
	@echo '  make test ARGS="unit integration"    only these stages (see tests/run --help)'

run: ## install what is missing, build, and start a gateway on 127.0.0.1:8888
	@tools/packages build run
	@$(MAKE) --no-print-directory build
	@tools/run $(ARGS)

demo: ## JupyterLab from PyPI in build/demo, pointed at a gateway
	@tools/packages build run demo
	@$(MAKE) --no-print-directory build
	@tools/demo $(ARGS)

build: ## build/elara-gateway, build/elara-launcher, build/elara
	@tools/build build elara-gateway elara-launcher elara

image: ## build/elara-image.tar, and what is in it: the container image, made without a container engine
	@tools/packages build image push
	@tools/build build elara-gateway elara-launcher elara pod-runtime pages
	@tools/make-image build build/elara-image.tar $(ARGS)

image-kernels: ## build/elara-kernels.tar: an example image for kernels in pods
	@tools/packages image-kernels push
	@mkdir -p build
	@tools/make-kernel-image build/elara-kernels.tar $(ARGS)

test: ## everything: linters, unit, fuzz, integration and browser tests, with sanitizers too
	@tools/packages build run test browser cluster
	@tests/run $(ARGS)

asan: ## unit tests under AddressSanitizer and UndefinedBehaviorSanitizer, in build-asan
	@tools/packages build
	@tests/run unit-asan

fuzz: ## fuzz each target for FUZZ_SECONDS (300), from the stored corpora
	@tools/packages build test
	@tests/run --fuzz-seconds $(FUZZ_SECONDS) fuzz

lint: ## format, static analysis, sizes, includes, links, generated pages
	@tools/packages build test
	@tests/run lint

format: ## clang-format all C files
	@tools/packages test
	@find */ -path 'build*' -prune -o -name '*.[ch]' -print0 | xargs -0 clang-format -i

docs: build ## write docs/configuration.md and the schemas from the option table
	@build/elara-gateway --print-configuration-reference >docs/configuration.md
	@build/elara config schema >docs/configuration.schema.json
	@tools/chart-schema

bench: ## measure, with JEG beside us
	@tools/packages build test
	@tools/build build
	@tests/bench/run $(ARGS)

chaos: ## break everything between notebook and kernel 1,000 times
	@tools/packages build test
	@tools/build build
	@tests/chaos/run $(ARGS)

soak: ## clients of all kinds for SOAK_SECONDS (600): memory and descriptors must stay as they are
	@tools/packages build test
	@tools/build build
	@tests/soak/run --seconds $(SOAK_SECONDS) $(ARGS)

cluster-up: ## a real Kubernetes on this machine for the tests; the first time builds it (needs root)
	@tools/packages build test cluster
	@tests/cluster/cluster up

cluster-down: ## end it, and remove all that it or an aborted run has left
	@tests/cluster/cluster down

test-cluster: ## the tests on a real Kubernetes: on the one that is up, else on one of their own
	@tools/packages build run test cluster
	@tests/run cluster

clean: ## remove the build directories
	rm -rf build build-asan build-tsan build-fuzz
