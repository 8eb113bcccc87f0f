// Package blocksync brings a node's ledger up to date from other nodes, and
// helps others to do so: it fetches blocks and snapshots, verifies them, and
// hands them over.
//
// Nothing that a peer says is believed. Heights are hints; a block reaches the
// ledger only with a certificate of the validator set that the ledger itself
// names, a snapshot only under the root of a header that the steps from the
// genesis lead to.
//
// The caller's duties, in order:
//
//  1. A node that has only a genesis may call Join before its ledger is opened,
//     and opens the ledger on what the SnapshotSink has made. With ErrNoSnapshot
//     it begins at the genesis.
//  2. Hand requests of peers to Serve, which is the Serve of a peer.Handler.
//  3. Call Sync where consensus asks for it, or run Follow on a node that does
//     not vote. They take turns with one another.
//  4. End the process on an error that wraps ErrLedger or ErrFork.
package blocksync
