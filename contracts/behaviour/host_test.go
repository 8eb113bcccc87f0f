package behaviour_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/contracts/behaviour"
	"github.com/seed79541315/postern/runtime/wasm"
)

// chain is one deployed behaviour contract over a map: what a ledger and a
// gateway give it, without blocks.
type chain struct {
	t       testing.TB
	runtime *wasm.Runtime
	input   abi.Input
	env     mapEnv
	// used is the gas of the last call.
	used uint64
}

var (
	owner   = abi.Hash{1}
	loader  = abi.Hash{2}
	someone = abi.Hash{3}
	device  = abi.Hash{7}
)

// start is a Tuesday, 22:13:20 UTC.
const start = 1_700_000_000_000

// runtimes are compiled into once: what tests change lies in their chains.
var runtimes = map[wasm.Engine]func() (*wasm.Runtime, error){
	wasm.EngineCompiler:    sync.OnceValues(func() (*wasm.Runtime, error) { return newRuntime(wasm.EngineCompiler) }),
	wasm.EngineInterpreter: sync.OnceValues(func() (*wasm.Runtime, error) { return newRuntime(wasm.EngineInterpreter) }),
	wasm.EngineAuto:        sync.OnceValues(func() (*wasm.Runtime, error) { return newRuntime(wasm.EngineAuto) }),
}

func newRuntime(engine wasm.Engine) (*wasm.Runtime, error) {
	return wasm.New(context.Background(), wasm.Config{Engine: engine, Protocol: wasm.Protocol})
}

func newChain(t testing.TB, engine wasm.Engine) *chain {
	t.Helper()
	runtime, err := runtimes[engine]()
	if err != nil {
		t.Fatal(err)
	}
	return &chain{
		t: t, runtime: runtime,
		input: abi.Input{Contract: "behaviour", Owner: owner, Caller: &owner, Time: start},
		env:   mapEnv{state: map[string][]byte{}, devices: map[abi.Hash]abi.Status{device: abi.StatusActive}, trusted: true},
	}
}

// call runs an entry point as the ledger does: a trap undoes its changes.
func (c *chain) call(entry abi.Entry, message []byte) ([]byte, uint16, error) {
	c.t.Helper()
	before, devices := maps.Clone(c.env.state), maps.Clone(c.env.devices)
	in := c.input
	in.Message = message
	c.env.reads, c.env.now = 0, c.input.Time
	res, err := c.runtime.Call(context.Background(), wasm.Call{
		Code:  contracts.Behaviour().Hash,
		Load:  func() ([]byte, error) { return contracts.Behaviour().Wasm, nil },
		Entry: entry, Input: abi.AppendInput(nil, &in), Gas: 1 << 40, Env: &c.env,
	})
	c.used = res.GasUsed
	if err != nil {
		c.env.state, c.env.devices = before, devices
	}
	var trap *wasm.Trap
	if err != nil && !errors.As(err, &trap) {
		c.t.Fatalf("fault of the host: %v", err)
	}
	return res.Output, res.AbortCode, err
}

func (c *chain) must(entry abi.Entry, message []byte) []byte {
	c.t.Helper()
	out, code, err := c.call(entry, message)
	if err != nil {
		c.t.Fatalf("%v: %v (%v)", entry, err, behaviour.Code(code))
	}
	return out
}

// refuse runs a message that must be refused with a code and change nothing.
func (c *chain) refuse(want behaviour.Code, entry abi.Entry, message []byte) {
	c.t.Helper()
	before := maps.Clone(c.env.state)
	_, code, err := c.call(entry, message)
	if err == nil || behaviour.Code(code) != want {
		c.t.Fatalf("%v: %v, %v; want %v", entry, err, behaviour.Code(code), want)
	}
	if !maps.EqualFunc(before, c.env.state, bytes.Equal) {
		c.t.Fatal("a refused message changed the state")
	}
}

// load writes and activates a profile as version base+1, and gives it to the
// device.
func (c *chain) load(p *behaviour.Profile, base uint32) {
	c.t.Helper()
	messages, err := p.Messages("it", base+1, base)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, m := range messages {
		if len(m) > 32<<10 {
			c.t.Fatalf("a message of %d bytes", len(m))
		}
		c.must(abi.EntryExecute, m)
	}
	c.must(abi.EntryExecute, behaviour.BindDevice(device, "it"))
}

func (c *chain) site(s behaviour.Site) {
	c.t.Helper()
	m, err := s.Message()
	if err != nil {
		c.t.Fatal(err)
	}
	c.must(abi.EntryExecute, m)
}

// observe hands an observation to the contract at the chain's time, in the
// device's name, as a gateway does.
func (c *chain) observe(kind abi.ObservationKind, payload []byte) abi.Judgement {
	c.t.Helper()
	defer func(in abi.Input) { c.input = in }(c.input)
	c.input.Caller = &device
	c.input.Device, _, _ = c.env.Device(device)
	o := abi.Observation{Kind: kind, Device: device, Time: c.input.Time, Payload: payload}
	return c.judgement(c.must(abi.EntryObserve, abi.AppendObservation(nil, &o)))
}

// evidence has validators judge what the device signed at a time.
func (c *chain) evidence(kind abi.ObservationKind, at int64, payload []byte) abi.Judgement {
	c.t.Helper()
	c.input.Evidence = &device
	defer func() { c.input.Evidence = nil }()
	o := abi.Observation{Kind: kind, Device: device, Time: at, Payload: payload}
	return c.judgement(c.must(abi.EntryExecute, abi.AppendObservation(nil, &o)))
}

func (c *chain) judgement(out []byte) abi.Judgement {
	c.t.Helper()
	j, err := abi.ParseJudgement(out)
	if err != nil {
		c.t.Fatal(err)
	}
	return j
}

// runTimers runs timers, and those they schedule, until none is left.
func (c *chain) runTimers() {
	for len(c.env.timers) > 0 {
		message := c.env.timers[0]
		c.env.timers = c.env.timers[1:]
		c.must(abi.EntryTimer, message)
	}
}

func mudOf(t testing.TB, name string) *behaviour.MUD {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("testdata", "mud", name))
	if err != nil {
		t.Fatal(err)
	}
	m, err := behaviour.ParseMUD(src)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return m
}

// mapEnv is the state, devices and local record that the contract sees.
type mapEnv struct {
	state   map[string][]byte
	local   []byte
	devices map[abi.Hash]abi.Status
	reason  string
	now     int64
	trusted bool
	reads   int
	timers  [][]byte
	events  []string
}

func (e *mapEnv) Get(key []byte) ([]byte, bool, error) {
	e.reads++
	v, ok := e.state[string(key)]
	return v, ok, nil
}

func (e *mapEnv) Set(key, value []byte) error {
	e.state[string(key)] = bytes.Clone(value)
	return nil
}

func (e *mapEnv) Delete(key []byte) error {
	delete(e.state, string(key))
	return nil
}

func (e *mapEnv) Scan(prefix, start []byte) (wasm.Iterator, error) {
	it := &mapIterator{state: e.state, at: -1}
	for k := range e.state {
		if strings.HasPrefix(k, string(prefix)) && k >= string(start) {
			it.keys = append(it.keys, k)
		}
	}
	slices.Sort(it.keys)
	it.state = maps.Clone(e.state)
	return it, nil
}

func (e *mapEnv) Local() ([]byte, bool, error) { return e.local, e.local != nil, nil }

func (e *mapEnv) SetLocal(record []byte) error {
	e.local = bytes.Clone(record)
	return nil
}

func (e *mapEnv) Emit(topic, _ []byte) error {
	e.events = append(e.events, string(topic))
	return nil
}

func (e *mapEnv) Call(*wasm.Scope, string, []byte, uint64) ([]byte, uint64, error) {
	return nil, 0, abi.CodeUnknownContract
}

func (e *mapEnv) Query(*wasm.Scope, string, []byte, uint64) ([]byte, uint64, error) {
	return nil, 0, abi.CodeUnknownContract
}

// Device is a record {2: "ACME", 3: "M1", 5: status}.
func (e *mapEnv) Device(id abi.Hash) ([]byte, bool, error) {
	status, ok := e.devices[id]
	if !ok {
		return nil, false, nil
	}
	b := cbor.AppendText(cbor.AppendUint(cbor.AppendMap(nil, 3), 2), "ACME")
	b = cbor.AppendText(cbor.AppendUint(b, 3), "M1")
	return cbor.AppendUint(cbor.AppendUint(b, 5), uint64(status)), true, nil
}

func (e *mapEnv) SetDeviceStatus(id abi.Hash, status abi.Status, reason []byte) error {
	if _, ok := e.devices[id]; !ok {
		return abi.CodeUnknownDevice
	}
	e.devices[id], e.reason = status, string(reason)
	return nil
}

func (e *mapEnv) Schedule(_ int64, message []byte) (uint64, error) {
	e.timers = append(e.timers, bytes.Clone(message))
	return uint64(len(e.timers)), nil
}

func (e *mapEnv) Now() (int64, bool) { return e.now, e.trusted }

func (e *mapEnv) Log(string) {}

type mapIterator struct {
	state map[string][]byte
	keys  []string
	at    int
}

func (it *mapIterator) Next() bool    { it.at++; return it.at < len(it.keys) }
func (it *mapIterator) Key() []byte   { return []byte(it.keys[it.at]) }
func (it *mapIterator) Value() []byte { return it.state[it.keys[it.at]] }
func (it *mapIterator) Err() error    { return nil }
func (it *mapIterator) Close()        {}
