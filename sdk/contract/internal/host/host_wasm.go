package host

import (
	"unsafe"

	"github.com/seed79541315/postern/abi"
)

// The host module's functions. Pointers are into this module's memory; the
// host reads and writes before it returns, and keeps none of them.

//go:wasmimport postern state_get
//go:noescape
func stateGet(key unsafe.Pointer, keyLen uint32, buf unsafe.Pointer, bufCap uint32) int32

//go:wasmimport postern state_set
//go:noescape
func stateSet(key unsafe.Pointer, keyLen uint32, val unsafe.Pointer, valLen uint32)

//go:wasmimport postern state_delete
//go:noescape
func stateDelete(key unsafe.Pointer, keyLen uint32)

//go:wasmimport postern state_scan
//go:noescape
func stateScan(prefix unsafe.Pointer, prefixLen uint32, start unsafe.Pointer, startLen uint32) int32

//go:wasmimport postern scan_next
//go:noescape
func scanNext(scan int32, buf unsafe.Pointer, bufCap uint32) int32

//go:wasmimport postern local_get
//go:noescape
func localGet(buf unsafe.Pointer, bufCap uint32) int32

//go:wasmimport postern local_set
//go:noescape
func localSet(val unsafe.Pointer, valLen uint32)

//go:wasmimport postern emit
//go:noescape
func emit(topic unsafe.Pointer, topicLen uint32, data unsafe.Pointer, dataLen uint32)

//go:wasmimport postern call
//go:noescape
func call(name unsafe.Pointer, nameLen uint32, msg unsafe.Pointer, msgLen uint32, buf unsafe.Pointer, bufCap uint32) int64

//go:wasmimport postern query
//go:noescape
func query(name unsafe.Pointer, nameLen uint32, msg unsafe.Pointer, msgLen uint32, buf unsafe.Pointer, bufCap uint32) int64

//go:wasmimport postern device_get
//go:noescape
func deviceGet(id unsafe.Pointer, buf unsafe.Pointer, bufCap uint32) int32

//go:wasmimport postern device_set_status
//go:noescape
func deviceSetStatus(id unsafe.Pointer, status uint32, reason unsafe.Pointer, reasonLen uint32) int32

//go:wasmimport postern schedule
//go:noescape
func schedule(due int64, msg unsafe.Pointer, msgLen uint32) int64

//go:wasmimport postern now
func now() int64

//go:wasmimport postern sha256
//go:noescape
func sha256(data unsafe.Pointer, dataLen uint32, out unsafe.Pointer)

//go:wasmimport postern verify
//go:noescape
func verify(key unsafe.Pointer, keyLen uint32, msg unsafe.Pointer, msgLen uint32, sig unsafe.Pointer, sigLen uint32) int32

//go:wasmimport postern log
//go:noescape
func log(text unsafe.Pointer, textLen uint32)

//go:wasmimport postern abort
//go:noescape
func abort(code uint32, text unsafe.Pointer, textLen uint32)

func at(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

func size(b []byte) uint32 { return uint32(len(b)) }

func textAt(s string) unsafe.Pointer { return unsafe.Pointer(unsafe.StringData(s)) }

func textSize(s string) uint32 { return uint32(len(s)) }

// chunk is how much memory is taken at a time for what the host hands over.
const chunk = 64 << 10

// maxInput bounds an input in bytes: the largest message, a transaction, with
// the environment around it. The host never asks for as much.
const maxInput = 2 * abi.MaxTransaction

var (
	first [chunk]byte // the room of most calls
	// free is the unused rest of a chunk. The host writes straight into it:
	// nothing is copied, and a call that reads little allocates nothing.
	free = first[:]
	// input is where the host puts the input.
	input []byte
)

// grow makes at least n bytes of room.
func grow(n int) { free = make([]byte, max(n, chunk)) }

// take is the next n bytes of the room.
func take(n int) []byte {
	b := free[:n:n]
	free = free[n:]
	return b
}

// alloc is where the host writes the n bytes of an input.
//
//go:wasmexport alloc
func alloc(n uint32) uint32 {
	if n > maxInput {
		panic("alloc: no input is that long")
	}
	if int(n) > len(free) {
		grow(int(n))
	}
	input = take(int(n))
	return uint32(uintptr(at(input)))
}

// Input is the input of an entry point that was called with ptr and n: what
// alloc made room for, and nothing else.
func Input(ptr, n uint32) []byte {
	if n > size(input) || ptr != uint32(uintptr(at(input))) {
		panic("the input does not lie where alloc said")
	}
	return input[:n]
}

// Output packs what an entry point returns.
func Output(b []byte) uint64 { return uint64(uintptr(at(b)))<<32 | uint64(len(b)) }

// Get reads a value of the state.
func Get(key []byte) ([]byte, bool) {
	n := stateGet(at(key), size(key), at(free), size(free))
	if int(n) > len(free) {
		grow(int(n))
		n = stateGet(at(key), size(key), at(free), size(free))
	}
	return found(n)
}

// found is what the host put into the room: n bytes, or nothing if n < 0.
func found(n int32) ([]byte, bool) {
	if n < 0 {
		return nil, false
	}
	return take(int(n)), true
}

// Has says whether the state has a value.
func Has(key []byte) bool { return stateGet(at(key), size(key), nil, 0) >= 0 }

// Set writes a value of the state.
func Set(key, value []byte) { stateSet(at(key), size(key), at(value), size(value)) }

// Delete removes a value of the state.
func Delete(key []byte) { stateDelete(at(key), size(key)) }

// Scan begins a scan of the keys with a prefix that are not below start.
func Scan(prefix, start []byte) int32 {
	return stateScan(at(prefix), size(prefix), at(start), size(start))
}

// Next is the next entry of a scan.
func Next(scan int32) (key, value []byte, ok bool) {
	n := scanNext(scan, at(free), size(free))
	if int(n) > len(free) {
		grow(int(n))
		n = scanNext(scan, at(free), size(free))
	}
	b, ok := found(n)
	if !ok {
		return nil, nil, false
	}
	end := 4 + (uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
	return b[4:end:end], b[end:], true
}

// LocalGet reads the gateway-local record.
func LocalGet() ([]byte, bool) {
	if len(free) < abi.MaxLocal {
		grow(abi.MaxLocal)
	}
	return found(localGet(at(free), size(free)))
}

// LocalSet writes the gateway-local record.
func LocalSet(value []byte) { localSet(at(value), size(value)) }

// Emit emits an event.
func Emit(topic string, data []byte) { emit(textAt(topic), textSize(topic), at(data), size(data)) }

// Call runs another contract's execute.
func Call(name string, msg []byte) ([]byte, abi.Code) {
	roomForResult()
	return result(call(textAt(name), textSize(name), at(msg), size(msg), at(free), size(free)))
}

// Query runs another contract's query.
func Query(name string, msg []byte) ([]byte, abi.Code) {
	roomForResult()
	return result(query(textAt(name), textSize(name), at(msg), size(msg), at(free), size(free)))
}

func roomForResult() {
	if len(free) < abi.MaxResult {
		grow(abi.MaxResult)
	}
}

func result(n int64) ([]byte, abi.Code) {
	if n < 0 {
		return nil, abi.Code(-n)
	}
	return take(int(n)), abi.OK
}

// Device reads the record of a device.
func Device(id *abi.Hash) ([]byte, bool) {
	n := deviceGet(unsafe.Pointer(id), at(free), size(free))
	if int(n) > len(free) {
		grow(int(n))
		n = deviceGet(unsafe.Pointer(id), at(free), size(free))
	}
	return found(n)
}

// SetDeviceStatus sets the status of a device.
func SetDeviceStatus(id *abi.Hash, status abi.Status, reason string) abi.Code {
	return abi.Code(-deviceSetStatus(unsafe.Pointer(id), uint32(status), textAt(reason), textSize(reason)))
}

// Schedule starts a timer and returns its number.
func Schedule(due int64, msg []byte) uint64 { return uint64(schedule(due, at(msg), size(msg))) }

// Now is the gateway's clock in ms, or -1.
func Now() int64 { return now() }

// SHA256 hashes data.
func SHA256(data []byte) (h abi.Hash) {
	sha256(at(data), size(data), unsafe.Pointer(&h))
	return h
}

// Verify checks a signature.
func Verify(key, msg, sig []byte) bool {
	return verify(at(key), size(key), at(msg), size(msg), at(sig), size(sig)) == 1
}

// Log writes to the node's debug log.
func Log(text string) { log(textAt(text), textSize(text)) }

// Abort ends the call.
func Abort(code uint16, text string) {
	abort(uint32(code), textAt(text), textSize(text))
	panic("BUG: the host let an aborted call go on")
}
