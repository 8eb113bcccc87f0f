package contracts_test

import (
	"bufio"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/runtime/wasm"
)

// The standard contracts run on the smallest gateway: they pass the lean
// profile, start in one page of memory, take at most 64 KiB and have the entry
// points that their READMEs tell of.
func TestStandardContractsAreLean(t *testing.T) {
	const transactions = "execute, timer, query"
	want := map[string]string{
		"access":     "init, execute, timer, query, search, decide",
		"attendance": transactions + ", decide",
		"behaviour":  "init, " + transactions + ", observe",
		"custody":    transactions,
		"energy":     transactions,
		"firmware":   transactions,
		"guardian":   "init, " + transactions,
		"lock":       transactions + ", decide",
		"records":    transactions,
		"sharing":    "init, " + transactions + ", decide",
	}
	for _, c := range contracts.Standard() {
		t.Run(c.Name, func(t *testing.T) {
			info, err := wasm.Check(c.Wasm, abi.ProfileLean)
			if err != nil {
				t.Fatal(err)
			}
			if info.MemoryPages != 1 || len(c.Wasm) > 64<<10 {
				t.Errorf("%d pages of memory, %d bytes", info.MemoryPages, len(c.Wasm))
			}
			var entries []string
			for _, e := range info.Entries {
				entries = append(entries, e.String())
			}
			if got := strings.Join(entries, ", "); got != want[c.Name] {
				t.Errorf("entry points %s, want %s", got, want[c.Name])
			}
			delete(want, c.Name)
			for _, use := range info.Uses {
				t.Logf("%s: %d of %d", use.Name, use.Used, use.Limit)
			}
		})
	}
	for name := range want {
		t.Errorf("%s is no standard contract", name)
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
