package wasm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// hostScript is a sequence of host calls with constant arguments, and the
// entry point that makes them.
type hostScript struct {
	entry abi.Entry
	ops   []hostOp
}

type hostOp struct {
	fn   abi.HostFunc
	args []int64
}

// The memory of a script's guest: one page, with scriptData at scriptAt, and
// the results of the calls, 8 bytes each, at resultsAt.
const (
	scriptAt   = 1024
	resultsAt  = 60_000
	maxScript  = 12
	scriptData = "otherEk1k2\x00p/a missing name\xff value of a key that is there"
)

// scriptArgs are the arguments of which scripts choose: lengths, pointers to
// what the memory holds, the edges of memory and of every limit.
var scriptArgs = []int64{
	0, 0, 0, 1, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 16, 32, 33, 64, 65, 256, 257, 258,
	scriptAt, scriptAt, scriptAt + 5, scriptAt + 6, scriptAt + 8, scriptAt + 11, scriptAt + 15, scriptAt + 20,
	4095, 4096, 4097, 16384, 16385, 40_000, 64 << 10, 64<<10 + 1, 64<<10 - 1, 64<<10 - 2, 64<<10 - 5, 64<<10 - 32, 64<<10 - 31,
	1<<31 - 1, 1 << 31, 1<<32 - 1, 1<<32 - 2, 1<<32 - 32, -1, 1<<63 - 1,
}

// parseScript makes a script of any bytes.
func parseScript(data []byte) hostScript {
	next := func() int {
		if len(data) == 0 {
			return 0
		}
		b := data[0]
		data = data[1:]
		return int(b)
	}
	s := hostScript{entry: abi.Entry(next() % int(abi.EntryCount))}
	for len(data) > 0 && len(s.ops) < maxScript {
		op := hostOp{fn: abi.HostFunc(next() % int(abi.HostFuncCount))}
		for range abi.HostFuncs[op.fn].Params {
			op.args = append(op.args, scriptArgs[next()%len(scriptArgs)])
		}
		s.ops = append(s.ops, op)
	}
	return s
}

// blob is the script as a contract that imports all host functions.
func (s *hostScript) blob() []byte {
	var all []abi.HostFunc
	for fn := range abi.HostFuncCount {
		all = append(all, fn)
	}
	m := wasmtest.Contract(all...)
	m.Datas = append(m.Datas, moduleData(scriptAt, scriptData))
	a := wasmtest.Code()
	for i, op := range s.ops {
		t := abi.HostFuncs[op.fn]
		if t.Results != "" {
			a.I32(int32(resultsAt + 8*i))
		}
		for j, arg := range op.args {
			if t.Params[j] == 'l' {
				a.I64(arg)
			} else {
				a.I32(int32(arg))
			}
		}
		a.Call(uint32(op.fn))
		if t.Results == "i" {
			a.Op(0xac)
		}
		if t.Results != "" {
			a.Mem(0x37, 0)
		}
	}
	return m.Entry(s.entry, returnStatic(a, resultsAt, 8*maxScript)).Bytes()
}

// scriptEnv is what scripts meet: some state, a device, and a contract whose
// calls fail for messages that begin with E and else return what they got.
func scriptEnv() *memEnv {
	env := newMemEnv()
	env.state = map[string]string{"k1": "value", "k2": "", "p/a": "1", "p/b": strings.Repeat("2", 40), "\x00": "zero"}
	env.devices[abi.Hash{}] = []byte("record of a device")
	env.nested = func(_ *Scope, query bool, contract string, msg []byte, _ uint64) ([]byte, uint64, error) {
		if !abi.ValidName(contract) {
			return nil, 0, fmt.Errorf("called %q", contract)
		}
		if bytes.HasPrefix(msg, []byte("E")) {
			return nil, 11, abi.CodeStorageQuota
		}
		env.events = append(env.events, fmt.Sprint(contract, query, len(msg)))
		return bytes.Clone(msg), 7, nil
	}
	return env
}

// model executes a script as the ABI's documentation has it, without any of
// the host's code.
type model struct {
	env   *memEnv
	mem   []byte
	entry abi.Entry
	scans []modelScan
	code  abi.Code
	abort uint16
}

// modelScan is the rest of an open scan.
type modelScan struct{ pairs [][2]string }

func runModel(s *hostScript, env *memEnv) *model {
	m := &model{env: env, mem: make([]byte, 64<<10), entry: s.entry}
	copy(m.mem[scriptAt:], scriptData)
	copy(m.mem[wasmtest.AllocAt:], "input")
	for i, op := range s.ops {
		result := m.call(op)
		if m.code != abi.OK {
			return m
		}
		switch abi.HostFuncs[op.fn].Results {
		case "i":
			result = int64(int32(result))
			fallthrough
		case "l":
			binary.LittleEndian.PutUint64(m.mem[resultsAt+8*i:], uint64(result))
		}
	}
	return m
}

// bytes gives n bytes at ptr; outside the memory the call is over.
func (m *model) bytes(ptr, n int64) []byte {
	ptr, n = int64(uint32(ptr)), int64(uint32(n))
	if ptr+n > int64(len(m.mem)) {
		m.end(abi.CodeBadPointer)
		return nil
	}
	return m.mem[ptr : ptr+n]
}

// end ends the call with the first code given.
func (m *model) end(code abi.Code) {
	if m.code == abi.OK {
		m.code = code
	}
}

func (m *model) atMost(b []byte, limit int, code abi.Code) []byte {
	if len(b) > limit {
		m.end(code)
	}
	return b
}

func (m *model) key(ptr, n int64) []byte {
	b := m.bytes(ptr, n)
	if len(b) == 0 {
		m.end(abi.CodeKeyTooLong)
	}
	return m.atMost(b, abi.MaxKey, abi.CodeKeyTooLong)
}

// give copies value to a buffer that it fits.
func give(buf, value []byte) int64 {
	if len(value) <= len(buf) {
		copy(buf, value)
	}
	return int64(len(value))
}

// call executes a host call and returns its result.
func (m *model) call(op hostOp) int64 {
	a := op.args
	if !permitted(op.fn, m.entry) {
		m.end(abi.CodeNotAllowedHere)
		return 0
	}
	switch op.fn {
	case abi.HostStateGet, abi.HostStateSet, abi.HostStateDelete, abi.HostStateScan, abi.HostScanNext:
		return m.state(op)
	case abi.HostCall, abi.HostQuery:
		return m.nested(op)
	case abi.HostDeviceGet, abi.HostDeviceSetStatus:
		return m.device(op)
	case abi.HostEmit:
		topic := m.atMost(m.bytes(a[0], a[1]), abi.MaxTopic, abi.CodeKeyTooLong)
		data := m.atMost(m.bytes(a[2], a[3]), abi.MaxEvent, abi.CodeValueTooLong)
		if m.code == abi.OK {
			m.env.Emit(topic, data)
		}
	case abi.HostSchedule:
		msg := m.atMost(m.bytes(a[1], a[2]), abi.MaxValue, abi.CodeValueTooLong)
		if m.code == abi.OK {
			n, _ := m.env.Schedule(a[0], msg)
			return int64(n)
		}
	case abi.HostNow:
		return 1234
	case abi.HostSHA256:
		sum := sha256.Sum256(m.bytes(a[0], a[1]))
		if out := m.bytes(a[2], 32); m.code == abi.OK {
			copy(out, sum[:])
		}
	case abi.HostVerify:
		key, msg, sig := m.bytes(a[0], a[1]), m.bytes(a[2], a[3]), m.bytes(a[4], a[5])
		if m.code == abi.OK && chain.VerifySignature(key, msg, sig) {
			return 1
		}
	case abi.HostLog:
		if text := m.bytes(a[0], a[1]); m.code == abi.OK {
			m.env.Log(strings.ToValidUTF8(string(text[:min(len(text), 4096)]), "\ufffd"))
		}
	case abi.HostAbort:
		if m.bytes(a[1], a[2]); m.code == abi.OK {
			m.abort = uint16(a[0])
			m.end(abi.CodeAborted)
		}
	case abi.HostLocalGet:
		buf := m.bytes(a[0], a[1])
		if m.code != abi.OK {
			return 0
		}
		if m.env.local == nil {
			return -1
		}
		return give(buf, []byte(*m.env.local))
	case abi.HostLocalSet:
		record := m.atMost(m.bytes(a[0], a[1]), abi.MaxLocal, abi.CodeValueTooLong)
		if m.code == abi.OK {
			m.env.SetLocal(record)
		}
	}
	return 0
}

func (m *model) state(op hostOp) int64 {
	a := op.args
	switch op.fn {
	case abi.HostStateGet:
		key, buf := m.key(a[0], a[1]), m.bytes(a[2], a[3])
		value, ok := m.env.state[string(key)]
		if !ok || m.code != abi.OK {
			return -1
		}
		return give(buf, []byte(value))
	case abi.HostStateSet:
		key, value := m.key(a[0], a[1]), m.atMost(m.bytes(a[2], a[3]), abi.MaxValue, abi.CodeValueTooLong)
		if m.code == abi.OK {
			m.env.state[string(key)] = string(value)
		}
	case abi.HostStateDelete:
		if key := m.key(a[0], a[1]); m.code == abi.OK {
			delete(m.env.state, string(key))
		}
	case abi.HostStateScan:
		prefix := m.atMost(m.bytes(a[0], a[1]), abi.MaxKey, abi.CodeKeyTooLong)
		start := m.atMost(m.bytes(a[2], a[3]), abi.MaxKey, abi.CodeKeyTooLong)
		if m.code == abi.OK && len(m.scans) == 8 {
			m.end(abi.CodeTooManyScans)
		}
		return m.scan(string(prefix), string(start))
	case abi.HostScanNext:
		buf := m.bytes(a[1], a[2])
		if handle := uint32(a[0]); m.code == abi.OK && int64(handle) < int64(len(m.scans)) {
			return m.scans[handle].next(buf)
		}
		m.end(abi.CodeBadArgument)
	}
	return 0
}

// scan opens a scan over the state as it is now.
func (m *model) scan(prefix, start string) int64 {
	var sc modelScan
	for _, k := range slices.Sorted(maps.Keys(m.env.state)) {
		if strings.HasPrefix(k, prefix) && k >= start {
			sc.pairs = append(sc.pairs, [2]string{k, m.env.state[k]})
		}
	}
	m.scans = append(m.scans, sc)
	return int64(len(m.scans) - 1)
}

// next copies an entry and passes on, if it fits.
func (sc *modelScan) next(buf []byte) int64 {
	if len(sc.pairs) == 0 {
		return -1
	}
	key, value := sc.pairs[0][0], sc.pairs[0][1]
	entry := append(binary.LittleEndian.AppendUint32(nil, uint32(len(key))), key+value...)
	if len(entry) <= len(buf) {
		sc.pairs = sc.pairs[1:]
	}
	return give(buf, entry)
}

func (m *model) nested(op hostOp) int64 {
	a := op.args
	name, msg, buf := m.bytes(a[0], a[1]), m.bytes(a[2], a[3]), m.bytes(a[4], a[5])
	switch {
	case m.code != abi.OK:
		return 0
	case !abi.ValidName(string(name)):
		return -int64(abi.CodeUnknownContract)
	case len(msg) > abi.MaxTransaction:
		return -int64(abi.CodeTooLarge)
	}
	out, _, err := m.env.nested(nil, op.fn == abi.HostQuery, string(name), msg, 0)
	if err != nil {
		return -int64(err.(abi.Code))
	}
	if len(out) > len(buf) {
		return -int64(abi.CodeResultTooLong)
	}
	return give(buf, out)
}

func (m *model) device(op hostOp) int64 {
	a := op.args
	id := m.bytes(a[0], 32)
	if op.fn == abi.HostDeviceGet {
		buf := m.bytes(a[1], a[2])
		if m.code != abi.OK {
			return 0
		}
		if record, ok := m.env.devices[abi.Hash(id)]; ok {
			return give(buf, record)
		}
		return -1
	}
	m.atMost(m.bytes(a[2], a[3]), abi.MaxAbortText, abi.CodeValueTooLong)
	if m.code != abi.OK {
		return 0
	}
	if status := uint32(a[1]); status < 1 || status > 5 {
		return -int64(abi.CodeBadStatus)
	}
	m.env.statuses[abi.Hash(id)] = abi.Status(uint32(a[1]))
	return 0
}

// effects is all that an Env has seen, in one line.
func (e *memEnv) effects() string {
	all := fmt.Sprintf("%q %q %q %d %v", e.state, e.events, e.logs, e.timers, e.statuses) // maps print sorted
	if e.local != nil {
		all += fmt.Sprintf(" %q", *e.local)
	}
	return all
}

// compare runs a script on every engine: result, code, memory and effects must
// be the model's, gas the same everywhere.
func (s *hostScript) compare(t *testing.T, runtimes []*Runtime) string {
	t.Helper()
	wantEnv := scriptEnv()
	want := runModel(s, wantEnv)
	blob := s.blob()
	var used uint64
	for i, r := range runtimes {
		env := scriptEnv()
		res, mem, err := callKeeping(t, r, callOf(blob, s.entry, env))
		got := outcomeOf(t, res, err)
		if i == 0 {
			used = got.used
		}
		if got.code != want.code || got.abort != want.abort || got.used != used {
			t.Fatalf("%v, %+v: %+v, want %v and %d, gas %d", r.Engine(), s, got, want.code, want.abort, used)
		}
		if e := env.effects(); e != wantEnv.effects() || env.open != 0 {
			t.Fatalf("%v, %+v: %s with %d open scans, want %s", r.Engine(), s, e, env.open, wantEnv.effects())
		}
		if !bytes.Equal(mem, want.mem) {
			t.Fatalf("%v, %+v: the memory differs at %d", r.Engine(), s, firstDifference(mem, want.mem))
		}
	}
	return fmt.Sprintf("%v %d %d %.16x %.16x", want.code, want.abort, used, sha256.Sum256(want.mem), sha256.Sum256([]byte(wantEnv.effects())))
}

// callKeeping is Runtime.Call for one caller; it returns the memory that the
// call left, before the pool sets it back.
func callKeeping(t testing.TB, r *Runtime, call Call) (Result, []byte, error) {
	t.Helper()
	ctx := context.Background()
	c, err := r.pin(ctx, &call)
	if err != nil {
		t.Fatal(err)
	}
	pages, trap := r.precheck(c, &call)
	if trap != nil {
		r.unpin(c)
		return Result{GasUsed: min(call.Gas, uint64(c.entryPrice(&call)))}, nil, trap
	}
	in, err := r.take(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	res, err := in.frame.run(ctx, &call, pages)
	mem, _ := in.mem.Read(0, in.mem.Size())
	mem = bytes.Clone(mem)
	r.give(ctx, in, in.dirty(in.frame.written, err == nil))
	return res, mem, err
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// allRuntimes are a runtime for each engine.
func allRuntimes(t testing.TB) (list []*Runtime) {
	for _, e := range engines() {
		list = append(list, newRuntime(t, e))
	}
	return list
}

// randomScript is a script of seeded bytes.
func randomScript(seed uint64) hostScript {
	g := rand.New(rand.NewPCG(seed, 4))
	data := make([]byte, 4+g.IntN(60))
	for i := range data {
		data[i] = byte(g.Uint32())
	}
	return parseScript(data)
}

// usefulScript is a random script of calls that mostly may be made, with
// pointers and lengths that mostly fit. Golden files hold what many do under the
// first protocol versions, so it makes no others: without local records.
func usefulScript(seed uint64) hostScript {
	s := randomScript(seed)
	g := rand.New(rand.NewPCG(seed, 5))
	for i := range s.ops {
		fn := s.ops[i].fn
		for !permitted(fn, s.entry) || fn == abi.HostAbort || fn == abi.HostLocalGet || fn == abi.HostLocalSet {
			fn = abi.HostFunc(g.IntN(int(abi.HostFuncCount)))
		}
		op := hostOp{fn: fn}
		for range abi.HostFuncs[fn].Params {
			value := []int64{0, 1, 2, 2, 3, 5, 5, 8, 40}[g.IntN(9)]
			pointer := len(op.args)%2 == 0
			if len(abi.HostFuncs[fn].Params) == 3 && fn != abi.HostSHA256 { // a handle or the like comes first
				pointer = len(op.args) == 1
			}
			if pointer {
				value = []int64{scriptAt, scriptAt, scriptAt + 5, scriptAt + 6, scriptAt + 8, scriptAt + 11, 40_000, 50_000}[g.IntN(8)]
			}
			if g.IntN(100) == 0 {
				value = scriptArgs[g.IntN(len(scriptArgs))]
			}
			op.args = append(op.args, value)
		}
		if fn == abi.HostScanNext {
			op.args[0] = int64(g.IntN(2))
		}
		s.ops[i] = op
	}
	return s
}

// observingScript is a script of observe's, half of whose calls are for its
// local record.
func observingScript(seed uint64) hostScript {
	s := usefulScript(seed)
	s.entry = abi.EntryObserve
	g := rand.New(rand.NewPCG(seed, 6))
	for i := range s.ops {
		switch fn := s.ops[i].fn; {
		case g.IntN(4) == 0:
			s.ops[i] = hostOp{abi.HostLocalGet, []int64{50_000, []int64{0, 4, 40, 4096}[g.IntN(4)]}}
		case g.IntN(4) == 0 || !permitted(fn, s.entry):
			s.ops[i] = hostOp{abi.HostLocalSet, []int64{scriptAt, []int64{0, 5, 40, 4096}[g.IntN(4)]}}
		}
	}
	return s
}

func TestHostScripts(t *testing.T) {
	runtimes := allRuntimes(t)
	reached := map[string]int{}
	for seed := range uint64(400) {
		for _, s := range []hostScript{randomScript(seed), usefulScript(seed), observingScript(seed)} {
			code, _, _ := strings.Cut(s.compare(t, runtimes), " ")
			reached[code]++
		}
	}
	if reached["ok"] < 100 {
		t.Errorf("hardly a script went through: %v", reached)
	}
}

func FuzzHostScripts(f *testing.F) {
	for fn := range abi.HostFuncCount {
		f.Add([]byte{byte(abi.EntryExecute), byte(fn), 22, 9, 22, 9, 34, 16})
	}
	runtimes := allRuntimes(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := parseScript(data)
		s.compare(t, runtimes)
	})
}
