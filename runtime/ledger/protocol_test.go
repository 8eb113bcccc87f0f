package ledger

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/wasm"
)

// growWasm is testdata/grow.wat: a contract whose price versions differ in.
//
//go:embed testdata/grow.wasm
var growWasm []byte

// growMore is how much dearer it is since version 2.
const growMore = 5_000

// firstVersion is a genesis of protocol version 1.
func firstVersion(change func(*chain.Genesis)) []byte {
	return testGenesis(func(g *chain.Genesis) {
		g.Params.Protocol = 1
		if change != nil {
			change(g)
		}
	})
}

// raised is a proposal of the next protocol version.
func (w *world) raised() *chain.Propose {
	p := record(w, chain.ParamsKey(), chain.ParseParams)
	p.Protocol++
	return &chain.Propose{Kind: chain.ProposeParams, Args: p.Append(nil), Reason: "prices as measured"}
}

// deployGrow makes a contract of growWasm, active at once.
func (w *world) deployGrow(name string) abi.Hash {
	w.t.Helper()
	hash := w.upload(developer, growWasm)
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: name, Code: hash})
	w.tickOver()
	return hash
}

func wantUnknownVersion(t *testing.T, name string, err error, parts ...string) {
	t.Helper()
	wantCode(t, name, err, abi.CodeUnknownVersion)
	for _, part := range parts {
		if err != nil && !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v does not say %q", name, err, part)
		}
	}
}

// A chain that begins with rules that this program does not know is not begun.
func TestGenesisOfALaterProtocol(t *testing.T) {
	later := chain.Protocol + 1
	_, err := Init(nil, testGenesis(func(g *chain.Genesis) { g.Params.Protocol = uint64(later) }))
	wantUnknownVersion(t, "genesis", err, fmt.Sprint("protocol version ", later), fmt.Sprint("up to ", chain.Protocol))
}

// What the contract host and the chain's formats know is the same.
func TestOneNewestProtocol(t *testing.T) {
	if chain.Protocol != wasm.Protocol {
		t.Errorf("package chain knows versions up to %d, package wasm up to %d", chain.Protocol, wasm.Protocol)
	}
}

// A block that moves the chain to rules that a program does not know stops the
// program before the block is stored: its ledger ends below, it goes on
// answering if it is started again, and a newer program goes on from there.
func TestOlderProgramStopsBeforeTheChange(t *testing.T) {
	leader := worldOn(t, firstVersion(nil), wasm.Config{})
	older := worldOn(t, leader.genesis, wasm.Config{Protocol: 1})
	leader.deployGrow("c")
	leader.must(validator, chain.OpPropose, leader.raised())
	leader.run(owner, "c", nil)
	change := leader.l.Head().Height - 1
	for h := uint64(1); h < change; h++ {
		older.commit(leader.blockAt(h))
	}
	before := older.l.Head()
	for range 2 {
		if err := older.l.Verify(t.Context(), leader.blockAt(change)); err != nil {
			t.Errorf("the rules by which the change is made are known: %v", err)
		}
		err := older.l.Commit(t.Context(), leader.blockAt(change), nil)
		wantUnknownVersion(t, "the block of the change", err, "protocol version 2", "up to 1", "newer program", "nothing is lost")
		if older.l.Head() != before {
			t.Fatalf("the ledger ends at %d, not at %d", older.l.Head().Height, before.Height)
		}
		older.reopen()
	}
	if _, _, err := older.l.Query(t.Context(), "c", nil); err != nil {
		t.Errorf("the older program no longer answers at its height: %v", err)
	}
	newer, err := wasm.New(t.Context(), wasm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer newer.Close(context.Background())
	old := older.runtime
	older.runtime = newer
	older.reopen()
	for h := change; h <= leader.l.Head().Height; h++ {
		older.commit(leader.blockAt(h))
	}
	if older.l.Head() != leader.l.Head() {
		t.Error("the newer program did not come to the same head")
	}
	older.runtime = old
	_, err = Open(t.Context(), Config{Store: older.store, Runtime: old, Logger: discard, Clock: older.l.cfg.Clock})
	wantUnknownVersion(t, "an older program on a newer chain", err, "protocol version 2", "up to 1")
}

// versioned watches which version calls ran by, and what they used.
type versioned struct {
	mu    sync.Mutex
	calls []versionedCall
}

type versionedCall struct {
	entry           abi.Entry
	height, version uint64
	used            uint64
}

func (v *versioned) trace(call *wasm.Call, res *wasm.Result, _ error) {
	in, err := abi.ParseInput(call.Input)
	if err != nil {
		panic(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls = append(v.calls, versionedCall{call.Entry, in.Height, call.Protocol, res.GasUsed})
}

// A chain changes its version with contracts deployed before: the block of the
// change runs by the old rules to its end, the next by the new ones, whatever
// the engine; decisions and queries go by the version of their own height, also
// those that began before the change and end after it.
func TestChangeOfVersion(t *testing.T) {
	seen := &versioned{}
	w := worldOn(t, firstVersion(nil), wasm.Config{Trace: seen.trace})
	w.deployGrow("c")
	w.must(operator, chain.OpBind, &chain.Bind{Domain: "d", Contract: "c"})
	w.enrol("lock", nil)
	stop, asked := make(chan struct{}), sync.WaitGroup{}
	for range 2 {
		asked.Go(func() { w.askUntil(stop) })
	}
	w.askOnce() // those beside may come too late
	call := &chain.Call{Contract: "c"}
	w.block(w.tx(owner, chain.OpCall, call), w.tx(validator, chain.OpPropose, w.raised()), w.tx(owner, chain.OpCall, call))
	change := w.l.Head().Height
	w.must(owner, chain.OpCall, call)
	w.must(owner, chain.OpCall, call)
	close(stop)
	asked.Wait()
	w.askOnce()
	for h := uint64(1); h <= w.l.Head().Height; h++ {
		want := uint64(1)
		if h > change {
			want = 2
		}
		if got := w.blockAt(h).Header.Protocol; got != want {
			t.Errorf("block %d is of version %d, want %d", h, got, want)
		}
	}
	seen.check(t, change)
	for _, engine := range []wasm.Engine{wasm.EngineAuto, wasm.EngineInterpreter} {
		other := worldOn(t, w.genesis, wasm.Config{Engine: engine})
		for h := uint64(1); h <= w.l.Head().Height; h++ {
			other.commit(w.blockAt(h))
		}
		if other.l.Head() != w.l.Head() {
			t.Errorf("%v came to another head", engine)
		}
	}
}

// askUntil asks for decisions and queries until stop is closed.
func (w *world) askUntil(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			w.askOnce()
		}
	}
}

func (w *world) askOnce() {
	if a := w.l.Decide(context.Background(), abi.Caller{Key: person("lock").Public()}, "d", ask("unlock", "lock", "door")); !a.Permit {
		w.t.Errorf("decision: %v", a.Code)
	}
	if _, _, err := w.l.Query(context.Background(), "c", nil); err != nil {
		w.t.Errorf("query: %v", err)
	}
}

// check compares each call's version with that of its height, and its gas with
// that of the version.
func (v *versioned) check(t *testing.T, change uint64) {
	t.Helper()
	used := map[[2]uint64]map[uint64]bool{} // by entry point and version
	for _, c := range v.calls {
		want := uint64(1)
		if c.height > change || c.height == change && (c.entry == abi.EntryDecide || c.entry == abi.EntryQuery) {
			want = 2
		}
		if c.version != want {
			t.Errorf("%v at height %d ran by version %d, want %d", c.entry, c.height, c.version, want)
		}
		key := [2]uint64{uint64(c.entry), c.version}
		if used[key] == nil {
			used[key] = map[uint64]bool{}
		}
		used[key][c.used] = true
	}
	for _, entry := range []abi.Entry{abi.EntryExecute, abi.EntryQuery, abi.EntryDecide} {
		before, after := used[[2]uint64{uint64(entry), 1}], used[[2]uint64{uint64(entry), 2}]
		if len(before) == 0 || len(after) == 0 {
			t.Errorf("%v ran by %d and %d versions of its price", entry, len(before), len(after))
		}
		for gas := range after {
			if !before[gas-growMore] {
				t.Errorf("%v used %d by version 2, and by version 1 one of %v", entry, gas, before)
			}
		}
	}
}

// While a proposal of the next version is open, its contracts are compiled for
// it, those that wait for their activation included; a restart begins again.
// The change meets the waiting code, whose init then runs by the new rules.
func TestCompiledBeforeTheChange(t *testing.T) {
	seen := &versioned{}
	w := worldOn(t, firstVersion(council(2, func(g *chain.Genesis) { g.Params.ActivationDelay = 60_000 })), wasm.Config{Trace: seen.trace})
	active := w.upload(developer, plainWasm)
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "active", Code: active})
	w.tickOver()
	waiting := w.upload(developer, growWasm)
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "waiting", Code: waiting})
	w.must(developer, chain.OpUpgrade, &chain.Upgrade{Name: "active", Code: waiting})
	runUntil := func(done func() bool) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.l.Run(ctx) }()
		for !done() {
			select {
			case err := <-ended:
				t.Fatalf("Run ended: %v", err)
			default:
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	runUntil(func() bool { return w.l.runtime.Ready(1, active) && w.l.runtime.Ready(1, waiting) })
	if w.l.runtime.Ready(2, active) || w.l.runtime.Ready(2, waiting) {
		t.Fatal("compiled for a version that nobody proposed")
	}
	number := w.put(member(1), w.raised())
	ready := func() bool { return w.l.runtime.Ready(2, active) && w.l.runtime.Ready(2, waiting) }
	w.reopen()
	runUntil(ready)
	w.must(member(2), chain.OpApprove, &chain.Vote{Proposal: number})
	change := w.l.Head().Height
	for range 2 {
		if _, ok := w.l.NextTimer(); ok {
			w.tickOver()
		}
	}
	for _, c := range []string{"active", "waiting"} {
		r := record(w, chain.ContractKey(c), chain.ParseContract)
		if r.Status != chain.ContractActive || r.Code != sha256.Sum256(growWasm) {
			t.Errorf("contract %s: %v, code %x", c, r.Status, r.Code[:8])
		}
	}
	inits := 0
	for _, c := range seen.calls {
		if c.entry == abi.EntryInit && c.height > change {
			inits++
			if c.version != 2 {
				t.Errorf("init at height %d ran by version %d", c.height, c.version)
			}
		}
	}
	if inits != 1 {
		t.Errorf("%d contracts began after the change", inits)
	}
}

// A proposal of a version that this program does not know has nothing compiled.
func TestProposalOfAnUnknownVersion(t *testing.T) {
	w := newWorld(t, council(2, nil))
	w.must(member(1), chain.OpPropose, w.raised())
	if len(w.l.versions) != 0 {
		t.Error("an unknown version is to be compiled for")
	}
}

// A block that took long to make, for codes that had to be compiled, is made
// once more with a time that the other validators will accept.
func TestSlowBlockIsMadeAgain(t *testing.T) {
	w := newWorld(t, nil)
	for _, c := range []struct{ step, want int64 }{{slowBlock / 2, 0}, {slowBlock + 1, slowBlock + 1}} {
		began := max(w.now, w.l.Head().Time+1)
		asked := int64(0)
		w.l.cfg.Clock = func() (int64, bool) {
			asked++
			return began + (asked-1)*c.step, true
		}
		raw := w.tx(owner, chain.OpCall, &chain.Call{Contract: "none"})
		asked = 0
		k, err := w.l.Propose(t.Context(), began, [][]byte{raw})
		if err != nil {
			t.Fatal(err)
		}
		if got := k.Header.Time - began; got != c.want {
			t.Errorf("after %d ms the block's time is %d ms later, want %d", c.step, got, c.want)
		}
		w.commit(k)
	}
}
