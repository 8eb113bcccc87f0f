package main

import (
	"bytes"
	"testing"

	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/sdk/contract/fake"
)

func TestCounter(t *testing.T) {
	chain := fake.New()
	alice, bob := chain.Account("alice", 0), chain.Account("bob", 0)
	counter, err := chain.Deploy("counter", alice, fake.Code{Execute: onExecute, Query: onQuery}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, caller := range []struct {
		id   [32]byte
		want uint64
	}{{alice, 1}, {alice, 2}, {bob, 1}} {
		out, err := counter.Execute(caller.id, nil)
		if err != nil || !bytes.Equal(out, cbor.AppendUint(nil, caller.want)) {
			t.Errorf("%x, %v, want %d", out, err, caller.want)
		}
	}
	if sum, err := counter.Query(nil); err != nil || !bytes.Equal(sum, cbor.AppendUint(nil, 3)) {
		t.Errorf("the sum is %x, %v", sum, err)
	}
}
