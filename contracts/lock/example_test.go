package lock_test

import (
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/sealed"
	"github.com/seed79541315/postern/contracts/lock"
	"github.com/seed79541315/postern/sdk/key"
)

// A lock seals what it must not say aloud for the keys of its recipients'
// accounts; each of them opens it with its key file.
func ExampleSealNote() {
	aide, err := key.Generate()
	if err != nil {
		panic(err)
	}
	chain, door := abi.Hash{1}, abi.Hash{2}
	to, err := sealed.Montgomery(aide.Public())
	if err != nil {
		panic(err)
	}
	note, err := lock.SealNote(lock.Note{Duress: true, Time: 1_767_600_000_000}, chain, door, to)
	if err != nil {
		panic(err)
	}
	fmt.Println(len(note), "bytes stand on the ledger")

	private, err := aide.Agreement()
	if err != nil {
		panic(err)
	}
	n, err := lock.OpenNote(private, chain, door, note, 0)
	fmt.Println(n.Duress, err)
	// Output:
	// 64 bytes stand on the ledger
	// true <nil>
}
