//go:build !wasm

package host

import (
	"sync"

	"github.com/seed79541315/postern/abi"
)

// Host is what native code runs on. Its methods panic where the node's host
// ends a call.
type Host interface {
	Get(key []byte) ([]byte, bool)
	Set(key, value []byte)
	Delete(key []byte)
	Scan(prefix, start []byte) int32
	Next(scan int32) (key, value []byte, ok bool)
	LocalGet() ([]byte, bool)
	LocalSet(value []byte)
	Emit(topic string, data []byte)
	Call(name string, msg []byte) ([]byte, abi.Code)
	Query(name string, msg []byte) ([]byte, abi.Code)
	Device(id *abi.Hash) ([]byte, bool)
	SetDeviceStatus(id *abi.Hash, status abi.Status, reason string) abi.Code
	Schedule(due int64, msg []byte) uint64
	Now() int64
	SHA256(data []byte) abi.Hash
	Verify(key, msg, sig []byte) bool
	Log(text string)
	Abort(code uint16, text string)
}

var (
	mu      sync.Mutex // held while a call at the top level runs
	current Host       // guarded by mu
)

// Run runs f on h, one call of the process at a time. Within f, Nested puts
// another host in place.
func Run(h Host, f func()) {
	mu.Lock()
	defer mu.Unlock()
	Nested(h, f)
}

// Nested runs f on h while f's caller is within Run.
func Nested(h Host, f func()) {
	outer := current
	current = h
	defer func() { current = outer }()
	f()
}

func in() Host {
	if current == nil {
		panic("contract: called outside a contract's entry point; see package fake")
	}
	return current
}

// Input has no meaning natively: tests call handlers through package fake.
func Input(_, _ uint32) []byte { panic("contract: an exported entry point works in Wasm only") }

// Output is as Input.
func Output([]byte) uint64 { panic("contract: an exported entry point works in Wasm only") }

// Get reads a value of the state.
func Get(key []byte) ([]byte, bool) { return in().Get(key) }

// Has says whether the state has a value.
func Has(key []byte) bool {
	_, ok := in().Get(key)
	return ok
}

// Set writes a value of the state.
func Set(key, value []byte) { in().Set(key, value) }

// Delete removes a value of the state.
func Delete(key []byte) { in().Delete(key) }

// Scan begins a scan of the keys with a prefix that are not below start.
func Scan(prefix, start []byte) int32 { return in().Scan(prefix, start) }

// Next is the next entry of a scan.
func Next(scan int32) (key, value []byte, ok bool) { return in().Next(scan) }

// LocalGet reads the gateway-local record.
func LocalGet() ([]byte, bool) { return in().LocalGet() }

// LocalSet writes the gateway-local record.
func LocalSet(value []byte) { in().LocalSet(value) }

// Emit emits an event.
func Emit(topic string, data []byte) { in().Emit(topic, data) }

// Call runs another contract's execute.
func Call(name string, msg []byte) ([]byte, abi.Code) { return in().Call(name, msg) }

// Query runs another contract's query.
func Query(name string, msg []byte) ([]byte, abi.Code) { return in().Query(name, msg) }

// Device reads the record of a device.
func Device(id *abi.Hash) ([]byte, bool) { return in().Device(id) }

// SetDeviceStatus sets the status of a device.
func SetDeviceStatus(id *abi.Hash, status abi.Status, reason string) abi.Code {
	return in().SetDeviceStatus(id, status, reason)
}

// Schedule starts a timer and returns its number.
func Schedule(due int64, msg []byte) uint64 { return in().Schedule(due, msg) }

// Now is the gateway's clock in ms, or -1.
func Now() int64 { return in().Now() }

// SHA256 hashes data.
func SHA256(data []byte) abi.Hash { return in().SHA256(data) }

// Verify checks a signature.
func Verify(key, msg, sig []byte) bool { return in().Verify(key, msg, sig) }

// Log writes to the node's debug log.
func Log(text string) { in().Log(text) }

// Abort ends the call.
func Abort(code uint16, text string) {
	in().Abort(code, text)
	panic("BUG: the host let an aborted call go on")
}
