package contract

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/sdk/contract/internal/host"
)

// Emit adds an event to the transaction's outcome: a topic of at most
// abi.MaxTopic bytes and data of at most abi.MaxEvent. A transaction has at
// most abi.MaxEvents; more end the call with abi.CodeTooManyEvents.
func Emit(topic string, data []byte) { host.Emit(topic, data) }

// Call runs another contract's execute, with this contract as the one that
// asks, and returns its result. Where it fails, what it changed is undone and
// the error is an abi.Code: abi.CodeAborted where it refused.
func Call(contract string, message []byte) ([]byte, error) {
	out, code := host.Call(contract, message)
	return out, codeError(code)
}

// Query runs another contract's query; errors are as Call's.
func Query(contract string, message []byte) ([]byte, error) {
	out, code := host.Query(contract, message)
	return out, codeError(code)
}

func codeError(c abi.Code) error {
	if c == abi.OK {
		return nil
	}
	return c
}

// Schedule runs this contract's timer entry with the message, of at most
// abi.MaxValue bytes, in the first block whose time is at or past due (ms
// since 1970); that is the next one where due is over. It returns the timer's
// number. Who pays for this call pays for the timer.
func Schedule(due int64, message []byte) (number uint64) { return host.Schedule(due, message) }

// Now is the gateway's clock in ms since 1970; false when it is not to be
// trusted, and then a policy denies what depends on it. It is there in decide
// and observe only: elsewhere time is Context.Time.
func Now() (ms int64, trusted bool) {
	ms = host.Now()
	return ms, ms >= 0
}

// LocalGet reads the record that this gateway keeps of the reporting device,
// outside of the ledger and for this contract alone; false when there is none.
// It belongs to observe, as LocalSet. The record may be gone, or that of
// another day: a gateway keeps it as long as it has room.
func LocalGet() (record []byte, ok bool) { return host.LocalGet() }

// LocalSet writes that record: at most abi.MaxLocal bytes.
func LocalSet(record []byte) { host.LocalSet(record) }

// SHA256 is the digest of data.
func SHA256(data []byte) Hash { return host.SHA256(data) }

// Verify says whether a signature is good: ed25519 for a key of 32 bytes,
// ECDSA over P-256 with SHA-256 for a compressed key of 33 bytes and a
// signature r|s of 64.
func Verify(key, message, signature []byte) bool { return host.Verify(key, message, signature) }

// Log writes a line to the node's debug log, at most 4 KiB of it. It has no
// effect on the ledger.
func Log(text string) { host.Log(text) }
