# Targets for people and CI. `make demo` and `make test` need Go alone.

GO        ?= go
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS    = -s -w -X main.version=$(VERSION)
FUZZTIME  ?= 60s
SOAKSEEDS ?= 20000
SOAKCOUNT ?= 10
BENCHTIME ?= 1s

export CGO_ENABLED = 0

.PHONY: build test check contracts bench fuzz soak demo clean

build: ## the stripped program, ./postern
	$(GO) build -trimpath -tags urfave_cli_no_docs -ldflags '$(LDFLAGS)' -o postern ./cmd/postern

test: ## all tests
	$(GO) test ./...

demo: ## the main job in front of you, under 20 seconds
	$(GO) run ./cmd/postern demo

check: ## what must hold before a change lands (needs a C compiler for the race detector and Debian's rustc)
	@out=$$(gofmt -l .); test -z "$$out" || { echo "gofmt: run gofmt -w on:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	GOARCH=386 $(GO) vet ./abi/... ./storage/... ./runtime/ledger/... ./runtime/wasm/...
	contracts/build.sh --check
	contracts/build.sh --test
	CGO_ENABLED=1 $(GO) test -race -timeout 20m ./...
	@git diff --exit-code --stat || { echo "the checks changed files: commit or fix them"; exit 1; }

contracts: ## rebuild the standard contracts' Wasm (Debian's rustc, see contracts/build.sh)
	contracts/build.sh

bench: ## every benchmark, one package after another; the last is a whole node against a bare echo
	$(GO) test -p 1 -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -timeout 60m $$($(GO) list ./... | grep -v /cmd/)
	$(GO) test -run '^$$' -bench Ratios -benchtime 1x -timeout 20m ./cmd/postern

fuzz: ## every fuzz target, FUZZTIME each
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "== $$pkg $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$pkg || exit 1; \
	  done; \
	done

soak: ## long campaigns: SOAKSEEDS random modules, and every test SOAKCOUNT times under the race detector
	$(GO) test -count 1 -timeout 24h ./runtime/wasm/internal/rewrite -seeds $(SOAKSEEDS)
	CGO_ENABLED=1 $(GO) test -race -count $(SOAKCOUNT) -timeout 24h ./...

clean:
	rm -rf postern dist contracts/target sdk/rust/target
