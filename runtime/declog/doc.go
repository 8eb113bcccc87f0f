// Package declog is a gateway's decision log: every decision is recorded in
// append-only files under a Merkle tree, whose signed heads are anchored on the
// ledger. What is in it can be proved to anybody, and what was in it can no more
// be changed unnoticed.
//
// The caller's duties, in order: Open before anything decides; Append each
// decision before it is answered, and deny where that fails; Run beside the
// engine until the node ends, telling Committed of each block; then Close. An
// error of Run is fatal: the disk failed, and only Open finds out what is there.
//
// Append does not wait for the disk. What it took is synced within 50 ms, and a
// crash in between leaves a gap, which is a record as well. OpenReader reads the
// files of any log, also of one that is being written.
//
// DESIGN.md tells the format, the invariants and what holds at every crash
// point.
package declog
