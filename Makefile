# gatehouse: build, run, test. `make help` lists the targets.

GO       ?= go
BUILD    ?= build
VERSION  ?= $(shell git describe --tags --always 2>/dev/null || echo dev)
LDFLAGS   = -s -w -buildid= -X gatehouse/agent/cli.Version=$(VERSION)
GOBUILD   = CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'
TARGETS   = linux-arm64 linux-armv6 linux-armv7 linux-amd64
FUZZTIME ?= 5s
DEMO     ?= demo

.DEFAULT_GOAL := help
.PHONY: help run test test-faults test-gpio check build host docs bench fuzz repro clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

host: ## build gatehouse and its tools for this machine into build/
	@mkdir -p $(BUILD)
	$(GOBUILD) -o $(BUILD)/gatehouse ./agent
	$(GOBUILD) -o $(BUILD)/sitesim ./tools/sitesim
	$(GOBUILD) -o $(BUILD)/iphost ./tools/iphost

run: host ## start the agent on a simulated site and say where to look
	$(BUILD)/gatehouse run --demo --state $(DEMO)

test: ## run the tests (downloads the modules the first time)
	$(GO) mod download
	$(GO) test -timeout 280s ./...

test-faults: ## the long fault suites: kills, hangs, damaged files; the seed is printed
	GATEHOUSE_FAULTS=full $(GO) test -count=1 -timeout 60m -run 'Fault|Damage|Kill|Model|GoOn|Promises|Mantrap|Replay|Outage|Cuts' -v ./agent ./agent/app ./agent/uplink ./agent/door/... ./store/... ./agent/task/... ./hal/sim
	GATEHOUSE_FAULTS=full $(GO) test -count=1 -timeout 30m -run 'Kill' -v ./tools/iphost/...
	GATEHOUSE_FAULTS=full $(GO) test -count=1 -timeout 10m -run Policies -v ./tools/sitesim/lock

test-gpio: ## the agent on a real arm64 kernel's GPIO lines, in qemu (installs what it lacks by apt)
	./.ci/test-gpio

check: ## everything that CI asks of the code
	./.ci/check

fuzz: ## run each fuzz target for FUZZTIME
	./.ci/fuzz $(FUZZTIME)

bench: ## measure; one JSON result on standard output
	$(GO) run ./tools/bench

build: $(TARGETS) ## release binaries for arm64, armv6, armv7, amd64

linux-arm64: FORCE
	GOOS=linux GOARCH=arm64 $(GOBUILD) -o $(BUILD)/$@/gatehouse ./agent
linux-armv6: FORCE
	GOOS=linux GOARCH=arm GOARM=6 $(GOBUILD) -o $(BUILD)/$@/gatehouse ./agent
linux-armv7: FORCE
	GOOS=linux GOARCH=arm GOARM=7 $(GOBUILD) -o $(BUILD)/$@/gatehouse ./agent
linux-amd64: FORCE
	GOOS=linux GOARCH=amd64 $(GOBUILD) -o $(BUILD)/$@/gatehouse ./agent

repro: ## build twice in two folders and compare the bytes
	./.ci/repro

clean: ## remove what was built; the demo's state is kept
	rm -rf $(BUILD)

FORCE:
