// Package client talks to the device port of a Postern gateway: it asks for
// decisions, submits transactions and reads the ledger with proofs.
//
// A caller
//
//  1. reads a trust bundle (ParseBundle) and a key (package sdk/key),
//  2. calls Dial, which refuses a gateway that the ledger does not name,
//  3. asks, from as many goroutines as it likes,
//  4. calls Close.
//
// Every error wraps an abi.Code: find it with errors.As or errors.Is. A
// decision that could not be had is a denial.
//
// What can be trusted how far: Decide answers what this one gateway decided,
// and the gateway answers for it. Get, Block, Proposals, Validators and the
// account of the gateway are proved against the chain's validators. Query,
// Search, Scan, Status and Tx are the gateway's word alone; they prove nothing.
//
// The validators change, and the client follows: it begins with those of the
// bundle's genesis, or of its checkpoint, and is led to today's by the steps
// that gateways keep for ever, each certified by the validators before it. A
// gateway that lags, lies or withholds steps is left for the next address. A
// device that writes Bundle to its flash now and then begins there after a
// restart, however long it slept.
//
// LightClient is the same without a connection: for relays, auditors, and
// whoever checks a Proof that Prove wrote long ago. A *ForkError holds evidence
// that validators signed two histories; keep it and show it.
//
// A chain that has no block but its genesis certifies nothing yet. Until its
// first block the client believes a gateway whose key the genesis itself
// grants the gateway role, and Get returns abi.CodeNotReady.
package client
