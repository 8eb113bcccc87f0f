// Package consensus agrees on blocks with the other validators. It holds
// SmartBFT behind a small interface: nobody else imports it, and no type of it
// leaves this package. A chain of one validator runs the same code.
//
// The caller's duties, in order:
//
//  1. Open the ledger; it is the App. Its Commit must have made the block
//     durable before it returns.
//  2. Call New, then Run in a goroutine of its own. Run syncs through the
//     Syncer, reads the write-ahead log, starts the engine, and returns after
//     everything it started has ended.
//  3. Only then open inbound streams. Give each peer's consensus messages to
//     Handle from one goroutine a peer, in the order sent, under the id of the
//     validator whose key the transport authenticated (prepares carry no
//     signature); give transactions that validators pass on to
//     HandleTransaction from another.
//  4. When Run returns an error the node is broken: end the process. Start-up
//     is recovery.
//
// See DESIGN.md for the invariants, the crash points, and what was found about
// SmartBFT v1.0.1.
package consensus
