package wasm

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// deaf is an Env that has no local records.
type deaf struct{ Env }

// tally is a contract whose observe reads its record of four bytes, adds one to
// the number in it, and returns what local_get returned and that number.
func tally() []byte {
	m := wasmtest.Contract(abi.HostLocalGet, abi.HostLocalSet)
	a := wasmtest.Code().I32(0).I32(8).I32(4).Call(0).Mem(0x36, 0) // [0] = local_get(8, 4)
	a.I32(8).I32(8).Mem(0x28, 0).I32(1).Op(0x6a).Mem(0x36, 0)      // [8]++
	a.I32(4).I32(8).Mem(0x28, 0).Mem(0x36, 0)                      // [4] = [8]
	return m.Entry(abi.EntryObserve, returnStatic(a.I32(8).I32(4).Call(1), 0, 8)).Bytes()
}

// A record is the next call's, and nothing else that a call wrote is: pooled
// instances are set back.
func TestLocalRecord(t *testing.T) {
	for _, e := range engines() {
		r := newRuntime(t, e)
		env, other := newMemEnv(), newMemEnv()
		for n := range uint32(3) {
			for _, env := range []*memEnv{env, other} {
				res, err := r.Call(context.Background(), callOf(tally(), abi.EntryObserve, env))
				if o := outcomeOf(t, res, err); o.code != abi.OK || len(o.out) != 8 {
					t.Fatalf("%v: %+v, %v", e, o, err)
				}
				got, count := int32(binary.LittleEndian.Uint32(res.Output)), binary.LittleEndian.Uint32(res.Output[4:])
				if want := map[bool]int32{true: -1, false: 4}[n == 0]; got != want || count != n+1 {
					t.Errorf("%v, call %d: local_get %d, count %d", e, n, got, count)
				}
			}
		}
	}
}

func TestLocalRecordLimits(t *testing.T) {
	for _, c := range []struct {
		n    int64
		want abi.Code
	}{{0, abi.OK}, {abi.MaxLocal, abi.OK}, {abi.MaxLocal + 1, abi.CodeValueTooLong}} {
		blob := hostCall(abi.HostLocalSet, abi.EntryObserve, "", 0, c.n)
		if o := both(t, blob, abi.EntryObserve, 1<<30, noEnv); o.code != c.want {
			t.Errorf("%d bytes: %v", c.n, o.code)
		}
	}
	// One that does not fit is told of, and not copied; an empty one is one.
	for record, want := range map[string]string{strings.Repeat("x", 65): "A\x00", "": "\x00\x00"} {
		env := func() Env { e := newMemEnv(); e.local = &record; return e }
		blob := hostCall(abi.HostLocalGet, abi.EntryObserve, "", 1024, 64)
		if o := both(t, blob, abi.EntryObserve, 1<<30, env); o.code != abi.OK || o.out[:2] != want {
			t.Errorf("%d bytes: %+v", len(record), o)
		}
	}
}

// The price of a record is by its bytes, whether it is copied or not.
func TestLocalRecordIsPriced(t *testing.T) {
	used := func(fn abi.HostFunc, n int, capacity int64) uint64 {
		record := strings.Repeat("x", n)
		env := func() Env { e := newMemEnv(); e.local = &record; return e }
		args := []int64{1024, capacity}
		if fn == abi.HostLocalSet {
			args[1] = int64(n)
		}
		return both(t, hostCall(fn, abi.EntryObserve, "", args...), abi.EntryObserve, 1<<30, env).used
	}
	for fn, eighths := range map[abi.HostFunc]uint64{abi.HostLocalGet: 4, abi.HostLocalSet: 16} {
		for _, capacity := range []int64{4096, 16} {
			if d := used(fn, 4096, capacity) - used(fn, 0, capacity); d != 4096*eighths/8 {
				t.Errorf("%s: 4,096 bytes cost %d", abi.HostFuncs[fn].Name, d)
			}
		}
	}
}

// Where there are no records, and by the rules of versions that had none, the
// functions trap.
func TestNoLocalRecords(t *testing.T) {
	for _, fn := range []abi.HostFunc{abi.HostLocalGet, abi.HostLocalSet} {
		blob := hostCall(fn, abi.EntryObserve, "", 1024, 4)
		if o := both(t, blob, abi.EntryObserve, 1<<30, func() Env { return deaf{newMemEnv()} }); o.code != abi.CodeNotAllowedHere {
			t.Errorf("%s without records: %v", abi.HostFuncs[fn].Name, o.code)
		}
		for version := uint64(1); version <= Protocol; version++ {
			for _, r := range allRuntimes(t) {
				call := callOf(blob, abi.EntryObserve, newMemEnv())
				call.Protocol = version
				res, err := r.Call(context.Background(), call)
				if o := outcomeOf(t, res, err); (o.code == abi.CodeNotAllowedHere) != (version < 3) {
					t.Errorf("%v, version %d: %s: %v", r.Engine(), version, abi.HostFuncs[fn].Name, o.code)
				}
			}
		}
	}
}
