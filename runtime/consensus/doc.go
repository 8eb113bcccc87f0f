// Package consensus agrees on blocks with the other validators. It holds
// SmartBFT behind a small interface: nobody else imports it, and no type of it
// leaves this package. A chain of one validator runs the same code.
//
// The caller's duties, in order:
//
//  1. Open the ledger; it is the App. Its Commit must have made the block
//     durable before it returns. The directory Config.WAL must be the one
//     that this key has always voted with: it begins while the ledger is at
//     height 0, or with Begin. CheckLedger tells a stopped node's tools
//     whether the two fit; AdoptLedger is the operator's last resort.
//  2. Call New, then Run in a goroutine of its own. Run reads the write-ahead
//     log, syncs through the Syncer, starts the engine, and returns after
//     everything it started has ended.
//  3. Only then open inbound streams. Give each peer's consensus messages to
//     Handle from one goroutine a peer, in the order sent, under the id of the
//     validator whose key the transport authenticated (prepares carry no
//     signature); give transactions that validators pass on to
//     HandleTransaction from another.
//  4. Tell Behind what the validators' signed heads say of the chain's height.
//  5. When Run returns ErrNotValidator the node has no vote any more: let it
//     follow, and begin again with New over the same directory when it is
//     voted in. On any other error it is broken: end the process. Start-up is
//     recovery.
//
// See DESIGN.md for the invariants, the crash points, and what was found about
// SmartBFT v1.0.1.
package consensus
