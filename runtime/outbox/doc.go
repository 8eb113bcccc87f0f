// Package outbox makes the transactions of this node's own account and sees
// them into blocks: what a decision wants done, for one. They stand in one
// lane, are signed when they are put in, and lie in a file that is synced
// before Put returns. From then on each is committed sooner or later, once and
// in order, whatever crashes in between.
//
// The caller's duties, in order: Open before anything decides, Run beside the
// consensus engine until the node ends, then Close. An error of Run is fatal:
// the file may not hold what it should, and only Open finds out.
//
// DESIGN.md tells the file's format, what holds at every crash point, and what
// the promise does not cover.
package outbox
