// Package wasm is the contract host: it checks, meters, compiles, pools and
// runs contracts, and gives them the host functions of package abi.
//
// A caller's duties, in order:
//
//  1. New, once a process; Close when no call is running any more.
//  2. Check (or Admit, within block execution) before a code is stored. Both
//     are functions of the bytes, the profile and the protocol version alone.
//  3. Compile ahead of the first call, outside block execution.
//  4. Call, from any number of goroutines, with an Env of its own for each.
//     A *Trap is what the contract did wrong, and equal on every node; any
//     other error is a fault of this host and must never become an outcome.
//  5. Execute a block between BeginBlock and EndBlock, its calls with
//     Call.Block set: they wait neither for others' calls nor for what is
//     compiled in the background, and what the block ran stays loaded.
//
// DESIGN.md tells how it works and what it relies on.
package wasm
