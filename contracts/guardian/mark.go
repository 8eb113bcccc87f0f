// Package guardian makes what the guardian contract keeps but does not
// understand: marks of hardware, digests of evidence, and sealed texts.
//
// Who reports a sighting asks the contract for the case (listed, case_of) and for
// the owner, takes the readers' public keys from their accounts (sealed.Key), and
// calls evidence with [Digest] and [Seal]. Content and salt stay with the sender,
// who shows them to an authority that asks.
package guardian

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/seed79541315/postern/abi"
)

// Mark is the digest under which hardware is known again: SHA-256 of
// "postern/mark/", the kind and each value, a zero byte behind each. Kinds are
// lower-case words that platforms agree on, such as imei, mac or tpm. It hides a
// value from a glance only: whoever can guess it can check the guess.
func Mark(kind string, values ...string) abi.Hash {
	b := append([]byte("postern/mark/"+kind), 0)
	for _, v := range values {
		b = append(append(b, v...), 0)
	}
	return sha256.Sum256(b)
}

// SerialMark is the mark that the contract makes itself of a device's record.
func SerialMark(manufacturer, serial string) abi.Hash { return Mark("serial", manufacturer, serial) }

// Digest is what evidence leaves on the ledger: SHA-256 of salt, case (8 bytes,
// big-endian) and content. The salt is random and fresh for each: a photograph
// may be guessed by who has it, too.
func Digest(salt [32]byte, number uint64, content []byte) abi.Hash {
	b := binary.BigEndian.AppendUint64(salt[:], number)
	return sha256.Sum256(append(b, content...))
}
