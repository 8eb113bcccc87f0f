// Package storage keeps a node's ledger: blocks, state, outcomes and plain
// records in one database, behind one atomic and synced commit a block, with
// the state tree in memory and a hot cache in front.
//
// The caller's duties, in order:
//
//   - Open the store; it has been checked when Open returns. If it is Empty,
//     the first Block to commit has height 0.
//   - Take a View for each piece of work and Release it. All reads through a
//     View are of one height, whatever is committed meanwhile.
//   - To add a block: take HeadView, collect the changes, call its Update for
//     the new root, and hand both to Commit.
//   - Watch Failed: once it is closed the store refuses everything, and the
//     process must end; opening the store again recovers it.
//   - Release every View and close every Iterator, then Close.
//
// To give others the state, take checkpoints through Snapshots and read chunks
// of them; to get it, verify chunks, Put them into an Import and Finish that
// before the store is opened. Plain records that come with an import are the
// caller's to check, in Final.Check. Prune only what no kept checkpoint needs
// to go on from.
//
// State keys are any bytes; the meaning of their prefixes is the caller's.
// State stands under the root, plain records do not. DESIGN.md says how the
// bytes lie and what holds after a crash.
package storage
