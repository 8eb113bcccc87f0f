// Package proof holds the tree hashes of the ledger and proofs that a light
// client verifies with nothing but a root it trusts: that a key is or is not
// in the state (State), and that a transaction or outcome stands in a block
// (Root, Proof, VerifyInclusion).
//
// It only verifies and hashes; storage/tree holds the tree itself. Every hash
// is SHA-256. Leaves and inner nodes are hashed under different first bytes,
// so neither can pass for the other.
package proof
