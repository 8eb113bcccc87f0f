package wasm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"sort"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

var (
	leanRules = protocols[Protocol][abi.ProfileLean]
	wideRules = protocols[Protocol][abi.ProfileWide]
)

// engines are those that this processor has.
func engines() []Engine {
	if compilerSupported() {
		return []Engine{EngineCompiler, EngineInterpreter}
	}
	return []Engine{EngineInterpreter}
}

func newRuntime(t testing.TB, e Engine) *Runtime { return newRuntimeWith(t, Config{Engine: e}) }

func newRuntimeWith(t testing.TB, cfg Config) *Runtime {
	t.Helper()
	r, err := New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.paranoid = true
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// callOf is a call of blob with plenty of gas.
func callOf(blob []byte, entry abi.Entry, env Env) Call {
	return Call{
		Code:  sha256.Sum256(blob),
		Load:  func() ([]byte, error) { return blob, nil },
		Entry: entry,
		Input: []byte("input"),
		Gas:   1 << 40,
		Env:   env,
	}
}

// outcome is what must be equal on both engines.
type outcome struct {
	out   string
	used  uint64
	abort uint16
	code  abi.Code
}

func outcomeOf(t testing.TB, res Result, err error) outcome {
	t.Helper()
	o := outcome{out: string(res.Output), used: res.GasUsed, abort: res.AbortCode}
	var trap *Trap
	if errors.As(err, &trap) {
		o.code = trap.Code
	} else if err != nil {
		t.Fatalf("host fault: %v", err)
	}
	return o
}

// both runs a call on every engine and requires one outcome.
func both(t *testing.T, blob []byte, entry abi.Entry, gas uint64, env func() Env) outcome {
	t.Helper()
	var first outcome
	for i, e := range engines() {
		r := newRuntime(t, e)
		call := callOf(blob, entry, env())
		call.Gas = gas
		for range 2 { // fresh, and pooled
			res, err := r.Call(context.Background(), call)
			o := outcomeOf(t, res, err)
			if i == 0 {
				first, i = o, 1
			}
			if o != first {
				t.Fatalf("%v: %+v, want %+v (%v)", e, o, first, err)
			}
		}
	}
	return first
}

// moduleData is a data segment.
func moduleData(at uint32, text string) module.Data { return module.Data{At: at, Bytes: []byte(text)} }

func noEnv() Env { return newMemEnv() }

// returnStatic is code that returns n bytes at ptr.
func returnStatic(code *wasmtest.Asm, ptr, n int64) *wasmtest.Asm { return code.I64(ptr<<32 | n) }

// memEnv is an Env over a map.
type memEnv struct {
	state    map[string]string
	events   []string
	logs     []string
	timers   int
	statuses map[abi.Hash]abi.Status
	devices  map[abi.Hash][]byte
	local    *string // nil: there is no record
	nested   func(scope *Scope, query bool, contract string, msg []byte, gas uint64) ([]byte, uint64, error)
	err      error // returned by everything that can fail
	open     int   // scans
}

func newMemEnv() *memEnv {
	return &memEnv{state: map[string]string{}, statuses: map[abi.Hash]abi.Status{}, devices: map[abi.Hash][]byte{}}
}

func (e *memEnv) Get(key []byte) ([]byte, bool, error) {
	v, ok := e.state[string(key)]
	return []byte(v), ok, e.err
}

func (e *memEnv) Set(key, value []byte) error {
	e.state[string(key)] = string(value)
	return e.err
}

func (e *memEnv) Delete(key []byte) error {
	delete(e.state, string(key))
	return e.err
}

func (e *memEnv) Scan(prefix, start []byte) (Iterator, error) {
	it := &memIterator{env: e}
	for k, v := range e.state {
		if strings.HasPrefix(k, string(prefix)) && k >= string(start) {
			it.pairs = append(it.pairs, [2]string{k, v})
		}
	}
	sort.Slice(it.pairs, func(i, j int) bool { return it.pairs[i][0] < it.pairs[j][0] })
	e.open++
	return it, e.err
}

func (e *memEnv) Emit(topic, data []byte) error {
	e.events = append(e.events, string(topic)+"="+string(data))
	return e.err
}

func (e *memEnv) Call(s *Scope, contract string, msg []byte, gas uint64) ([]byte, uint64, error) {
	return e.nested(s, false, contract, msg, gas)
}

func (e *memEnv) Query(s *Scope, contract string, msg []byte, gas uint64) ([]byte, uint64, error) {
	return e.nested(s, true, contract, msg, gas)
}

func (e *memEnv) Device(id abi.Hash) ([]byte, bool, error) {
	d, ok := e.devices[id]
	return d, ok, e.err
}

func (e *memEnv) SetDeviceStatus(id abi.Hash, s abi.Status, _ []byte) error {
	e.statuses[id] = s
	return e.err
}

func (e *memEnv) Schedule(int64, []byte) (uint64, error) {
	e.timers++
	return uint64(e.timers), e.err
}

func (e *memEnv) Now() (int64, bool) { return 1234, true }

func (e *memEnv) Local() ([]byte, bool, error) {
	if e.local == nil {
		return nil, false, e.err
	}
	return []byte(*e.local), true, e.err
}

func (e *memEnv) SetLocal(record []byte) error {
	s := string(record)
	e.local = &s
	return e.err
}

func (e *memEnv) Log(msg string) { e.logs = append(e.logs, msg) }

type memIterator struct {
	env   *memEnv
	pairs [][2]string
	at    int
}

func (it *memIterator) Next() bool    { it.at++; return it.at <= len(it.pairs) }
func (it *memIterator) Key() []byte   { return []byte(it.pairs[it.at-1][0]) }
func (it *memIterator) Value() []byte { return []byte(it.pairs[it.at-1][1]) }
func (it *memIterator) Err() error    { return it.env.err }
func (it *memIterator) Close()        { it.env.open-- }

// echo is a contract whose execute returns its input.
func echo() []byte {
	c := wasmtest.Code().Get(0).Op(0xad).I64(32).Op(0x86).Get(1).Op(0xad).Op(0x84)
	return wasmtest.Contract().Entry(abi.EntryExecute, c).Bytes()
}

func TestEcho(t *testing.T) {
	o := both(t, echo(), abi.EntryExecute, 1<<30, noEnv)
	if o.out != "input" || o.code != abi.OK || o.used == 0 {
		t.Fatalf("%+v", o)
	}
	if !bytes.HasPrefix(echo(), []byte("\x00asm")) {
		t.Fatal("no module")
	}
}
