# Targets for people and CI. `make demo` and `make test` need Go alone.

GO        ?= go
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS    = -s -w -X main.version=$(VERSION)
FUZZTIME  ?= 60s
SOAKTIME  ?= 10m
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
	CGO_ENABLED=1 $(GO) test -race -timeout 20m ./...
	@git diff --exit-code --stat || { echo "the checks changed files: commit or fix them"; exit 1; }

contracts: ## rebuild the standard contracts' Wasm (Debian's rustc, see contracts/build.sh)
	contracts/build.sh

bench: ## every benchmark, and the ratios against the bare parts
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...
	$(GO) test -run '^TestRatios$$' -v -count 1 ./cmd/postern -ratios

fuzz: ## every fuzz target, FUZZTIME each
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "== $$pkg $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; \
	done

soak: ## long random campaigns, SOAKTIME each
	$(GO) test -run Soak -count 1 -timeout 24h ./... -args -soak $(SOAKTIME)

clean:
	rm -rf postern dist contracts/target sdk/rust/target
