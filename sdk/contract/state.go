package contract

import (
	"iter"

	"github.com/seed79541315/postern/sdk/contract/internal/host"
)

// Get reads a value of the contract's state; false when there is none. It
// lives as long as the call. A key has 1 to abi.MaxKey bytes: another ends
// the call with abi.CodeKeyTooLong.
func Get(key []byte) (value []byte, ok bool) { return host.Get(key) }

// Has says whether there is a value, at the price of reading it.
func Has(key []byte) bool { return host.Has(key) }

// Set writes a value of at most abi.MaxValue bytes. As Delete it is there in
// init, migrate, execute and timer only; elsewhere the call ends with
// abi.CodeNotAllowedHere.
func Set(key, value []byte) { host.Set(key, value) }

// Delete removes a value; a missing one is fine.
func Delete(key []byte) { host.Delete(key) }

// Scan walks over the keys with a prefix that are not below start, in
// ascending bytewise order, as the state is when the loop begins. Keys and
// values live as long as the call. Loops may be left early, which is how they
// are limited; a call begins at most eight.
func Scan(prefix, start []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		scan := host.Scan(prefix, start)
		for {
			key, value, ok := host.Next(scan)
			if !ok || !yield(key, value) {
				return
			}
		}
	}
}
