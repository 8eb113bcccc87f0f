// Package ledger is the state machine: it checks transactions, proposes and
// verifies blocks, commits them, and answers for what is committed: decisions,
// queries, proofs.
//
// A caller's duties, in order:
//
//  1. Init once, to commit the genesis block to an empty store; then Open.
//  2. OnCommit for whoever must hear of blocks, then Run beside everything
//     else: it compiles codes before blocks and decisions need them.
//  3. Check what anyone submits before it goes to consensus, and CheckRelayed
//     what another node has let in.
//  4. Propose as the leader, Verify before a vote, Commit what is certified.
//     All three may follow one another for the same block; it is executed
//     once. An error of Commit at the next height ends the node.
//  5. Stop calling, end Run, then close the store.
//
// Execution is deterministic: it knows no clock, no randomness, no map order
// and no goroutine, and every failure that depends on state or time is an
// outcome whose changes are rolled back. What is this host's own failure, the
// disk's or the compiler's, is an error and stops the block: it never becomes
// an outcome. DESIGN.md has the rules.
package ledger
