package chain_test

import (
	"crypto/ed25519"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// key signs with an ed25519 key in memory.
type key struct{ private ed25519.PrivateKey }

func (k key) Public() []byte { return k.private.Public().(ed25519.PublicKey) }

func (k key) Sign(message []byte) ([]byte, error) { return ed25519.Sign(k.private, message), nil }

// A device that may be offline uses a lane: its transactions never expire and
// are executed once, in order.
func ExampleSignTx() {
	device := key{ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
	call := chain.Call{Contract: "meter", Message: []byte{0xa0}}
	raw, err := chain.SignTx(&chain.Body{
		Chain: abi.Hash{1}, Lane: 0, Sequence: 1, Gas: 1_000_000, Op: chain.OpCall, Args: call.Append(nil),
	}, device)
	if err != nil {
		fmt.Println(err)
		return
	}
	tx, err := chain.ParseTx(raw) // checks the form, not the signature
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tx.Op, tx.Sequence, tx.Envelope().Verify())
	// Output: call 1 <nil>
}

// A device that is enrolled by its owner signs that it belongs to it.
func ExampleOpenStatement() {
	device := key{ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
	id := abi.Hash{1}
	claim := chain.Enrolment{Owner: abi.Hash{2}, Manufacturer: "Acme", Model: "L100", Serial: "0001"}
	raw, err := chain.SignStatement(&chain.Statement{Chain: id, Kind: chain.StatementEnrol, Expiry: 1000, Body: claim.Append(nil)}, device)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = chain.OpenStatement(raw, id, chain.StatementEnrol, 1001)
	fmt.Println(err)
	_, err = chain.OpenStatement(raw, id, chain.StatementRotate, 1000)
	fmt.Println(err)
	s, err := chain.OpenStatement(raw, id, chain.StatementEnrol, 1000)
	if err != nil {
		fmt.Println(err)
		return
	}
	got, err := chain.ParseEnrolment(s.Body)
	fmt.Println(got.Manufacturer, got.Serial, err)
	// Output:
	// expired (50): the transaction's time is over; sign it anew
	// bad-argument (8): a field is missing or out of its range
	// Acme 0001 <nil>
}
