package abi

import "github.com/seed79541315/postern/abi/cbor"

// HostModule is the name of the module whose functions a guest imports.
//
// Under ProfileWide a guest may also import the functions of
// wasi_snapshot_preview1 that Go's runtime and standard library do. They answer
// alike everywhere: no files, no arguments, zeros for random bytes, clocks that
// only the guest's own sleep moves; what it prints goes to the node's debug
// log. An exported _initialize, () -> (), runs once there, and every call
// begins with the memory and globals that it left.
const HostModule = "postern"

// Entry is an entry point of a guest: an export (ptr i32, len i32) -> i64.
// The argument is an Input in the guest's memory (allocated by its own
// alloc); the result packs pointer<<32 | length of the output.
type Entry uint8

// The entry points.
const (
	EntryInit Entry = iota
	EntryMigrate
	EntryExecute
	EntryTimer
	EntryQuery
	EntrySearch
	EntryDecide
	EntryObserve
	EntryCount
)

var entryNames = [EntryCount]string{"init", "migrate", "execute", "timer", "query", "search", "decide", "observe"}

func (e Entry) String() string { return entryNames[e] }

// ReadOnly says whether the entry point may change nothing on the ledger.
func (e Entry) ReadOnly() bool { return e >= EntryQuery }

// HostFunc is a function of the host module; the table of their types is
// HostFuncs. Parameters are i32 unless said otherwise; "ptr,len" pairs point
// into the guest's memory. Out-of-range pointers trap with CodeBadPointer.
//
//	state_get(key_ptr,key_len, buf_ptr,buf_cap) i32
//	    Length of the value, or -1 when there is none. The value is copied
//	    only if it fits buf_cap; otherwise nothing is copied.
//	state_set(key_ptr,key_len, val_ptr,val_len)
//	state_delete(key_ptr,key_len)
//	state_scan(prefix_ptr,prefix_len, start_ptr,start_len) i32
//	    A handle of an ordered scan over the keys with the prefix that are
//	    not below start, as the state is now. At most 8 in one call.
//	scan_next(handle, buf_ptr,buf_cap) i32
//	    Copies u32le key length | key | value and returns its length, or -1
//	    at the end. If it does not fit, nothing is copied, the length is
//	    returned and the next call gives the same entry.
//	local_get(buf_ptr,buf_cap) i32, local_set(ptr,len): observe only.
//	emit(topic_ptr,topic_len, data_ptr,data_len)
//	call(name_ptr,name_len, msg_ptr,msg_len, buf_ptr,buf_cap) i64
//	    Runs another contract's execute with this contract as its caller.
//	    Length of the result, or minus the code if it failed (its changes
//	    are undone). A longer result than buf_cap is -CodeResultTooLong.
//	query(…as call…) i64: another contract's query; changes nothing.
//	device_get(id_ptr, buf_ptr,buf_cap) i32
//	    The record of a device (32-byte account id) as CBOR (chain.Device),
//	    like state_get.
//	device_set_status(id_ptr, status, reason_ptr,reason_len) i32
//	    0, or minus the code. execute and timer only.
//	schedule(due_ms i64, msg_ptr,msg_len) i64
//	    Runs this contract's timer entry with the message at the first block
//	    whose time is at or past due, the next one if that is over already.
//	    Returns the timer's number.
//	now() i64
//	    The gateway's clock in ms since 1970, or -1 when it is not trusted.
//	    decide and observe only.
//	sha256(ptr,len, out_ptr): writes 32 bytes.
//	verify(key_ptr,key_len, msg_ptr,msg_len, sig_ptr,sig_len) i32
//	    1 if the signature is good: ed25519 for a 32-byte key, ECDSA P-256
//	    with SHA-256 for a 33-byte compressed key and a 64-byte r|s.
//	log(ptr,len): to the node's debug log; no effect.
//	abort(code, ptr,len): ends the call with CodeAborted, the contract's own
//	    code (0..65535) and a text for logs. Does not return.
type HostFunc uint8

// The host functions, in the order of HostFuncs.
const (
	HostStateGet HostFunc = iota
	HostStateSet
	HostStateDelete
	HostStateScan
	HostScanNext
	HostLocalGet
	HostLocalSet
	HostEmit
	HostCall
	HostQuery
	HostDeviceGet
	HostDeviceSetStatus
	HostSchedule
	HostNow
	HostSHA256
	HostVerify
	HostLog
	HostAbort
	HostFuncCount
)

// HostType is the type of a host function: one letter a parameter or result,
// 'i' for i32 and 'l' for i64.
type HostType struct{ Name, Params, Results string }

// HostFuncs is the type of every host function.
var HostFuncs = [HostFuncCount]HostType{
	HostStateGet:        {"state_get", "iiii", "i"},
	HostStateSet:        {"state_set", "iiii", ""},
	HostStateDelete:     {"state_delete", "ii", ""},
	HostStateScan:       {"state_scan", "iiii", "i"},
	HostScanNext:        {"scan_next", "iii", "i"},
	HostLocalGet:        {"local_get", "ii", "i"},
	HostLocalSet:        {"local_set", "ii", ""},
	HostEmit:            {"emit", "iiii", ""},
	HostCall:            {"call", "iiiiii", "l"},
	HostQuery:           {"query", "iiiiii", "l"},
	HostDeviceGet:       {"device_get", "iii", "i"},
	HostDeviceSetStatus: {"device_set_status", "iiii", "i"},
	HostSchedule:        {"schedule", "lii", "l"},
	HostNow:             {"now", "", "l"},
	HostSHA256:          {"sha256", "iii", ""},
	HostVerify:          {"verify", "iiiiii", "i"},
	HostLog:             {"log", "ii", ""},
	HostAbort:           {"abort", "iii", ""},
}

const (
	transactionEntries = 1<<EntryInit | 1<<EntryMigrate | 1<<EntryExecute | 1<<EntryTimer
	everyEntry         = 1<<EntryCount - 1
)

// hostEntries is, for each host function, the set of entry points that have it.
var hostEntries = [HostFuncCount]uint16{
	HostStateGet:        everyEntry,
	HostStateSet:        transactionEntries,
	HostStateDelete:     transactionEntries,
	HostStateScan:       everyEntry,
	HostScanNext:        everyEntry,
	HostLocalGet:        1 << EntryObserve,
	HostLocalSet:        1 << EntryObserve,
	HostEmit:            transactionEntries,
	HostCall:            transactionEntries,
	HostQuery:           everyEntry,
	HostDeviceGet:       everyEntry,
	HostDeviceSetStatus: 1<<EntryExecute | 1<<EntryTimer,
	HostSchedule:        transactionEntries,
	HostNow:             1<<EntryDecide | 1<<EntryObserve,
	HostSHA256:          everyEntry,
	HostVerify:          everyEntry,
	HostLog:             everyEntry,
	HostAbort:           everyEntry,
}

// AllowedIn says whether entry point e has the host function.
func (f HostFunc) AllowedIn(e Entry) bool { return hostEntries[f]&(1<<e) != 0 }

// Input is what an entry point gets: array(2) [env, message], the message a
// byte string whose form is the contract's own (a DecisionRequest for decide).
// Env is a map:
//
//	1 chain id (bytes 32)       6 caller's roles (uint)
//	2 height (uint)             7 caller's device record (map, chain.Device)
//	3 block time, ms (uint)     8 transaction id (bytes 32)
//	4 contract (text)           9 contract's owner (bytes 32)
//	5 caller (bytes 32)        10 policy domain (text)
//	11 calling contract (text), in place of 6 and 7 for a nested call's callee:
//	   5 still names the account that signed the transaction, but it is the
//	   calling contract that asks
//	12 device (bytes 32) whose signed evidence the message is, an Observation:
//	   the host checked the signature and that the contract is bound to it.
//	   The contract judges it; it is no message of the caller's
//
// Later versions may add keys, which a guest skips.
//
// Absent: 5-7 in a timer, 7 when the caller is no device, 8 outside
// transactions, 10 outside decisions, 11 at the top level, 12 where execute runs
// for any other reason.
type Input struct {
	Chain          Hash
	Height         uint64
	Time           int64
	Contract       string
	Caller         *Hash
	Roles          Role
	Device         []byte
	Transaction    *Hash
	Owner          Hash
	Domain         string
	ParentContract string
	Evidence       *Hash
	Message        []byte
}

// AppendInput appends the encoding of in.
func AppendInput(b []byte, in *Input) []byte {
	n := 5
	for _, present := range []bool{in.Caller != nil, in.Roles != 0, in.Device != nil, in.Transaction != nil, in.Domain != "", in.ParentContract != "", in.Evidence != nil} {
		if present {
			n++
		}
	}
	b = cbor.AppendArray(b, 2)
	b = cbor.AppendMap(b, n)
	b = cbor.AppendBytes(cbor.AppendUint(b, 1), in.Chain[:])
	b = cbor.AppendUint(cbor.AppendUint(b, 2), in.Height)
	b = cbor.AppendInt(cbor.AppendUint(b, 3), in.Time)
	b = cbor.AppendText(cbor.AppendUint(b, 4), in.Contract)
	if in.Caller != nil {
		b = cbor.AppendBytes(cbor.AppendUint(b, 5), in.Caller[:])
	}
	if in.Roles != 0 {
		b = cbor.AppendUint(cbor.AppendUint(b, 6), uint64(in.Roles))
	}
	if in.Device != nil {
		b = append(cbor.AppendUint(b, 7), in.Device...)
	}
	if in.Transaction != nil {
		b = cbor.AppendBytes(cbor.AppendUint(b, 8), in.Transaction[:])
	}
	b = cbor.AppendBytes(cbor.AppendUint(b, 9), in.Owner[:])
	if in.Domain != "" {
		b = cbor.AppendText(cbor.AppendUint(b, 10), in.Domain)
	}
	if in.ParentContract != "" {
		b = cbor.AppendText(cbor.AppendUint(b, 11), in.ParentContract)
	}
	if in.Evidence != nil {
		b = cbor.AppendBytes(cbor.AppendUint(b, 12), in.Evidence[:])
	}
	return cbor.AppendBytes(b, in.Message)
}

// ParseInput reads an input, as a guest does; it aliases b. Errors are, or
// wrap, CodeMalformed and CodeBadArgument.
func ParseInput(b []byte) (Input, error) {
	var in Input
	r := cbor.NewReader(b)
	r.ArrayN(2)
	seen := uint64(0)
	for f := r.Fields(); f.Next(); {
		seen |= 1 << min(f.Key(), 63)
		in.readField(f.Key(), &r)
	}
	in.Message = r.Bytes()
	if err := r.Done(); err != nil {
		return Input{}, Malformed(err)
	}
	const always = 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<9
	if seen&always != always {
		return Input{}, CodeBadArgument
	}
	return in, nil
}

func (in *Input) readField(key uint64, r *cbor.Reader) {
	switch key {
	case 1:
		in.Chain = hashOf(r)
	case 2:
		in.Height = r.Uint()
	case 3:
		in.Time = r.Int()
	case 4:
		in.Contract = r.Text()
	case 5:
		h := hashOf(r)
		in.Caller = &h
	case 6:
		in.Roles = Role(r.Uint())
	case 7:
		in.Device = r.Raw()
	case 8:
		h := hashOf(r)
		in.Transaction = &h
	case 9:
		in.Owner = hashOf(r)
	case 10:
		in.Domain = r.Text()
	case 11:
		in.ParentContract = r.Text()
	case 12:
		h := hashOf(r)
		in.Evidence = &h
	default:
		r.Skip()
	}
}
