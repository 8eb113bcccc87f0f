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
