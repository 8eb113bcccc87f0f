package contracts_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/runtime/wasm"
)

// guest is one contract on the real host, over a state in memory.
type guest struct {
	t       *testing.T
	runtime *wasm.Runtime
	blob    []byte
	input   abi.Input
	env     *memory
}

// newGuest runs the module in a file of the Rust SDK's testdata.
func newGuest(t *testing.T, engine wasm.Engine, file string) *guest {
	t.Helper()
	blob, err := os.ReadFile("../sdk/rust/testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	runtime, err := wasm.New(context.Background(), wasm.Config{Engine: engine, Protocol: wasm.Protocol})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { runtime.Close(context.Background()) })
	return &guest{
		t: t, runtime: runtime, blob: blob,
		input: abi.Input{Contract: "it", Owner: abi.Hash{1}, Time: 1000},
		env:   &memory{state: map[string]string{}},
	}
}

// call runs an entry point, whose failure leaves no trace. What it answers is
// "ok" and the output in hex, or "trap", the code and the contract's own.
func (g *guest) call(entry abi.Entry, caller abi.Hash, message []byte) string {
	g.t.Helper()
	in := g.input
	in.Message = message
	if entry != abi.EntryTimer && entry != abi.EntryQuery { // which nobody signs
		in.Caller = &caller
	}
	g.env.earlier = len(g.env.events)
	before := g.env.copy()
	res, err := g.runtime.Call(context.Background(), wasm.Call{
		Code: sha256.Sum256(g.blob), Load: func() ([]byte, error) { return g.blob, nil },
		Entry: entry, Input: abi.AppendInput(nil, &in), Gas: 1 << 40, Env: g.env,
	})
	if err == nil {
		return fmt.Sprintf("ok %x", res.Output)
	}
	var trap *wasm.Trap
	if !errors.As(err, &trap) {
		g.t.Fatalf("fault of the host: %v", err)
	}
	*g.env = before
	return fmt.Sprintf("trap %d %d", trap.Code, res.AbortCode)
}

// memory is what a contract sees and changes.
type memory struct {
	state   map[string]string
	local   string // "" for none
	events  []string
	earlier int // events of earlier transactions
	timers  []string
}

func (m *memory) copy() memory {
	return memory{maps.Clone(m.state), m.local, slices.Clone(m.events), m.earlier, slices.Clone(m.timers)}
}

func (m *memory) Get(key []byte) ([]byte, bool, error) {
	v, ok := m.state[string(key)]
	return []byte(v), ok, nil
}

func (m *memory) Set(key, value []byte) error {
	m.state[string(key)] = string(value)
	return nil
}

func (m *memory) Delete(key []byte) error {
	delete(m.state, string(key))
	return nil
}

func (m *memory) Scan(prefix, start []byte) (wasm.Iterator, error) {
	r := &rows{}
	for _, k := range slices.Sorted(maps.Keys(m.state)) {
		if strings.HasPrefix(k, string(prefix)) && k >= string(start) {
			r.left = append(r.left, [2]string{k, m.state[k]})
		}
	}
	return r, nil
}

func (m *memory) Emit(topic, data []byte) error {
	if len(m.events)-m.earlier == abi.MaxEvents {
		return abi.CodeTooManyEvents
	}
	m.events = append(m.events, fmt.Sprintf("%s %x", topic, data))
	return nil
}

func (m *memory) Call(*wasm.Scope, string, []byte, uint64) ([]byte, uint64, error) {
	return nil, 0, abi.CodeUnknownContract
}

func (m *memory) Query(*wasm.Scope, string, []byte, uint64) ([]byte, uint64, error) {
	return nil, 0, abi.CodeUnknownContract
}

func (m *memory) Device(abi.Hash) ([]byte, bool, error) { return nil, false, nil }

func (m *memory) SetDeviceStatus(abi.Hash, abi.Status, []byte) error { return abi.CodeUnknownDevice }

func (m *memory) Schedule(due int64, message []byte) (uint64, error) {
	m.timers = append(m.timers, fmt.Sprintf("%d %x", due, message))
	return uint64(len(m.timers) - 1), nil
}

func (m *memory) Local() ([]byte, bool, error) { return []byte(m.local), m.local != "", nil }

func (m *memory) SetLocal(record []byte) error {
	m.local = string(record)
	return nil
}

func (m *memory) Now() (int64, bool) { return 1234, true }

func (m *memory) Log(string) {}

// rows is a scan over a copy.
type rows struct {
	at   [2]string
	left [][2]string
}

func (r *rows) Next() bool {
	if len(r.left) == 0 {
		return false
	}
	r.at, r.left = r.left[0], r.left[1:]
	return true
}

func (r *rows) Key() []byte   { return []byte(r.at[0]) }
func (r *rows) Value() []byte { return []byte(r.at[1]) }
func (r *rows) Err() error    { return nil }
func (r *rows) Close()        {}

// engines are those that this machine has.
func engines() []wasm.Engine {
	return []wasm.Engine{wasm.EngineAuto, wasm.EngineInterpreter}
}

// openRequest asks whether an account may open a locker.
func openRequest(account abi.Hash, locker string) []byte {
	return abi.AppendDecisionRequest(nil, &abi.DecisionRequest{
		Subject:  &abi.Entity{Type: "user", ID: fmt.Sprintf("%x", account)},
		Action:   abi.Action{Name: "open"},
		Resource: abi.Entity{Type: "locker", ID: locker},
	})
}

// What the template built with the first SDK runs for ever: these bytes are
// never rebuilt.
func TestLockerOfTheFirstSDK(t *testing.T) {
	alice, bob := abi.Hash{0xa1}, abi.Hash{0xb0}
	take := func(until int64) []byte { // take locker 7 until then, with a null note
		return append(cbor.AppendInt([]byte{0x84, 1, 7}, until), 0xf6)
	}
	steps := []struct {
		entry   abi.Entry
		caller  abi.Hash
		message []byte
		want    string
	}{
		{abi.EntryInit, alice, []byte{10}, "ok "},
		{abi.EntryExecute, alice, take(5000), "ok "},
		{abi.EntryExecute, bob, take(5000), "trap 150 3"},
		{abi.EntryExecute, bob, []byte{0x82, 2, 7}, "trap 150 4"},
		{abi.EntryExecute, bob, []byte{0xff}, "trap 150 1"},
		{abi.EntryQuery, bob, []byte{0x82, 1, 7}, fmt.Sprintf("ok a2015820%x02191388", alice)},
		{abi.EntryQuery, bob, []byte{0x82, 2, 0}, "ok 8107"},
		{abi.EntryDecide, alice, openRequest(alice, "7"), "ok a301f50201051903e8"},
		{abi.EntryDecide, alice, openRequest(bob, "7"), "ok a201f40202"},
		{abi.EntryDecide, alice, openRequest(alice, "door"), "ok a201f40202"},
		{abi.EntryTimer, alice, []byte{7}, "ok "}, // not over yet
		{abi.EntryMigrate, alice, []byte{7}, "ok "},
		{abi.EntryExecute, bob, []byte{0x84, 1, 8, 0x19, 0x13, 0x88, 0xf6}, "trap 150 2"},
		{abi.EntryExecute, alice, []byte{0x82, 2, 7}, "ok "},
		{abi.EntryQuery, bob, []byte{0x82, 1, 7}, "ok f6"},
	}
	for _, engine := range engines() {
		g := newGuest(t, engine, "locker-v1.wasm")
		for i, s := range steps {
			if got := g.call(s.entry, s.caller, s.message); got != s.want {
				t.Errorf("%v, step %d: %s, want %s", engine, i, got, s.want)
			}
		}
		if want := []string{fmt.Sprintf("taken 82075820%x", alice), "released 07"}; !slices.Equal(g.env.events, want) {
			t.Errorf("%v: events %q", engine, g.env.events)
		}
		if want := []string{"5000 07"}; !slices.Equal(g.env.timers, want) {
			t.Errorf("%v: timers %q", engine, g.env.timers)
		}
	}
}

// The names stay in the module, so that a trap names the contract's function.
func TestTemplateKeepsItsNames(t *testing.T) {
	blob, err := os.ReadFile("../sdk/rust/testdata/locker-v1.wasm")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(blob, []byte("locker7execute")) {
		t.Error("no name of a function")
	}
	info, err := wasm.Check(blob, abi.ProfileLean)
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Entries) != 6 || info.MemoryPages != 1 {
		t.Errorf("%v, %d pages", info.Entries, info.MemoryPages)
	}
}

// The fake host of the Rust SDK's native tests does what the host does: the
// SDK's own tests run these scripts over the fake, and both must end as the
// file says.
func TestFakeHostOfTheRustSDK(t *testing.T) {
	file, err := os.ReadFile("../sdk/rust/testdata/conformance.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(file)), "\n")
	if len(lines) < 150 {
		t.Fatalf("%d scripts", len(lines))
	}
	for _, engine := range engines() {
		g := newGuest(t, engine, "conformance.wasm")
		for i, line := range lines {
			name, rest, _ := strings.Cut(line, " ")
			script, want, _ := strings.Cut(rest, " ")
			message, err := hex.DecodeString(script)
			if err != nil {
				t.Fatal(err)
			}
			if got := g.call(entryNamed(t, name), abi.Hash(bytes.Repeat([]byte{1}, 32)), message); got != want {
				t.Errorf("%v, line %d, %s %.80s: %.200s, want %.200s", engine, i+1, name, script, got, want)
			}
		}
	}
}

func entryNamed(t *testing.T, name string) abi.Entry {
	for e := range abi.EntryCount {
		if e.String() == name {
			return e
		}
	}
	t.Fatalf("no entry point %q", name)
	return 0
}
