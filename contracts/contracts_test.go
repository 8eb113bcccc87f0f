package contracts_test

import (
	"bufio"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/runtime/wasm"
)

// The standard contracts run on the smallest gateway: they pass the lean
// profile, start in one page of memory and take at most 64 KiB.
func TestStandardContractsAreLean(t *testing.T) {
	for name, c := range map[string]struct {
		code    []byte
		entries []abi.Entry
	}{
		"access":    {contracts.Access, []abi.Entry{abi.EntryInit, abi.EntryExecute, abi.EntryTimer, abi.EntryQuery, abi.EntryDecide}},
		"behaviour": {contracts.Behaviour, []abi.Entry{abi.EntryInit, abi.EntryExecute, abi.EntryTimer, abi.EntryQuery, abi.EntryObserve}},
	} {
		t.Run(name, func(t *testing.T) {
			info, err := wasm.Check(c.code, abi.ProfileLean)
			if err != nil {
				t.Fatal(err)
			}
			if info.MemoryPages != 1 || len(c.code) > 64<<10 {
				t.Errorf("%d pages of memory, %d bytes", info.MemoryPages, len(c.code))
			}
			if !slices.Equal(info.Entries, c.entries) {
				t.Errorf("entry points %v, want %v", info.Entries, c.entries)
			}
			for _, use := range info.Uses {
				t.Logf("%s: %d of %d", use.Name, use.Used, use.Limit)
			}
		})
	}
}

// The Rust SDK and package cbor accept and refuse the same items: both are
// held to the SDK's vectors.
func TestCBORVectorsOfTheRustSDK(t *testing.T) {
	f, err := os.Open("../sdk/rust/testdata/cbor.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if words[0] == "#" {
			continue
		}
		item, err := hex.DecodeString(strings.TrimPrefix(words[1], "-"))
		if err != nil {
			t.Fatal(err)
		}
		if err := cbor.Validate(item); (err == nil) != (words[0] == "ok") {
			t.Errorf("%s: %v", lines.Text(), err)
		}
		n++
	}
	if n < 100 {
		t.Fatalf("%d vectors", n)
	}
}
