package fake

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm"
)

// buildGuest builds a guest's package as docs tell authors to, once a test
// process.
var buildGuest = func() func(t testing.TB, pkg string) []byte {
	var mu sync.Mutex
	built := map[string][]byte{}
	return func(t testing.TB, pkg string) []byte {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if built[pkg] == nil {
			built[pkg] = goBuild(t, pkg)
		}
		return built[pkg]
	}
}()

func goBuild(t testing.TB, pkg string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "guest.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-w -buildid=", "-buildmode=c-shared", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", pkg, err, text)
	}
	blob, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

func engines() []wasm.Engine {
	r, err := wasm.New(context.Background(), wasm.Config{Protocol: wasm.Protocol, Profile: abi.ProfileWide})
	if err == nil && r.Engine() == wasm.EngineCompiler {
		return []wasm.Engine{wasm.EngineCompiler, wasm.EngineInterpreter}
	}
	return []wasm.Engine{wasm.EngineInterpreter}
}

// plenty is gas that no test uses up.
const plenty = 1 << 40

// node is the real host with a chain of package fake as its state.
type node struct {
	runtime *wasm.Runtime
	gas     uint64      // of the next call
	outer   *wasm.Scope // around it, nil at the top level
	used    uint64      // by the last call
	trap    *wasm.Trap  // the last one
}

func newNode(t testing.TB, e wasm.Engine) *node {
	t.Helper()
	r, err := wasm.New(context.Background(), wasm.Config{Engine: e, Protocol: wasm.Protocol, Profile: abi.ProfileWide, CodeBytes: 128 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &node{runtime: r, gas: plenty}
}

// entries are those of a module, run by the real host.
func (n *node) entries(t testing.TB, blob []byte) (e entries) {
	t.Helper()
	info, err := wasm.Check(blob, abi.ProfileWide)
	if err != nil {
		t.Fatal(err)
	}
	code := abi.Hash(sha256.Sum256(blob))
	if err := n.runtime.Compile(context.Background(), wasm.Protocol, code, blob); err != nil {
		t.Fatal(err)
	}
	for _, entry := range info.Entries {
		e[entry] = func(r *call) ([]byte, error) { return n.enter(r, code, blob) }
	}
	return e
}

// enter runs a call on the real host.
func (n *node) enter(r *call, code abi.Hash, blob []byte) ([]byte, error) {
	res, err := n.runtime.Call(context.Background(), wasm.Call{
		Code: code, Load: func() ([]byte, error) { return blob, nil },
		Entry: r.entry, Input: abi.AppendInput(nil, r.input), Gas: n.gas, Env: &env{r, n}, Outer: n.outer,
	})
	n.used = res.GasUsed
	if err == nil {
		return res.Output, nil
	}
	trap, ok := errors.AsType[*wasm.Trap](err)
	if !ok {
		return nil, err
	}
	n.trap = trap
	return nil, &Failure{Code: trap.Code, Abort: res.AbortCode, Text: trap.Text}
}

// env is the state behind a call on the real host: the chain without the
// checks that package fake makes, since the host makes its own.
type env struct {
	call *call
	node *node
}

func (e *env) Get(key []byte) ([]byte, bool, error) {
	v, ok := e.call.contract.state[string(key)]
	return []byte(v), ok, nil
}

func (e *env) Set(key, value []byte) error {
	e.call.contract.state[string(key)] = string(value)
	return nil
}

func (e *env) Delete(key []byte) error {
	delete(e.call.contract.state, string(key))
	return nil
}

func (e *env) Scan(prefix, start []byte) (wasm.Iterator, error) {
	it := &iterator{}
	for _, k := range slices.Sorted(maps.Keys(e.call.contract.state)) {
		if strings.HasPrefix(k, string(prefix)) && k >= string(start) {
			it.rest = append(it.rest, entry{k, e.call.contract.state[k]})
		}
	}
	return it, nil
}

type iterator struct {
	rest []entry
	now  entry
}

func (it *iterator) Next() bool {
	if len(it.rest) == 0 {
		return false
	}
	it.now, it.rest = it.rest[0], it.rest[1:]
	return true
}

func (it *iterator) Key() []byte   { return []byte(it.now.key) }
func (it *iterator) Value() []byte { return []byte(it.now.value) }
func (it *iterator) Err() error    { return nil }
func (it *iterator) Close()        {}

func (e *env) Local() ([]byte, bool, error) {
	record, ok := e.call.contract.local[*e.call.input.Caller]
	return []byte(record), ok, nil
}

func (e *env) SetLocal(record []byte) error {
	e.call.contract.local[*e.call.input.Caller] = string(record)
	return nil
}

// Emit has the ledger's limit: how many.
func (e *env) Emit(topic, data []byte) error {
	ch := e.call.contract.chain
	if len(ch.Events)-e.call.events == abi.MaxEvents {
		return abi.CodeTooManyEvents
	}
	ch.Events = append(ch.Events, Event{e.call.contract.name, string(topic), slices.Clone(data)})
	return nil
}

func (e *env) Call(scope *wasm.Scope, contract string, msg []byte, gas uint64) ([]byte, uint64, error) {
	before := e.call.contract.chain.snapshot()
	out, used, err := e.nested(scope, abi.EntryExecute, contract, msg, gas)
	if err != nil {
		e.call.contract.chain.restore(before)
	}
	return out, used, err
}

func (e *env) Query(scope *wasm.Scope, contract string, msg []byte, gas uint64) ([]byte, uint64, error) {
	return e.nested(scope, abi.EntryQuery, contract, msg, gas)
}

// nested runs another contract, whose entry must be one of a node's.
func (e *env) nested(scope *wasm.Scope, entry abi.Entry, contract string, msg []byte, gas uint64) ([]byte, uint64, error) {
	n := e.node
	outerGas, outer := n.gas, n.outer
	n.gas, n.outer, n.used = gas, scope, 0
	defer func() { n.gas, n.outer = outerGas, outer }()
	out, code := e.call.nested(entry, contract, msg)
	if code != abi.OK {
		return nil, n.used, code
	}
	return out, n.used, nil
}

func (e *env) Device(id abi.Hash) ([]byte, bool, error) {
	record, ok := e.call.Device(&id)
	return record, ok, nil
}

func (e *env) SetDeviceStatus(id abi.Hash, status abi.Status, reason []byte) error {
	code := e.call.contract.chain.setStatus(e.call.contract.owner, id, status, string(reason))
	if code != abi.OK {
		return code
	}
	return nil
}

func (e *env) Schedule(due int64, msg []byte) (uint64, error) {
	number, code := e.call.contract.chain.schedule(e.call.contract.name, due, msg)
	if code != abi.OK {
		return 0, code
	}
	return number, nil
}

func (e *env) Now() (int64, bool) {
	ch := e.call.contract.chain
	return ch.Time + ch.Clock, !ch.Untrusted
}

func (e *env) Log(msg string) {
	ch := e.call.contract.chain
	ch.Logs = append(ch.Logs, msg)
}
