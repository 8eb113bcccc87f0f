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

// The access contract runs on the smallest gateway: it passes the lean profile
// and starts in one page of memory.
func TestAccessIsLean(t *testing.T) {
	info, err := wasm.Check(contracts.Access, abi.ProfileLean)
	if err != nil {
		t.Fatal(err)
	}
	if info.MemoryPages != 1 {
		t.Errorf("%d pages of memory", info.MemoryPages)
	}
	for _, e := range []abi.Entry{abi.EntryInit, abi.EntryExecute, abi.EntryTimer, abi.EntryQuery, abi.EntryDecide} {
		found := false
		for _, have := range info.Entries {
			found = found || have == e
		}
		if !found {
			t.Errorf("no entry point %v", e)
		}
	}
	for _, use := range info.Uses {
		t.Logf("%s: %d of %d", use.Name, use.Used, use.Limit)
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
