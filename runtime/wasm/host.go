package wasm

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

const (
	maxScans = 8       // scans open in one call
	maxLog   = 4 << 10 // bytes of a log message; the rest is cut off
)

// scan is a scan that the guest holds open.
type scan struct {
	it      Iterator
	pending bool // it stands on an entry that the guest has not yet taken
}

// errEnded is what host functions panic with after they noted why in their
// frame: the only way to end the execution of the guest.
var errEnded = errors.New("ended by a host function")

// fail ends the call with a trap.
func (f *frame) fail(code abi.Code, text string) {
	f.trap = &Trap{Code: code, Text: text}
	panic(errEnded)
}

// stop ends the call with an error of the Env: a code becomes a trap, any
// other error is a fault of the host.
func (f *frame) stop(err error) {
	if code, ok := asCode(err); ok {
		f.fail(code, err.Error())
	}
	f.fault = err
	panic(errEnded)
}

// charge takes units off the gas.
func (f *frame) charge(units int64) {
	left := f.gasLeft() - units
	f.setGas(left)
	if left < 0 {
		f.fail(abi.CodeOutOfGas, "")
	}
}

// chargeBytes takes the price of n bytes of a host function off the gas.
func (f *frame) chargeBytes(fn abi.HostFunc, n int) {
	f.charge((f.instance.code.rules.host[fn].Byte*int64(n) + 7) / 8)
}

// view gives bytes of the guest's memory; they move when the memory grows.
func (f *frame) view(ptr, n uint64) []byte {
	b, ok := f.instance.mem.Read(api.DecodeU32(ptr), api.DecodeU32(n))
	if !ok {
		f.fail(abi.CodeBadPointer, "")
	}
	return b
}

// key is view for a state key.
func (f *frame) key(ptr, n uint64) []byte {
	b := f.view(ptr, n)
	if len(b) == 0 || len(b) > abi.MaxKey {
		f.fail(abi.CodeKeyTooLong, "")
	}
	return b
}

// limited is view for bytes with a limit.
func (f *frame) limited(ptr, n uint64, limit int, code abi.Code) []byte {
	b := f.view(ptr, n)
	if len(b) > limit {
		f.fail(code, "")
	}
	return b
}

// hostFunc is a function of the host module, called with the parameters in
// s; its result goes to s[0].
type hostFunc struct {
	fn   abi.HostFunc
	base int64 // price
	body func(f *frame, s []uint64)
}

// Call implements api.GoModuleFunction: base price, permission, body.
func (h hostFunc) Call(ctx context.Context, _ api.Module, stack []uint64) {
	f := ctx.(*frame)
	f.charge(h.base)
	if !h.fn.AllowedIn(f.entry) {
		f.fail(abi.CodeNotAllowedHere, abi.HostFuncs[h.fn].Name)
	}
	h.body(f, stack)
}

var hostBodies = [abi.HostFuncCount]func(*frame, []uint64){
	abi.HostStateGet:        stateGet,
	abi.HostStateSet:        stateSet,
	abi.HostStateDelete:     stateDelete,
	abi.HostStateScan:       stateScan,
	abi.HostScanNext:        scanNext,
	abi.HostLocalGet:        localGet,
	abi.HostLocalSet:        localSet,
	abi.HostEmit:            emit,
	abi.HostCall:            func(f *frame, s []uint64) { f.nested(abi.HostCall, s) },
	abi.HostQuery:           func(f *frame, s []uint64) { f.nested(abi.HostQuery, s) },
	abi.HostDeviceGet:       deviceGet,
	abi.HostDeviceSetStatus: deviceSetStatus,
	abi.HostSchedule:        schedule,
	abi.HostNow:             now,
	abi.HostSHA256:          sha256Sum,
	abi.HostVerify:          verify,
	abi.HostLog:             logMessage,
	abi.HostAbort:           abort,
}

// instantiateHost makes the host module.
func instantiateHost(ctx context.Context, engine wazero.Runtime, r *rules) error {
	b := engine.NewHostModuleBuilder(abi.HostModule)
	for fn := range abi.HostFuncCount {
		t := abi.HostFuncs[fn]
		b.NewFunctionBuilder().
			WithGoModuleFunction(hostFunc{fn, r.host[fn].Base, hostBodies[fn]}, valueTypes(t.Params), valueTypes(t.Results)).
			Export(t.Name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

func valueTypes(letters string) []api.ValueType {
	types := make([]api.ValueType, len(letters))
	for i, l := range letters {
		types[i] = api.ValueTypeI32
		if l == 'l' {
			types[i] = api.ValueTypeI64
		}
	}
	return types
}

const none = 0xffffffff // -1 as an i32

// fill copies value to a buffer of the guest, if it fits, and returns its
// length. The price covers the value whether it fits or not.
func (f *frame) fill(fn abi.HostFunc, ptr, capacity uint64, value []byte) uint64 {
	f.chargeBytes(fn, len(value))
	buf := f.view(ptr, capacity)
	if len(value) <= len(buf) {
		copy(buf, value)
		f.wrote(api.DecodeU32(ptr), len(value))
	}
	return uint64(uint32(len(value)))
}

func stateGet(f *frame, s []uint64) {
	key := f.key(s[0], s[1])
	f.view(s[2], s[3])
	f.chargeBytes(abi.HostStateGet, len(key))
	value, ok, err := f.env.Get(key)
	if err != nil {
		f.stop(err)
	}
	if !ok {
		s[0] = none
		return
	}
	s[0] = f.fill(abi.HostStateGet, s[2], s[3], value)
}

func stateSet(f *frame, s []uint64) {
	key := f.key(s[0], s[1])
	value := f.limited(s[2], s[3], abi.MaxValue, abi.CodeValueTooLong)
	f.chargeBytes(abi.HostStateSet, len(key)+len(value))
	if err := f.env.Set(key, value); err != nil {
		f.stop(err)
	}
}

func stateDelete(f *frame, s []uint64) {
	key := f.key(s[0], s[1])
	f.chargeBytes(abi.HostStateDelete, len(key))
	if err := f.env.Delete(key); err != nil {
		f.stop(err)
	}
}

func stateScan(f *frame, s []uint64) {
	prefix := f.limited(s[0], s[1], abi.MaxKey, abi.CodeKeyTooLong)
	start := f.limited(s[2], s[3], abi.MaxKey, abi.CodeKeyTooLong)
	f.chargeBytes(abi.HostStateScan, len(prefix)+len(start))
	if f.numScans == maxScans {
		f.fail(abi.CodeTooManyScans, "")
	}
	it, err := f.env.Scan(prefix, start)
	if err != nil {
		f.stop(err)
	}
	f.scans[f.numScans] = scan{it: it}
	s[0] = uint64(f.numScans)
	f.numScans++
}

// advance goes to the next entry of a scan; false at the end. What is passed
// over is paid for as an entry is.
func (f *frame) advance(it Iterator) bool {
	sparse, _ := it.(Sparse)
	for it.Next() {
		if sparse == nil || !sparse.Gone() {
			return true
		}
		f.charge(f.instance.code.rules.host[abi.HostScanNext].Base)
	}
	if err := it.Err(); err != nil {
		f.stop(err)
	}
	return false
}

func scanNext(f *frame, s []uint64) {
	handle := api.DecodeU32(s[0])
	buf := f.view(s[1], s[2])
	if handle >= uint32(f.numScans) {
		f.fail(abi.CodeBadArgument, "no such scan")
	}
	sc := &f.scans[handle]
	if !sc.pending && !f.advance(sc.it) {
		s[0] = none
		return
	}
	key, value := sc.it.Key(), sc.it.Value()
	n := 4 + len(key) + len(value)
	f.chargeBytes(abi.HostScanNext, n)
	if sc.pending = n > len(buf); !sc.pending {
		binary.LittleEndian.PutUint32(buf, uint32(len(key)))
		copy(buf[4:], key)
		copy(buf[4+len(key):], value)
		f.wrote(api.DecodeU32(s[1]), n)
	}
	s[0] = uint64(uint32(n))
}

// local is the gateway-local record of the call, where its protocol version and
// its Env have one.
func (f *frame) local() Local {
	env, ok := f.env.(Local)
	if !ok || !f.instance.code.rules.local {
		f.fail(abi.CodeNotAllowedHere, "there are no local records")
	}
	return env
}

func localGet(f *frame, s []uint64) {
	env := f.local()
	f.view(s[0], s[1])
	record, ok, err := env.Local()
	if err != nil {
		f.stop(err)
	}
	if !ok {
		s[0] = none
		return
	}
	s[0] = f.fill(abi.HostLocalGet, s[0], s[1], record)
}

func localSet(f *frame, s []uint64) {
	env := f.local()
	record := f.limited(s[0], s[1], abi.MaxLocal, abi.CodeValueTooLong)
	f.chargeBytes(abi.HostLocalSet, len(record))
	if err := env.SetLocal(record); err != nil {
		f.stop(err)
	}
}

func emit(f *frame, s []uint64) {
	topic := f.limited(s[0], s[1], abi.MaxTopic, abi.CodeKeyTooLong)
	data := f.limited(s[2], s[3], abi.MaxEvent, abi.CodeValueTooLong)
	f.chargeBytes(abi.HostEmit, len(topic)+len(data))
	if err := f.env.Emit(topic, data); err != nil {
		f.stop(err)
	}
}

// failed is a code as the guest gets it from a function that does not trap.
func failed(code abi.Code) uint64 { return uint64(-int64(code)) }

// nested runs call or query: another contract within this one.
func (f *frame) nested(fn abi.HostFunc, s []uint64) {
	name, msg := f.view(s[0], s[1]), f.view(s[2], s[3])
	f.view(s[4], s[5])
	if len(name) > abi.MaxName || !abi.ValidName(string(name)) {
		s[0] = failed(abi.CodeUnknownContract)
		return
	}
	if len(msg) > abi.MaxTransaction {
		s[0] = failed(abi.CodeTooLarge)
		return
	}
	f.chargeBytes(fn, len(msg))
	grown := f.allowance - int(int64(f.instance.pages.Get()))
	f.scope.pages = f.chain - f.instance.code.minPages - grown
	run := f.env.Call
	if fn == abi.HostQuery {
		run = f.env.Query
	}
	out, used, err := run(&f.scope, string(name), msg, uint64(f.gasLeft()))
	f.charge(int64(min(used, GasMax)))
	if err != nil {
		code, ok := asCode(err)
		if !ok {
			f.stop(err)
		}
		s[0] = failed(code)
		return
	}
	if buf := f.view(s[4], s[5]); len(out) > len(buf) {
		s[0] = failed(abi.CodeResultTooLong)
		return
	}
	s[0] = f.fill(fn, s[4], s[5], out)
}

// hash reads a 32-byte id.
func (f *frame) hash(ptr uint64) abi.Hash { return abi.Hash(f.view(ptr, uint64(len(abi.Hash{})))) }

func deviceGet(f *frame, s []uint64) {
	id := f.hash(s[0])
	f.view(s[1], s[2])
	record, ok, err := f.env.Device(id)
	if err != nil {
		f.stop(err)
	}
	if !ok {
		s[0] = none
		return
	}
	s[0] = f.fill(abi.HostDeviceGet, s[1], s[2], record)
}

func deviceSetStatus(f *frame, s []uint64) {
	id, status := f.hash(s[0]), api.DecodeU32(s[1])
	reason := f.limited(s[2], s[3], abi.MaxAbortText, abi.CodeValueTooLong)
	f.chargeBytes(abi.HostDeviceSetStatus, len(reason))
	if status < uint32(abi.StatusActive) || status > uint32(abi.StatusRetired) {
		s[0] = uint64(uint32(failed(abi.CodeBadStatus)))
		return
	}
	err := f.env.SetDeviceStatus(id, abi.Status(status), reason)
	s[0] = 0
	if err != nil {
		code, ok := asCode(err)
		if !ok {
			f.stop(err)
		}
		s[0] = uint64(uint32(failed(code)))
	}
}

func schedule(f *frame, s []uint64) {
	msg := f.limited(s[1], s[2], abi.MaxValue, abi.CodeValueTooLong)
	f.chargeBytes(abi.HostSchedule, len(msg))
	number, err := f.env.Schedule(int64(s[0]), msg)
	if err != nil {
		f.stop(err)
	}
	s[0] = number
}

func now(f *frame, s []uint64) {
	ms, trusted := f.env.Now()
	if !trusted {
		ms = -1
	}
	s[0] = uint64(ms)
}

func sha256Sum(f *frame, s []uint64) {
	data := f.view(s[0], s[1])
	out := f.view(s[2], sha256.Size)
	f.chargeBytes(abi.HostSHA256, len(data))
	sum := sha256.Sum256(data)
	copy(out, sum[:])
	f.wrote(api.DecodeU32(s[2]), len(sum))
}

func verify(f *frame, s []uint64) {
	key, msg, sig := f.view(s[0], s[1]), f.view(s[2], s[3]), f.view(s[4], s[5])
	f.chargeBytes(abi.HostVerify, len(msg))
	s[0] = 0
	if chain.VerifySignature(key, msg, sig) {
		s[0] = 1
	}
}

// text copies a message for people, cut to limit.
func (f *frame) text(fn abi.HostFunc, ptr, n uint64, limit int) string {
	b := f.view(ptr, n)
	b = b[:min(len(b), limit)]
	f.chargeBytes(fn, len(b))
	return strings.ToValidUTF8(string(b), "\ufffd")
}

func logMessage(f *frame, s []uint64) {
	text := f.text(abi.HostLog, s[0], s[1], maxLog)
	if strings.HasPrefix(text, "panicked at ") { // so the Rust SDK begins
		f.keepLastWords(text)
	}
	f.env.Log(text)
}

func abort(f *frame, s []uint64) {
	text := f.text(abi.HostAbort, s[1], s[2], abi.MaxAbortText)
	f.abortCode = uint16(s[0])
	f.fail(abi.CodeAborted, text)
}
