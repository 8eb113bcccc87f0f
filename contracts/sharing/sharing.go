// Package sharing is what the owner of a data set and its grantees do outside of
// the ledger: data keys and their wrapping, encryption of files, statements of
// destruction. The contract that it serves lies beside it; README.md tells what
// that holds.
//
// The owner's duties, in order: make a [Key] for each epoch and keep it in a
// [Ring]; encrypt what is shared with [Key.Seal]; wrap the key to each grantee
// with [Key.Wrap] and hand the result to the contract; after a withdrawal make
// the key of the next epoch, encrypt and wrap anew; to erase, delete the keys
// ([Ring.Destroy]), and only then sign the [Statement].
//
// A grantee unwraps with [Unwrap] and reads with [Key.Open].
package sharing

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Set names a data set: a contract's, of a chain.
type Set struct {
	Chain    abi.Hash
	Contract string
	Name     string
}

// bind is the text that binds a purpose to a data set and an epoch: the canonical
// CBOR [purpose, chain, contract, data set, epoch].
func (s *Set) bind(purpose string, epoch uint32) []byte {
	b := cbor.AppendText(cbor.AppendArray(nil, 5), purpose)
	b = cbor.AppendBytes(b, s.Chain[:])
	b = cbor.AppendText(cbor.AppendText(b, s.Contract), s.Name)
	return cbor.AppendUint(b, uint64(epoch))
}
