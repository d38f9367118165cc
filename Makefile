# Every target is a line or two; what needs more stands in integration/. `make help` lists them.
SHELL   := /bin/bash
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
# The entries are our own (linux/entry, linux/slack), on amd64.
AMD64   := $(filter amd64,$(shell go env GOARCH))
ENTRY   := $(if $(AMD64),-E=example.io/shim/linux/entry.entry)
SLACK   := $(if $(AMD64),-E=example.io/shim/linux/slack.entry)
GO_BUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false

MODES ?= all

.PHONY: help build man setup demo test test-unit test-integration test-vm test-vm-short lint bench stress clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

build: ## build every binary into bin/, static and reproducible
	$(GO_BUILD) -ldflags "$(LDFLAGS) $(ENTRY)" -o bin/containerd-shim-shim-v2 ./cmd/shim-v2
	$(GO_BUILD) -ldflags "$(LDFLAGS) $(SLACK)" -o bin/shimrun ./cmd/shimrun

man: build ## write shimrun's manual pages into bin/man/man8/
	mkdir -p bin/man/man8 && bin/shimrun man >bin/man/man8/shimrun.8
	for c in $$(bin/shimrun man | sed -n 's/^.BR shimrun\\-\(.*\) (8)$$/\1/p'); do bin/shimrun man $$c >bin/man/man8/shimrun-$$c.8; done

setup: ## install what the tests need by apt, and build containerd 2.x from its module
	integration/setup/setup.sh packages containerd2

demo: build ## show a container's life through ctr and a private containerd
	integration/setup/setup.sh packages
	integration/demo/demo.sh

test: test-unit test-integration ## set up and run all tests

test-unit: setup ## the packages' own tests, as root on the real kernel
	go test -timeout 20m ./...
	go test -race -timeout 10m ./process ./shim/... ./io/... ./linux/plan ./linux/spec ./linux/compile

test-integration: build setup ## the contract, through real containerds (1.6 and 2.x)
	cd integration && go test -p 1 -count 1 -timeout 40m ./...

test-vm: ## all tests in virtual machines: cgroup v1, v2, systemd, AppArmor, CRIU (hours; MODES=v2 is one)
	integration/vm/test.sh $(MODES)

test-vm-short: ## a part of them in ten minutes: all of cgroup v2, what is systemd's, AppArmor, a restored container
	integration/vm/test.sh -s -t 1500 -p linux/cgroup -p linux/host -p linux/run -p oom -p integration/contract v2
	integration/vm/test.sh -s -t 900 -p linux/cgroup/systemd -p linux/run -p integration/contract -r '^(TestUnit|TestScope$$|TestRefused$$|TestResourcesV2$$|TestOOM$$|TestPause$$)' v2-systemd
	integration/vm/test.sh -t 600 -p linux/run v2-apparmor
	integration/vm/test.sh -t 600 -p linux/run -r '^TestCriuCounter$$' v2-criu

lint: ## golangci-lint over both modules
	integration/setup/setup.sh lint
	.cache/bin/golangci-lint run ./...
	cd integration && ../.cache/bin/golangci-lint run --config ../.golangci.yml ./...

bench: build setup ## compare with containerd's shim (runc and crun), a null shim and bare C, in pairs; BENCH=-quick, BENCH="-docs docs"
	integration/setup/setup.sh bench
	cd integration && go build -o ../.cache/bin/bench ./bench
	unshare -m integration/bench/run.sh .cache/bin/bench $(BENCH)

stress: build setup ## 2,000 runs, 5,000 execs and 200 OOM kills
	cd integration && STRESS=1 go test -count 1 -timeout 60m -v ./stress

clean: ## remove what was built
	rm -rf bin .cache
