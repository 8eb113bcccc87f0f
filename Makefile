# Targets for people and CI. `make demo` and `make test` need Go alone.

GO        ?= go
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS    = -s -w -X main.version=$(VERSION)
FUZZTIME  ?= 60s
SOAKSEEDS ?= 20000
SOAKCOUNT ?= 10
SOAKROUNDS ?= 500
SOAKROOT  ?= -mounts -namespaces # what takes root; empty where that is not to be had
BENCHTIME ?= 1s

# Random modules of six functions each: the campaign of `make fuzz`, 100,000
# functions on this processor and 20,000 on arm64, and what `make engines` does.
CAMPAIGN  ?= 16700 3400 500
SHARE     ?= 300 60 60

# Other processors, by Debian's qemu-user-static; 386 runs natively on amd64.
ON_386     = GOARCH=386 $(GO) test
ON_ARM64   = GOARCH=arm64 $(GO) test -exec qemu-aarch64-static
ON_ARMV7   = GOARCH=arm GOARM=7 $(GO) test -exec qemu-arm-static
ENGINES    = ./runtime/wasm/internal/rewrite -count 1 -timeout 6h

# Packages that start no goroutine and interpret modules for minutes under the race
# detector.
ALONE      = -e /sdk/contract/fake -e /runtime/wasm/internal/rewrite

export CGO_ENABLED = 0

.PHONY: build test check engines campaign contracts bench fuzz soak demo clean

build: ## the stripped programs, ./postern and ./postern-capture
	$(GO) build -trimpath -tags urfave_cli_no_docs -ldflags '$(LDFLAGS)' -o . ./cmd/...

test: ## all tests
	$(GO) test ./...

demo: ## the main job in front of you, under 20 seconds
	$(GO) run ./cmd/postern demo

check: ## what must hold before a change lands (needs a C compiler for the race detector and Debian's rustc, binaryen and qemu-user-static)
	@out=$$(gofmt -l .); test -z "$$out" || { echo "gofmt: run gofmt -w on:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck $$($(GO) list ./... | grep -v '/sdk/contract')
	$(GO) tool staticcheck -checks inherit,-U1000 ./sdk/contract/... # a guest's entry points are used by the host alone
	$(GO) mod tidy -diff
	GOARCH=386 $(GO) vet ./abi/... ./storage/... ./runtime/ledger/... ./runtime/wasm/...
	contracts/build.sh --check
	contracts/build.sh --test
	CGO_ENABLED=1 $(GO) test -race -timeout 20m $$($(GO) list ./... | grep -v $(ALONE))
	$(GO) test $$($(GO) list ./... | grep $(ALONE))
	$(GO) test ./runtime/consensus -run 'BusyChain|DeposesNobody'
	$(GO) test ./cmd/postern -run 'Docs|Campaign' -rust
	$(MAKE) engines
	@git diff --exit-code --stat || { echo "the checks changed files: commit or fix them"; exit 1; }

engines: ## the same outcomes on every engine and processor (Debian's binaryen and qemu-user-static)
	$(GO) test $(ENGINES) -run 'Random|Binaryen|Engine' -seeds $(word 1,$(SHARE)) -binaryen 60
	$(ON_386) $(ENGINES) -run 'Random|Binaryen|Engine' -seeds $(word 3,$(SHARE))
	$(ON_ARM64) $(ENGINES) -run 'Random|Binaryen|Engine' -seeds $(word 2,$(SHARE)) -binaryen 20
	$(ON_ARMV7) $(ENGINES) -run 'Random|Binaryen|Engine' -seeds $(word 3,$(SHARE)) -binaryen 20
	$(ON_386) ./runtime/wasm ./runtime/ledger -run 'Golden|HostScripts|FixtureReplays|ChangeOfVersion|CompiledBefore|Versions'
	$(ON_ARM64) ./runtime/wasm ./runtime/ledger -run 'Golden|HostScripts|FixtureReplays|ChangeOfVersion|CompiledBefore|Versions'
	$(ON_ARMV7) ./runtime/wasm ./runtime/ledger -run 'Golden|HostScripts|FixtureReplays|ChangeOfVersion|CompiledBefore|Versions'

campaign: ## thousands of random modules on amd64, arm64 and armv7
	$(GO) test $(ENGINES) -run 'Random|Binaryen' -seeds $(word 1,$(CAMPAIGN)) -binaryen 3000
	$(ON_ARM64) $(ENGINES) -run 'Random|Binaryen' -seeds $(word 2,$(CAMPAIGN)) -binaryen 300
	$(ON_ARMV7) $(ENGINES) -run 'Random|Binaryen' -seeds $(word 3,$(CAMPAIGN)) -binaryen 100

contracts: ## rebuild the standard contracts' Wasm (Debian's rustc, see contracts/build.sh)
	contracts/build.sh

bench: ## every benchmark, one package after another; then a whole node against a bare echo, networks of processes, and a join
	$(GO) test -p 1 -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -timeout 60m $$($(GO) list ./... | grep -v /cmd/)
	$(GO) test -run '^$$' -bench Ratios -benchtime 1x -timeout 20m ./cmd/postern
	$(GO) test -run '^$$' -bench Agreement -benchtime 5000x -timeout 20m ./cmd/postern
	$(GO) test -run '^$$' -bench 'Network|Join|Quarantine' -benchtime 1x -timeout 40m ./cmd/postern

fuzz: campaign ## the campaign of random modules, and every fuzz target, FUZZTIME each
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "== $$pkg $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$pkg || exit 1; \
	  done; \
	done

soak: ## long campaigns: SOAKSEEDS random modules, SOAKROUNDS faults upon networks of processes (SOAKROOT= without root), and every test SOAKCOUNT times under the race detector
	$(GO) test -count 1 -timeout 24h ./runtime/wasm/internal/rewrite -seeds $(SOAKSEEDS)
	$(GO) test -count 1 -timeout 24h ./cmd/postern -run 'Survival|Campaign' -rounds $(SOAKROUNDS) -sim-seeds 20 -sim-rounds 12
	$(GO) test -count 1 -timeout 24h ./cmd/postern -run 'EveryFile|DiskFull|Partitions|FloodOfProcesses' -damages 50 -flood 60s $(SOAKROOT)
	CGO_ENABLED=1 $(GO) test -race -count $(SOAKCOUNT) -timeout 24h ./...

clean:
	rm -rf postern postern-capture dist contracts/target sdk/rust/target
