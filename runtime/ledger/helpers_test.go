package ledger

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"log/slog"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/storage"
)

// scriptWasm is testdata/script.rs: a contract that does what it is told.
//
//go:embed testdata/script.wasm
var scriptWasm []byte

var discard = slog.New(slog.DiscardHandler)

// sharedRuntime is one contract host for all tests: it holds no state of a
// chain, and compiling takes longer than most tests.
var sharedRuntime = sync.OnceValues(func() (*wasm.Runtime, error) {
	return wasm.New(context.Background(), wasm.Config{Protocol: chain.Protocol, Logger: discard})
})

func testRuntime(t testing.TB) *wasm.Runtime {
	t.Helper()
	r, err := sharedRuntime()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// person is a key made of its name.
type person string

func (p person) private() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(p))
	return ed25519.NewKeyFromSeed(seed[:])
}

func (p person) Public() []byte { return p.private().Public().(ed25519.PublicKey) }

func (p person) Sign(m []byte) ([]byte, error) { return ed25519.Sign(p.private(), m), nil }

func (p person) id() abi.Hash { return chain.AccountID(p.Public()) }

// Who lives in a test's chain.
const (
	operator  person = "operator"
	developer person = "developer"
	owner     person = "owner"
	other     person = "other owner"
	authority person = "authority"
	door      person = "enforcement point"
	nobody    person = "account without roles"
	validator person = "validator"
)

// start is the time of the test chains' genesis, in ms.
const start = 1_800_000_000_000

func testGenesis(change func(*chain.Genesis)) []byte {
	g := chain.Genesis{Name: "test", Time: start, Params: chain.DefaultParams(), Validators: chain.ValidatorSet{{ID: 1, Key: validator.Public()}}}
	for _, a := range []struct {
		who   person
		roles abi.Role
	}{
		{operator, abi.RoleOperator}, {developer, abi.RoleDeveloper}, {owner, abi.RoleOwner}, {other, abi.RoleOwner | abi.RoleDeveloper},
		{authority, abi.RoleAuthority}, {door, abi.RoleEnforcementPoint}, {nobody, 0}, {validator, abi.RoleValidator},
	} {
		g.Accounts = append(g.Accounts, chain.Grant{Key: a.who.Public(), Roles: a.roles})
	}
	if change != nil {
		change(&g)
	}
	return g.Append(nil)
}

// world is a ledger with a clock of its own.
type world struct {
	t       testing.TB
	cfg     storage.Config
	store   *storage.Store
	l       *Ledger
	genesis []byte
	clock   sync.RWMutex // held to set now while others may ask the ledger
	now     int64
	trusted bool
	stale   uint64
	submit  func(context.Context, []byte) error
	salt    int64
	runtime *wasm.Runtime // nil: the shared one
}

func newWorld(t testing.TB, change func(*chain.Genesis)) *world {
	t.Helper()
	w := &world{t: t, genesis: testGenesis(change), now: start, trusted: true}
	w.cfg = storage.Config{Dir: "home", FS: vfs.NewMem(), Logger: discard}
	w.open(true)
	t.Cleanup(func() { w.close() })
	return w
}

// worldOn is a node of the chain with a contract host of its own.
func worldOn(t testing.TB, genesis []byte, cfg wasm.Config) *world {
	t.Helper()
	cfg.Logger = discard
	r, err := wasm.New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, genesis: genesis, now: start, trusted: true, runtime: r}
	w.cfg = storage.Config{Dir: "home", FS: vfs.NewMem(), Logger: discard}
	w.open(true)
	t.Cleanup(func() {
		w.close()
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) open(fresh bool) {
	w.t.Helper()
	var err error
	if w.store, err = storage.Open(w.cfg); err != nil {
		w.t.Fatal(err)
	}
	if fresh {
		if _, err = Init(w.store, w.genesis); err != nil {
			w.t.Fatal(err)
		}
	}
	if w.runtime == nil {
		w.runtime = testRuntime(w.t)
	}
	w.l, err = Open(context.Background(), Config{
		Store: w.store, Runtime: w.runtime, Logger: discard,
		Clock: func() (int64, bool) {
			w.clock.RLock()
			defer w.clock.RUnlock()
			return w.now, w.trusted
		},
		Staleness: func() uint64 { return w.stale },
		Submit:    w.submit,
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) close() {
	w.t.Helper()
	if err := w.store.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// reopen restarts the node.
func (w *world) reopen() {
	w.t.Helper()
	w.close()
	w.open(false)
}

type argument interface{ Append([]byte) []byte }

// tx signs a transaction with a window, different from all others.
func (w *world) tx(by person, op chain.Op, a argument) []byte {
	w.salt++
	gas := uint64(2_000_000)
	if op == chain.OpDeploy {
		gas = 15_000_000
	}
	return w.sign(by, chain.Body{Op: op, Args: a.Append(nil), Gas: gas + uint64(w.salt)})
}

// sign fills in chain, window and gas where they are zero.
func (w *world) sign(by person, b chain.Body) []byte {
	w.t.Helper()
	if b.Chain == (abi.Hash{}) {
		b.Chain = w.l.ChainID()
	}
	if b.ValidUntil == 0 && b.Sequence == 0 {
		b.ValidUntil = max(w.now, w.l.Head().Time) + 60_000
	}
	if b.Gas == 0 {
		b.Gas = 5_000_000
	}
	raw, err := chain.SignTx(&b, by)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

// block proposes and commits a block and returns its outcomes.
func (w *world) block(raws ...[]byte) []chain.Outcome {
	w.t.Helper()
	k, err := w.l.Propose(context.Background(), w.now, raws)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(k.Txs) != len(raws) {
		w.t.Fatalf("%d of %d transactions were proposed", len(k.Txs), len(raws))
	}
	return w.commit(k)
}

func (w *world) commit(k *chain.Block) []chain.Outcome {
	w.t.Helper()
	if err := w.l.Commit(context.Background(), k, nil); err != nil {
		w.t.Fatal(err)
	}
	return w.outcomes(k.Header.Height)
}

func (w *world) outcomes(height uint64) []chain.Outcome {
	w.t.Helper()
	_, _, raw, err := w.l.Block(height)
	if err != nil {
		w.t.Fatal(err)
	}
	encoded, err := chain.ParseOutcomes(raw)
	if err != nil {
		w.t.Fatal(err)
	}
	list := make([]chain.Outcome, len(encoded))
	for i, b := range encoded {
		if list[i], err = chain.ParseOutcome(b); err != nil {
			w.t.Fatal(err)
		}
	}
	return list
}

// do runs one transaction in a block of its own; its outcome is the last.
func (w *world) do(by person, op chain.Op, a argument) chain.Outcome {
	w.t.Helper()
	list := w.block(w.tx(by, op, a))
	return list[len(list)-1]
}

// must is do for what has to succeed.
func (w *world) must(by person, op chain.Op, a argument) chain.Outcome {
	w.t.Helper()
	o := w.do(by, op, a)
	w.want(o, abi.OK)
	return o
}

func (w *world) want(o chain.Outcome, code abi.Code) {
	w.t.Helper()
	if o.Code != code {
		w.t.Fatalf("outcome is %v, want %v", o.Code, code)
	}
}

// find reads a record at the head.
func find[T any](w *world, key []byte, parse func([]byte) (T, error)) (T, bool) {
	w.t.Helper()
	v, err := w.store.View()
	if err != nil {
		w.t.Fatal(err)
	}
	defer v.Release()
	x, ok, err := load(cold{v}, key, parse)
	if err != nil {
		w.t.Fatal(err)
	}
	return x, ok
}

// record reads a record that must be there.
func record[T any](w *world, key []byte, parse func([]byte) (T, error)) T {
	w.t.Helper()
	x, ok := find(w, key, parse)
	if !ok {
		w.t.Fatalf("there is no record %x", key)
	}
	return x
}

func raw(b []byte) ([]byte, error) { return b, nil }

// upload brings a code to the ledger, all but the deployment.
func (w *world) upload(by person, blob []byte) abi.Hash {
	w.t.Helper()
	hash := abi.Hash(sha256.Sum256(blob))
	w.must(by, chain.OpUpload, &chain.Upload{Code: hash, Length: uint64(len(blob))})
	for i := 0; i*abi.MaxChunk < len(blob); i++ {
		w.must(by, chain.OpChunk, &chain.Chunk{Code: hash, Index: uint64(i), Data: blob[i*abi.MaxChunk : min(len(blob), (i+1)*abi.MaxChunk)]})
	}
	return hash
}

// deploy makes contracts of the script and activates them.
func (w *world) deploy(by person, names ...string) {
	w.t.Helper()
	hash := abi.Hash(sha256.Sum256(scriptWasm))
	if _, there := find(w, chain.CodeKey(hash), raw); !there {
		w.upload(by, scriptWasm)
	}
	for _, name := range names {
		w.must(by, chain.OpDeploy, &chain.Deploy{Name: name, Code: hash})
	}
	w.tickOver()
	for _, name := range names {
		if c := record(w, chain.ContractKey(name), chain.ParseContract); c.Status != chain.ContractActive {
			w.t.Fatalf("contract %s is %v, %v", name, c.Status, c.Failure)
		}
	}
}

// tickOver makes a block for the next timer.
func (w *world) tickOver() []chain.Outcome {
	w.t.Helper()
	due, ok := w.l.NextTimer()
	if !ok {
		w.t.Fatal("there is no timer")
	}
	w.clock.Lock()
	w.now = max(w.now, due)
	w.clock.Unlock()
	return w.block(chain.AppendTick(nil, due))
}

// script builds a message of testdata/script.rs.
type script []byte

func (s script) add(op byte, n int64, a, b string) script {
	s = binary.LittleEndian.AppendUint64(append(s, op), uint64(n))
	s = append(binary.LittleEndian.AppendUint16(s, uint16(len(a))), a...)
	return append(binary.LittleEndian.AppendUint16(s, uint16(len(b))), b...)
}

func do(op byte, n int64, a, b string) script { return script(nil).add(op, n, a, b) }

// run calls a contract with a script.
func (w *world) run(by person, contract string, s script) chain.Outcome {
	w.t.Helper()
	return w.do(by, chain.OpCall, &chain.Call{Contract: contract, Message: s})
}

// enrol makes a device of owner's.
func (w *world) enrol(device person, labels chain.Labels) abi.Hash {
	w.t.Helper()
	w.must(owner, chain.OpEnrol, w.enrolment(device, owner, labels))
	return device.id()
}

func (w *world) enrolment(device, of person, labels chain.Labels) *chain.Enrol {
	w.t.Helper()
	e := chain.Enrolment{Owner: of.id(), Manufacturer: "Acme", Model: "Lock 2", Serial: "serial of " + string(device)}
	return w.enrolmentOf(device, &e, labels)
}

func (w *world) enrolmentOf(device person, e *chain.Enrolment, labels chain.Labels) *chain.Enrol {
	w.t.Helper()
	s, err := chain.SignStatement(&chain.Statement{
		Chain: w.l.ChainID(), Kind: chain.StatementEnrol, Expiry: w.l.Head().Time + 3_600_000, Body: e.Append(nil),
	}, device)
	if err != nil {
		w.t.Fatal(err)
	}
	return &chain.Enrol{Statement: s, Labels: labels}
}

func (w *world) rotation(of, to person, expiry int64) *chain.Rotate {
	w.t.Helper()
	s, err := chain.SignStatement(&chain.Statement{
		Chain: w.l.ChainID(), Kind: chain.StatementRotate, Expiry: expiry, Body: chain.RotationBody(of.id()),
	}, to)
	if err != nil {
		w.t.Fatal(err)
	}
	return &chain.Rotate{Statement: s}
}
