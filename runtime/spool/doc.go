// Package spool keeps, at a gateway that is cut off from the validators, the
// transactions that devices hand in meanwhile, and sees them into blocks when the
// network is whole again: those of a lane in order, each once, whatever crashes.
//
// Only transactions of lanes are kept: those of a window would expire. Each is a
// file of its own, synced before Put returns, whose content proves itself by its
// sender's signature.
//
// The caller's duties, in order: Open, Run beside the consensus engine until the
// node ends. While a lane has something here (Holds), what comes next in it goes
// through Put as well, or it would overtake. An error of Put refuses one
// transaction and harms no other.
//
// DESIGN.md tells what holds at every crash point, and what the promise does not
// cover.
package spool
