package wasm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// goodArgs are arguments with which each host function does what it is for,
// over the memory of a hostCall whose data is scriptData.
var goodArgs = [abi.HostFuncCount][]int64{
	abi.HostStateGet:        {scriptAt + 6, 2, 4096, 64},
	abi.HostStateSet:        {scriptAt + 6, 2, scriptAt, 5},
	abi.HostStateDelete:     {scriptAt + 6, 2},
	abi.HostStateScan:       {scriptAt + 6, 1, 0, 0},
	abi.HostScanNext:        {0, 4096, 64},
	abi.HostLocalGet:        {4096, 64},
	abi.HostLocalSet:        {scriptAt, 5},
	abi.HostEmit:            {scriptAt, 5, scriptAt, 5},
	abi.HostCall:            {scriptAt, 5, scriptAt, 5, 4096, 64},
	abi.HostQuery:           {scriptAt, 5, scriptAt, 5, 4096, 64},
	abi.HostDeviceGet:       {8192, 4096, 64},
	abi.HostDeviceSetStatus: {8192, 3, scriptAt, 5},
	abi.HostSchedule:        {99, scriptAt, 5},
	abi.HostNow:             {},
	abi.HostSHA256:          {scriptAt, 5, 4096},
	abi.HostVerify:          {scriptAt, 5, scriptAt, 5, scriptAt, 5},
	abi.HostLog:             {scriptAt, 5},
	abi.HostAbort:           {1, scriptAt, 5},
}

// goodScript is a script that leaves a mark in the state, makes one host call
// after it, and leaves another mark. A scan is opened for scan_next.
func goodScript(fn abi.HostFunc) hostScript {
	mark := func(at int64) hostOp { return hostOp{abi.HostLog, []int64{at, 1}} }
	s := hostScript{entry: entryFor(fn), ops: []hostOp{mark(scriptAt)}}
	if fn == abi.HostScanNext {
		s.ops = append(s.ops, hostOp{abi.HostStateScan, goodArgs[abi.HostStateScan]})
	}
	s.ops = append(s.ops, hostOp{fn, goodArgs[fn]}, mark(scriptAt+1))
	return s
}

// brokenEnv is an Env that panics wherever it is asked.
type brokenEnv struct {
	*memEnv
	iterator string // the method of iterators that panics; then Scan does not
}

func (e *brokenEnv) Get([]byte) ([]byte, bool, error)      { panic("get") }
func (e *brokenEnv) Set(_, _ []byte) error                 { panic("set") }
func (e *brokenEnv) Delete([]byte) error                   { panic("delete") }
func (e *brokenEnv) Local() ([]byte, bool, error)          { panic("local") }
func (e *brokenEnv) SetLocal([]byte) error                 { panic("set local") }
func (e *brokenEnv) Emit(_, _ []byte) error                { panic(errors.New("emit")) }
func (e *brokenEnv) Device(abi.Hash) ([]byte, bool, error) { panic(abi.CodeStorageQuota) } // no outcome even so
func (e *brokenEnv) Schedule(int64, []byte) (uint64, error) {
	return uint64([]int{}[len(e.iterator)]), nil // a panic of the Go runtime
}
func (e *brokenEnv) Now() (int64, bool) { panic("now") }
func (e *brokenEnv) SetDeviceStatus(abi.Hash, abi.Status, []byte) error {
	panic(&Trap{Code: abi.CodeAborted})
}

func (e *brokenEnv) Call(*Scope, string, []byte, uint64) ([]byte, uint64, error) { panic("call") }
func (e *brokenEnv) Query(*Scope, string, []byte, uint64) ([]byte, uint64, error) {
	panic(context.Canceled)
}

func (e *brokenEnv) Scan(prefix, start []byte) (Iterator, error) {
	if e.iterator == "" {
		panic("scan")
	}
	it, err := e.memEnv.Scan(prefix, start)
	return &brokenIterator{it, e.iterator}, err
}

type brokenIterator struct {
	Iterator
	method string
}

func (it *brokenIterator) Next() bool {
	if it.method == "Next" {
		panic("next")
	}
	return it.Iterator.Next() && it.method != "Err"
}

func (it *brokenIterator) Key() []byte {
	if it.method == "Key" {
		panic("key")
	}
	return it.Iterator.Key()
}

func (it *brokenIterator) Value() []byte {
	if it.method == "Value" {
		panic("value")
	}
	return it.Iterator.Value()
}

func (it *brokenIterator) Err() error {
	if it.method == "Err" {
		panic("err")
	}
	return it.Iterator.Err()
}

func (it *brokenIterator) Close() {
	if it.method == "Close" {
		panic("close")
	}
	it.Iterator.Close()
}

// requireFault runs a script over a broken Env: a fault of the host, never an
// outcome, gas charged, nothing returned. Then it runs over a good one as if
// nothing had happened.
func requireFault(t *testing.T, r *Runtime, s hostScript, env Env) {
	t.Helper()
	blob := s.blob()
	res, err := r.Call(context.Background(), callOf(blob, s.entry, env))
	var trap *Trap
	var code abi.Code
	if err == nil || errors.As(err, &trap) || errors.As(err, &code) {
		t.Fatalf("%v, %+v: %v", r.Engine(), s, err)
	}
	if res.GasUsed == 0 || res.Output != nil || res.AbortCode != 0 {
		t.Errorf("%v, %+v: %+v", r.Engine(), s, res)
	}
	s.compare(t, []*Runtime{r})
}

func TestEnvPanicsEverywhere(t *testing.T) {
	for _, r := range allRuntimes(t) {
		for fn := range abi.HostFuncCount {
			switch fn {
			case abi.HostScanNext, abi.HostSHA256, abi.HostVerify, abi.HostLog, abi.HostAbort:
				continue // ask no Env, or are below
			}
			requireFault(t, r, goodScript(fn), &brokenEnv{memEnv: scriptEnv()})
		}
		for _, method := range []string{"Next", "Key", "Value", "Err", "Close"} {
			requireFault(t, r, goodScript(abi.HostScanNext), &brokenEnv{memEnv: scriptEnv(), iterator: method})
		}
	}
}

// A fault within nested calls ends all of them, and the host goes on.
func TestFaultEndsTheWholeChain(t *testing.T) {
	for _, r := range allRuntimes(t) {
		blob := caller(0)
		depth := 0
		env := nestedEnv(r, blob, &depth)
		inner := env.nested
		env.nested = func(s *Scope, query bool, contract string, msg []byte, gas uint64) ([]byte, uint64, error) {
			if s.depth == 5 {
				panic("broken at depth 5")
			}
			return inner(s, query, contract, msg, gas)
		}
		_, err := r.Call(context.Background(), callOf(blob, abi.EntryExecute, env))
		var trap *Trap
		if err == nil || errors.As(err, &trap) || !strings.Contains(err.Error(), "broken at depth 5") {
			t.Errorf("%v: %v", r.Engine(), err)
		}
		env.nested = inner
		if _, err := r.Call(context.Background(), callOf(blob, abi.EntryExecute, env)); err != nil {
			t.Errorf("%v, afterwards: %v", r.Engine(), err)
		}
	}
}

// TestGasEndsAtEveryHostFunction lowers the gas of a call until it ends right
// before, in and right after each host function. It is always out of gas and
// uses all of it, what the Env saw is the beginning of what it sees with
// enough, and the function's effect costs at least its base price.
func TestGasEndsAtEveryHostFunction(t *testing.T) {
	for fn := range abi.HostFuncCount {
		t.Run(abi.HostFuncs[fn].Name, func(t *testing.T) {
			s := goodScript(fn)
			for _, r := range allRuntimes(t) {
				sweepGas(t, r, &s, fn)
			}
		})
	}
}

func sweepGas(t *testing.T, r *Runtime, s *hostScript, fn abi.HostFunc) {
	t.Helper()
	blob := s.blob()
	run := func(gas uint64) (outcome, *memEnv) {
		env := scriptEnv()
		call := callOf(blob, s.entry, env)
		call.Gas = gas
		res, err := r.Call(context.Background(), call)
		return outcomeOf(t, res, err), env
	}
	whole, full := run(1 << 40)
	marks := func(gas uint64) int {
		o, env := run(gas)
		if o.used > gas || gas < whole.used && (o.code != abi.CodeOutOfGas || o.used != gas || o.out != "") || gas >= whole.used && o != whole {
			t.Fatalf("%v, gas %d of %d: %+v", r.Engine(), gas, whole.used, o)
		}
		if !startsLike(full.logs, env.logs) || !startsLike(full.events, env.events) || env.open != 0 {
			t.Fatalf("%v, gas %d: %s, with enough %s", r.Engine(), gas, env.effects(), full.effects())
		}
		return len(env.logs)
	}
	// least is the least gas with which n marks are left.
	least := func(n int) uint64 {
		low, high := uint64(0), whole.used
		for low < high {
			if mid := (low + high) / 2; marks(mid) >= n {
				high = mid
			} else {
				low = mid + 1
			}
		}
		return low
	}
	first := least(1)
	last := whole.used
	if fn != abi.HostAbort {
		last = least(2)
		if fn == abi.HostLog {
			last = least(3)
		}
	}
	if price := uint64(leanRules.host[fn].Base); last < first+price {
		t.Errorf("%v: from mark to mark %d units, the base price is %d", r.Engine(), last-first, price)
	}
	for gas := first - 2; gas <= whole.used+2; gas += max(1, (whole.used-first)/400) {
		marks(gas)
	}
	for _, near := range []uint64{first, last, whole.used, leanBase(), 0} {
		for d := range uint64(3) {
			marks(near + d)
			marks(max(near, d) - d)
		}
	}
}

// leanBase is the price of a call before its first instruction, of a contract
// with one page.
func leanBase() uint64 { return uint64(leanRules.callBase + leanRules.callPage) }

func startsLike(whole, beginning []string) bool {
	return len(beginning) <= len(whole) && fmt.Sprint(whole[:len(beginning)]) == fmt.Sprint(beginning)
}

// An Env may run the same code again, at the top level too, while a call of it
// waits in a host function: each has an instance of its own.
func TestReentryFromTheEnv(t *testing.T) {
	for _, r := range allRuntimes(t) {
		blob := hostCall(abi.HostEmit, abi.EntryExecute, "topic", 1024, 5, 1024, 5)
		outer := &reentrantEnv{memEnv: newMemEnv()}
		outer.again = func() {
			call := callOf(blob, abi.EntryExecute, noEnv())
			call.Block = true // the slots of a single processor are taken
			if _, err := r.Call(context.Background(), call); err != nil {
				t.Error(err)
			}
		}
		res, err := r.Call(context.Background(), callOf(blob, abi.EntryExecute, outer))
		if o := outcomeOf(t, res, err); o.code != abi.OK || len(outer.events) != 1 {
			t.Errorf("%v: %+v", r.Engine(), o)
		}
	}
}

type reentrantEnv struct {
	*memEnv
	again func()
}

func (e *reentrantEnv) Emit(topic, data []byte) error {
	e.again()
	return e.memEnv.Emit(topic, data)
}

// A result that does not fit the caller's buffer, or that an Env made longer
// than any contract may return, leaves the guest's memory alone.
func TestNestedResultsTooLong(t *testing.T) {
	for _, r := range allRuntimes(t) {
		for n, want := range map[int]string{64: "", 65: "too long", abi.MaxResult + 1: "too long", 1 << 20: "too long"} {
			env := scriptEnv()
			env.nested = func(*Scope, bool, string, []byte, uint64) ([]byte, uint64, error) { return make([]byte, n), 0, nil }
			m := wasmtest.Contract(abi.HostCall)
			m.Datas = append(m.Datas, moduleData(scriptAt, scriptData), moduleData(4096, strings.Repeat("x", 64)))
			a := wasmtest.Code().I32(0)
			for _, arg := range goodArgs[abi.HostCall] {
				a.I32(int32(arg))
			}
			blob := m.Entry(abi.EntryExecute, returnStatic(a.Call(0).Mem(0x37, 0).I32(8).I32(4096).Mem(0x29, 0).Mem(0x37, 0), 0, 16)).Bytes()
			res, err := r.Call(context.Background(), callOf(blob, abi.EntryExecute, env))
			o := outcomeOf(t, res, err)
			if tooLong := strings.HasSuffix(o.out, "xxxxxxxx"); o.code != abi.OK || tooLong != (want != "") {
				t.Errorf("%v, %d bytes: %+v", r.Engine(), n, o)
			}
		}
	}
}

// sparseEnv is an Env whose scans pass over entries that are gone before each
// one that is there.
type sparseEnv struct {
	*memEnv
	gone, passed int // before each entry; in all
}

func (e *sparseEnv) Scan(prefix, start []byte) (Iterator, error) {
	it, err := e.memEnv.Scan(prefix, start)
	return &sparseIterator{Iterator: it, env: e}, err
}

type sparseIterator struct {
	Iterator
	env  *sparseEnv
	over int // since the last entry
}

func (it *sparseIterator) Next() bool {
	if it.over++; it.over <= it.env.gone {
		it.env.passed++
		return true
	}
	it.over = 0
	return it.Iterator.Next()
}

func (it *sparseIterator) Gone() bool { return it.over > 0 }

// What a scan passes over costs as much as entries, and is not walked without
// gas.
func TestScanPaysForWhatIsGone(t *testing.T) {
	s := goodScript(abi.HostScanNext)
	for _, r := range allRuntimes(t) {
		used := func(gone int, gas uint64) (outcome, int) {
			env := &sparseEnv{memEnv: scriptEnv(), gone: gone}
			call := callOf(s.blob(), s.entry, env)
			call.Gas = gas
			res, err := r.Call(context.Background(), call)
			return outcomeOf(t, res, err), env.passed
		}
		none, _ := used(0, 1<<40)
		some, passed := used(100, 1<<40)
		price := uint64(leanRules.host[abi.HostScanNext].Base)
		if some.code != abi.OK || some.out != none.out || some.used != none.used+100*price || passed != 100 {
			t.Errorf("%v: %d passed over, %+v, without %+v", r.Engine(), passed, some, none)
		}
		few, passed := used(1<<30, none.used+10*price)
		if few.code != abi.CodeOutOfGas || passed > 11+int(none.used/price) {
			t.Errorf("%v: %d passed over, %+v", r.Engine(), passed, few)
		}
	}
}
