// Package behaviour is one gateway's judgement of the devices it serves. What a
// gateway sees of a device (its reports, what a network monitor tells of it, its
// denied requests, its silence) is judged by the contracts that the device's
// owner has bound to it, each with a record that the gateway keeps for it. A
// grave judgement isolates the device at this gateway for ten minutes, and is
// told the ledger, where enough gateways together quarantine it. Attacks on the
// gateway itself are counted and told the ledger too.
//
// The caller's duties, in order: Open before anything is reported; ask Isolated
// before serving a device; Run beside the parts that report until they have
// ended. Report waits for contracts and may be called by any number of
// goroutines; Denied, Attack and Isolated never wait.
//
// DESIGN.md tells what is bounded by what, the files' formats, and what a crash
// loses.
package behaviour
