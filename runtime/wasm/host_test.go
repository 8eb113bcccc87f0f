package wasm

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// hostCall is a contract that calls one host function with constants and
// returns its result as 8 bytes at 0. The memory holds data at 1024.
func hostCall(fn abi.HostFunc, entry abi.Entry, data string, args ...int64) []byte {
	m := wasmtest.Contract(fn)
	a := wasmtest.Code().I32(0)
	t := abi.HostFuncs[fn]
	for i, arg := range args {
		if t.Params[i] == 'l' {
			a.I64(arg)
		} else {
			a.I32(int32(arg))
		}
	}
	a.Call(0)
	switch t.Results {
	case "":
		a.I64(0)
	case "i":
		a.Op(0xac)
	}
	a.Mem(0x37, 0).I64(8)
	m.Datas = append(m.Datas, moduleData(1024, data))
	return m.Entry(entry, a).Bytes()
}

// pointers are the edges of a memory of one page.
var pointers = []int64{0, 1, 65534, 65535, 65536, 65537, 1 << 31, 1<<32 - 2, 1<<32 - 1}

func fits(ptr, n int64) bool { return ptr+n <= 65536 }

// entryFor is an entry point that has the host function.
func entryFor(fn abi.HostFunc) abi.Entry {
	for e := range abi.EntryCount {
		if fn.AllowedIn(e) {
			return e
		}
	}
	panic("no entry point has " + abi.HostFuncs[fn].Name)
}

// Every pointer and length that a guest can forge either lies in its memory
// or traps with one code, on both engines, and never touches the host.
func TestForgedPointers(t *testing.T) {
	pairs := map[abi.HostFunc][]int{ // first parameter of each pair
		abi.HostStateGet: {0, 2}, abi.HostStateSet: {0, 2}, abi.HostStateDelete: {0}, abi.HostStateScan: {0, 2},
		abi.HostEmit: {0, 2}, abi.HostCall: {0, 2, 4}, abi.HostQuery: {0, 2, 4}, abi.HostDeviceGet: {1},
		abi.HostDeviceSetStatus: {2}, abi.HostSchedule: {1}, abi.HostSHA256: {0}, abi.HostVerify: {0, 2, 4},
		abi.HostLog: {0}, abi.HostAbort: {1}, abi.HostLocalGet: {0}, abi.HostLocalSet: {0},
	}
	for _, e := range engines() {
		r := newRuntime(t, e)
		for fn, firsts := range pairs {
			for _, at := range firsts {
				for _, ptr := range pointers {
					for _, n := range pointers {
						args := make([]int64, len(abi.HostFuncs[fn].Params))
						args[at], args[at+1] = ptr, n
						if fn == abi.HostStateSet && at == 2 || fn == abi.HostStateGet && at == 2 {
							args[1] = 1 // a key
						}
						forged(t, r, fn, args, fits(ptr, n))
					}
				}
			}
		}
	}
}

func forged(t *testing.T, r *Runtime, fn abi.HostFunc, args []int64, inside bool) {
	t.Helper()
	env := newMemEnv()
	env.nested = func(*Scope, bool, string, []byte, uint64) ([]byte, uint64, error) { return nil, 0, nil }
	entry := entryFor(fn)
	res, err := r.Call(context.Background(), callOf(hostCall(fn, entry, "", args...), entry, env))
	o := outcomeOf(t, res, err)
	if inside == (o.code == abi.CodeBadPointer) {
		t.Errorf("%v: %s%v: %v", r.Engine(), abi.HostFuncs[fn].Name, args, o.code)
	}
}

// Pointers without a length have one of their own.
func TestForgedFixedPointers(t *testing.T) {
	r := newRuntime(t, EngineInterpreter)
	for _, ptr := range pointers {
		forged(t, r, abi.HostDeviceGet, []int64{ptr, 0, 0}, fits(ptr, 32))
		forged(t, r, abi.HostDeviceSetStatus, []int64{ptr, 1, 0, 0}, fits(ptr, 32))
		forged(t, r, abi.HostSHA256, []int64{0, 0, ptr}, fits(ptr, 32))
		scan := wasmtest.Contract(abi.HostStateScan, abi.HostScanNext)
		a := wasmtest.Code().I32(0).I32(0).I32(0).I32(0).Call(0).I32(int32(ptr)).I32(8).Call(1).Op(0x1a).I64(0)
		res, err := r.Call(context.Background(), callOf(scan.Entry(abi.EntryQuery, a).Bytes(), abi.EntryQuery, newMemEnv()))
		if o := outcomeOf(t, res, err); fits(ptr, 8) == (o.code == abi.CodeBadPointer) {
			t.Errorf("scan_next(%d): %v", ptr, o.code)
		}
	}
}

// A guest's alloc and result are forged pointers as well.
func TestForgedAllocAndResult(t *testing.T) {
	for _, ptr := range pointers {
		m := &wasmtest.Module{}
		m.Memory = wasmtest.Contract().Memory
		m.Exports = wasmtest.Contract().Exports[:1]
		m.Export("alloc", m.Func("i", "i", "", wasmtest.Code().I32(int32(ptr))))
		blob := m.Entry(abi.EntryExecute, wasmtest.Code().I64(0)).Bytes()
		o := both(t, blob, abi.EntryExecute, 1<<30, noEnv)
		if want := fits(ptr, 5); want != (o.code == abi.OK) || !want && o.code != abi.CodeBadPointer {
			t.Errorf("alloc = %d: %v", ptr, o.code)
		}
		for _, n := range pointers {
			blob := wasmtest.Contract().Entry(abi.EntryExecute, wasmtest.Code().I64(ptr<<32|n)).Bytes()
			o := both(t, blob, abi.EntryExecute, 1<<30, noEnv)
			want := abi.OK
			if n > abi.MaxResult {
				want = abi.CodeResultTooLong
			} else if !fits(ptr, n) {
				want = abi.CodeBadPointer
			}
			if o.code != want {
				t.Errorf("result at %d of %d: %v, want %v", ptr, n, o.code, want)
			}
		}
	}
}

// Each entry point has its host functions and no other.
func TestPermissions(t *testing.T) {
	for _, e := range engines() {
		r := newRuntime(t, e)
		for fn := range abi.HostFuncCount {
			for entry := range abi.EntryCount {
				args := make([]int64, len(abi.HostFuncs[fn].Params))
				if len(args) > 1 {
					args[1] = 1
				}
				env := newMemEnv()
				env.nested = func(*Scope, bool, string, []byte, uint64) ([]byte, uint64, error) { return nil, 0, nil }
				res, err := r.Call(context.Background(), callOf(hostCall(fn, entry, "", args...), entry, env))
				got := outcomeOf(t, res, err).code
				if fn.AllowedIn(entry) == (got == abi.CodeNotAllowedHere) {
					t.Errorf("%v: %s in %v: %v", e, abi.HostFuncs[fn].Name, entry, got)
				}
			}
		}
	}
}

func TestStateFunctions(t *testing.T) {
	env := func() Env {
		e := newMemEnv()
		e.state["key"] = "value"
		return e
	}
	get := hostCall(abi.HostStateGet, abi.EntryQuery, "keynone", 1024, 3, 2048, 5)
	if o := both(t, get, abi.EntryQuery, 1<<30, env); o.out != "\x05\x00\x00\x00\x00\x00\x00\x00" {
		t.Fatalf("%q", o.out)
	}
	short := hostCall(abi.HostStateGet, abi.EntryQuery, "key", 1024, 3, 2048, 4)
	if o := both(t, short, abi.EntryQuery, 1<<30, env); o.out != "\x05\x00\x00\x00\x00\x00\x00\x00" {
		t.Fatalf("a value that does not fit: %q", o.out)
	}
	missing := hostCall(abi.HostStateGet, abi.EntryQuery, "none", 1024, 4, 2048, 5)
	if o := both(t, missing, abi.EntryQuery, 1<<30, env); o.out != strings.Repeat("\xff", 8) {
		t.Fatalf("a value that is not there: %q", o.out)
	}
	for _, c := range []struct {
		key, value int64
		want       abi.Code
	}{{0, 1, abi.CodeKeyTooLong}, {256, 16384, abi.OK}, {257, 0, abi.CodeKeyTooLong}, {1, 16385, abi.CodeValueTooLong}} {
		set := hostCall(abi.HostStateSet, abi.EntryExecute, "", 0, c.key, 0, c.value)
		if o := both(t, set, abi.EntryExecute, 1<<30, noEnv); o.code != c.want {
			t.Errorf("key of %d, value of %d: %v", c.key, c.value, o.code)
		}
	}
}

// Values are copied to where the guest asked, and nowhere else.
func TestStateGetCopies(t *testing.T) {
	m := wasmtest.Contract(abi.HostStateGet)
	m.Datas = append(m.Datas, moduleData(0, "k................"))
	a := wasmtest.Code().I32(0).I32(1).I32(4).I32(5).Call(0).Op(0x1a)
	blob := m.Entry(abi.EntryQuery, returnStatic(a, 0, 12)).Bytes()
	for value, want := range map[string]string{
		"value":  "k...value...",
		"longer": "k...........",
		"":       "k...........",
	} {
		o := both(t, blob, abi.EntryQuery, 1<<30, func() Env {
			e := newMemEnv()
			e.state["k"] = value
			return e
		})
		if o.out != want {
			t.Errorf("%q: %q", value, o.out)
		}
	}
}

// scanner is a contract that opens n scans over prefix p and reads the first
// rounds times into a buffer of capacity bytes, returning the buffer.
func scanner(n, rounds int, capacity int32) []byte {
	m := wasmtest.Contract(abi.HostStateScan, abi.HostScanNext)
	m.Datas = append(m.Datas, moduleData(1024, "p/p/b"))
	a := wasmtest.Code()
	for range n {
		a.I32(1024).I32(2).I32(1026).I32(3).Call(0).Op(0x1a)
	}
	for range rounds {
		a.I32(0).I32(0).I32(capacity).Call(1).Op(0x1a)
	}
	return m.Entry(abi.EntryQuery, returnStatic(a, 0, 16)).Bytes()
}

func TestScan(t *testing.T) {
	var last *memEnv
	env := func() Env {
		last = newMemEnv()
		last.state = map[string]string{"o": "0", "p/a": "1", "p/b": "2", "p/c": "3", "q": "4"}
		return last
	}
	for _, c := range []struct {
		rounds   int
		capacity int32
		want     string
	}{
		{1, 16, "\x03\x00\x00\x00p/b2"},
		{2, 16, "\x03\x00\x00\x00p/c3"},
		{5, 16, "\x03\x00\x00\x00p/c3"},
		{3, 7, strings.Repeat("\x00", 8)}, // never fits, so never passes on
	} {
		o := both(t, scanner(1, c.rounds, c.capacity), abi.EntryQuery, 1<<30, env)
		if o.code != abi.OK || o.out[:8] != c.want {
			t.Errorf("%+v: %q, %v", c, o.out, o.code)
		}
		if last.open != 0 {
			t.Errorf("%d scans left open", last.open)
		}
	}
	if o := both(t, scanner(8, 1, 16), abi.EntryQuery, 1<<30, env); o.code != abi.OK {
		t.Error(o.code)
	}
	if o := both(t, scanner(9, 1, 16), abi.EntryQuery, 1<<30, env); o.code != abi.CodeTooManyScans || last.open != 0 {
		t.Error(o.code, last.open)
	}
	if o := both(t, scanner(0, 1, 16), abi.EntryQuery, 1<<30, env); o.code != abi.CodeBadArgument {
		t.Error(o.code)
	}
}

func TestSHA256AndVerify(t *testing.T) {
	m := wasmtest.Contract(abi.HostSHA256)
	m.Datas = append(m.Datas, moduleData(0, "abc"))
	blob := m.Entry(abi.EntryQuery, returnStatic(wasmtest.Code().I32(0).I32(3).I32(64).Call(0), 64, 32)).Bytes()
	want := "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if o := both(t, blob, abi.EntryQuery, 1<<30, noEnv); fmt.Sprintf("%x", o.out) != want {
		t.Fatalf("%x", o.out)
	}
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	pub := string(key.Public().(ed25519.PublicKey))
	sig := string(ed25519.Sign(key, []byte("message")))
	for data, want := range map[string]string{pub + sig + "message": "\x01", pub + sig + "massage": "\x00"} {
		blob := hostCall(abi.HostVerify, abi.EntryQuery, data, 1024, 32, 1024+96, 7, 1024+32, 64)
		if o := both(t, blob, abi.EntryQuery, 1<<30, noEnv); o.out[:1] != want {
			t.Errorf("%q: %v", o.out, o.code)
		}
	}
}

func TestAbort(t *testing.T) {
	blob := hostCall(abi.HostAbort, abi.EntryDecide, "no\xff entry", 4711, 1024, 9)
	if o := both(t, blob, abi.EntryDecide, 1<<30, noEnv); o.code != abi.CodeAborted || o.abort != 4711 {
		t.Fatalf("%+v", o)
	}
	_, err := newRuntime(t, EngineInterpreter).Call(context.Background(), callOf(blob, abi.EntryDecide, noEnv()))
	var trap *Trap
	if !errors.As(err, &trap) || trap.Text != "no\ufffd entry" {
		t.Fatal(err)
	}
}

// An error of the Env is the contract's if it is a code, and ours if not.
func TestEnvErrors(t *testing.T) {
	fault := errors.New("disk on fire")
	for _, e := range engines() {
		r := newRuntime(t, e)
		for fn, args := range map[abi.HostFunc][]int64{
			abi.HostStateGet: {0, 1, 0, 0}, abi.HostStateSet: {0, 1, 0, 0}, abi.HostStateDelete: {0, 1},
			abi.HostStateScan: {0, 0, 0, 0}, abi.HostEmit: {0, 0, 0, 0}, abi.HostDeviceGet: {0, 0, 0},
			abi.HostSchedule: {0, 0, 0}, abi.HostDeviceSetStatus: {0, 1, 0, 0}, abi.HostCall: {1024, 1, 0, 0, 0, 0},
			abi.HostQuery: {1024, 1, 0, 0, 0, 0},
		} {
			entry := abi.EntryExecute
			env := newMemEnv()
			env.nested = func(*Scope, bool, string, []byte, uint64) ([]byte, uint64, error) { return nil, 1, env.err }
			call := callOf(hostCall(fn, entry, "a", args...), entry, env)

			env.err = fmt.Errorf("wrapped: %w", abi.CodeStorageQuota)
			res, err := r.Call(context.Background(), call)
			o := outcomeOf(t, res, err)
			returned := fn == abi.HostDeviceSetStatus || fn == abi.HostCall || fn == abi.HostQuery
			if returned && (o.code != abi.OK || o.out != "\xc7\xff\xff\xff\xff\xff\xff\xff") || !returned && o.code != abi.CodeStorageQuota {
				t.Errorf("%v, %s: %+v", e, abi.HostFuncs[fn].Name, o)
			}

			env.err = fault
			_, err = r.Call(context.Background(), call)
			var trap *Trap
			if !errors.Is(err, fault) || errors.As(err, &trap) {
				t.Errorf("%v, %s: %v", e, abi.HostFuncs[fn].Name, err)
			}
		}
	}
}

// A panic of the Env is our fault too, and the instance is as good as new.
func TestEnvPanics(t *testing.T) {
	for _, e := range engines() {
		r := newRuntime(t, e)
		blob := hostCall(abi.HostCall, abi.EntryExecute, "a", 1024, 1, 0, 0, 0, 0)
		env := newMemEnv() // without nested: a nil function
		_, err := r.Call(context.Background(), callOf(blob, abi.EntryExecute, env))
		var trap *Trap
		if err == nil || errors.As(err, &trap) {
			t.Errorf("%v: %v", e, err)
		}
		env.nested = func(*Scope, bool, string, []byte, uint64) ([]byte, uint64, error) { return nil, 0, nil }
		if _, err := r.Call(context.Background(), callOf(blob, abi.EntryExecute, env)); err != nil {
			t.Errorf("%v, afterwards: %v", e, err)
		}
	}
}

// Host functions cost their base price and their bytes, also when refused.
func TestHostGas(t *testing.T) {
	used := func(n int64) uint64 {
		blob := hostCall(abi.HostStateSet, abi.EntryExecute, "", 0, 1, 0, n)
		return both(t, blob, abi.EntryExecute, 1<<30, noEnv).used
	}
	perByte := uint64(gasHost[abi.HostStateSet].Byte)
	if got := used(8000) - used(0); got != 1000*perByte {
		t.Errorf("8000 bytes cost %d, want %d", got, 1000*perByte)
	}
	blob := hostCall(abi.HostStateSet, abi.EntryExecute, "", 0, 1, 0, 16384)
	if o := both(t, blob, abi.EntryExecute, 20_000, noEnv); o.code != abi.CodeOutOfGas || o.used != 20_000 {
		t.Errorf("%+v", o)
	}
}
