// Package chain is everything that is hashed or signed: transactions and the
// operations in them, signed statements, headers, blocks, certificates and
// outcomes, the records of the ledger's state and their keys; and the one
// signature verifier, used by nodes, clients and guests alike.
//
// Every message is CBOR in core deterministic encoding; a pair AppendX/ParseX
// stands beside the comment that shows its layout. Parsers are strict and
// never verify signatures unless their comment says so.
//
// Records of the state are maps with integer keys that can grow: a parser
// skips keys that it does not know. Messages refuse unknown keys, and have one
// encoding only: an optional field that is zero or empty is left out, and
// refused where it is there. Every error of a parser is, or wraps, an abi.Code.
package chain

import "github.com/seed79541315/postern/abi/cbor"

// fields collects a map's pairs, keys ascending; absent ones are not added.
type fields struct {
	b []byte
	n int
}

func (f *fields) key(k uint64) []byte {
	f.n++
	return cbor.AppendUint(f.b, k)
}

func (f *fields) uint(k, v uint64)         { f.b = cbor.AppendUint(f.key(k), v) }
func (f *fields) int(k uint64, v int64)    { f.b = cbor.AppendInt(f.key(k), v) }
func (f *fields) text(k uint64, v string)  { f.b = cbor.AppendText(f.key(k), v) }
func (f *fields) bytes(k uint64, v []byte) { f.b = cbor.AppendBytes(f.key(k), v) }
func (f *fields) raw(k uint64, v []byte)   { f.b = append(f.key(k), v...) }

// The opt forms leave out a zero value.
func (f *fields) optUint(k, v uint64) {
	if v != 0 {
		f.uint(k, v)
	}
}

func (f *fields) optText(k uint64, v string) {
	if v != "" {
		f.text(k, v)
	}
}

func (f *fields) optBytes(k uint64, v []byte) {
	if len(v) > 0 {
		f.bytes(k, v)
	}
}

func (f *fields) appendTo(b []byte) []byte { return append(cbor.AppendMap(b, f.n), f.b...) }
