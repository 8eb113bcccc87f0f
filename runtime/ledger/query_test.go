package ledger

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage"
)

// An entry's proof convinces whoever knows the validators, at the genesis
// block and after certified ones.
func TestProve(t *testing.T) {
	w := newWorld(t, nil)
	trusted := proof.Trusted{Chain: w.l.ChainID(), Validators: w.l.ValidatorSet(), Genesis: w.l.head.Load().hash}
	check := func(key []byte, present bool) {
		t.Helper()
		e, err := w.l.Prove(key)
		if err != nil {
			t.Fatal(err)
		}
		again, err := proof.ParseEntry(e.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok, err := again.Verify(&trusted, key); err != nil || ok != present {
			t.Errorf("key %x at %d: present %v, %v", key[:4], e.Header.Height, ok, err)
		}
	}
	check(chain.AccountKey(owner.id()), true)
	k, err := w.l.Propose(t.Context(), w.now, [][]byte{w.tx(operator, chain.OpGrant, &chain.Grant{Key: person("x").Public()})})
	if err != nil {
		t.Fatal(err)
	}
	c := chain.Certificate{Metadata: []byte("m")}
	vote, err := validator.Sign(chain.AppendVote(nil, w.l.ChainID(), k.Header.Hash(), c.Metadata, c.Sequence))
	if err != nil {
		t.Fatal(err)
	}
	c.Signatures = []chain.Signature{{Validator: 1, Signature: vote}}
	if err := w.l.Commit(t.Context(), k, &c); err != nil {
		t.Fatal(err)
	}
	check(chain.AccountKey(person("x").id()), true)
	check(chain.AccountKey(person("y").id()), false)
	w.reopen()
	check(chain.AccountKey(person("x").id()), true)
}

func TestScan(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy(developer, "c")
	w.want(w.run(nobody, "c", do('s', 0, "a", "1").add('s', 0, "b", "2").add('s', 0, "c", "3")), abi.OK)
	prefix := chain.StatePrefix("c")
	pairs, more, height, err := w.l.Scan(prefix, nil, 2)
	if err != nil || !more || len(pairs) != 2 || string(pairs[1][1]) != "2" || height != w.l.Head().Height {
		t.Fatalf("%q %v %d %v", pairs, more, height, err)
	}
	pairs, more, _, err = w.l.Scan(prefix, chain.StateKey("c", []byte("b")), 2)
	if err != nil || more || len(pairs) != 2 || string(pairs[1][1]) != "3" {
		t.Fatalf("%q %v %v", pairs, more, err)
	}
	big := string(make([]byte, 16<<10))
	for i := range 6 {
		w.want(w.run(nobody, "c", do('s', 0, "d"+string(rune('0'+i)), big)), abi.OK)
	}
	pairs, more, _, err = w.l.Scan(prefix, chain.StateKey("c", []byte("d")), 100)
	if err != nil || !more || len(pairs) != 3 {
		t.Fatalf("%d large pairs, %v, %v", len(pairs), more, err)
	}
	for _, bad := range []func() error{
		func() error { _, _, _, err := w.l.Scan(nil, nil, 1); return err },
		func() error { _, _, _, err := w.l.Scan(prefix, nil, 0); return err },
		func() error { _, _, _, err := w.l.Scan(make([]byte, storage.MaxKey+1), nil, 1); return err },
	} {
		wantCode(t, "scan", bad(), abi.CodeBadArgument)
	}
}

func TestTxAndBlock(t *testing.T) {
	w := newWorld(t, nil)
	hash := w.upload(developer, scriptWasm)
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "c", Code: hash})
	// A block with a timer before the transactions.
	one, two := w.tx(nobody, chain.OpCall, &chain.Call{Contract: "c", Message: do('r', 0, "1", "")}), w.tx(nobody, chain.OpCall, &chain.Call{Contract: "none"})
	w.block(one, two)
	for raw, want := range map[string]abi.Code{string(one): abi.OK, string(two): abi.CodeUnknownContract} {
		got, err := w.l.Tx(txID(t, []byte(raw)))
		o, parseErr := chain.ParseOutcome(got.Outcome)
		if err != nil || parseErr != nil || string(got.Tx) != raw || o.Code != want || o.ID != got.ID || got.Height != w.l.Head().Height {
			t.Errorf("%+v %+v %v", got, o, err)
		}
	}
	_, err := w.l.Tx(abi.Hash{1})
	wantCode(t, "unknown transaction", err, abi.CodeNotFound)
	_, _, _, err = w.l.Block(w.l.Head().Height + 1)
	wantCode(t, "block to come", err, abi.CodeNotFound)
	block, certificate, _, err := w.l.Block(0)
	if err != nil || len(certificate) != 0 {
		t.Fatal(err)
	}
	if k, err := chain.ParseBlock(block); err != nil || string(k.Txs[0]) != string(w.genesis) {
		t.Error("block 0 does not hold the genesis", err)
	}
}

func TestWait(t *testing.T) {
	w := newWorld(t, nil)
	raw := w.tx(nobody, chain.OpCall, &chain.Call{Contract: "none"})
	id := txID(t, raw)
	results := make(chan abi.TxResult, 2)
	for range 2 {
		go func() {
			r, err := w.l.Wait(context.Background(), id)
			if err != nil {
				t.Error(err)
			}
			results <- r
		}()
	}
	waiting := func(n int) {
		for w.l.Stats().Waiting != n {
			runtime.Gosched()
		}
	}
	waiting(2)
	var seen uint64
	w.l.OnCommit(func(k *chain.Block) { seen = k.Header.Height })
	w.block(raw)
	for range 2 {
		if r := <-results; r.Height != w.l.Head().Height || r.ID != id || r.Outcome == nil {
			t.Errorf("result %+v", r)
		}
	}
	if seen != w.l.Head().Height {
		t.Error("the commit was not announced")
	}
	waiting(0)
	if r, err := w.l.Wait(context.Background(), id); err != nil || r.Height == 0 {
		t.Errorf("after the commit: %+v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := w.l.Wait(ctx, abi.Hash{1})
	wantCode(t, "too late", err, abi.CodeTimeout)
}

func TestOpenRefuses(t *testing.T) {
	w := newWorld(t, nil)
	cfg := w.l.cfg
	cfg.Chain = w.l.ChainID()
	if _, err := Open(t.Context(), cfg); err != nil {
		t.Error(err)
	}
	cfg.Chain[0]++
	_, err := Open(t.Context(), cfg)
	wantCode(t, "home of another chain", err, abi.CodeWrongChain)
	if _, err := Open(t.Context(), Config{}); err == nil {
		t.Error("an empty Config opens")
	}
	empty, err := storage.Open(storage.Config{Dir: "home", FS: vfs.NewMem(), Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := empty.Close(); err != nil {
			t.Error(err)
		}
	}()
	cfg.Store = empty
	_, err = Open(t.Context(), cfg)
	wantCode(t, "empty store", err, abi.CodeNotFound)
	for name, change := range map[string]func(*chain.Genesis){
		"two accounts of a key": func(g *chain.Genesis) { g.Accounts = append(g.Accounts, g.Accounts[0]) },
		"no block gas":          func(g *chain.Genesis) { g.Params.BlockGas = 1 },
		"gas of a transaction":  func(g *chain.Genesis) { g.Params.TxGas = g.Params.BlockGas/2 + 1 },
		"no timers":             func(g *chain.Genesis) { g.Params.BlockTimers = 0 },
		"uploads for ever":      func(g *chain.Genesis) { g.Params.UploadTTL = 0 },
		"no profile":            func(g *chain.Genesis) { g.Params.Profile = 3 },
		"protocol to come":      func(g *chain.Genesis) { g.Params.Protocol++ },
	} {
		if _, err := Init(empty, testGenesis(change)); err == nil {
			t.Errorf("%s: the chain begins", name)
		}
	}
	if !empty.Head().Empty {
		t.Fatal("a refused genesis was written")
	}
	if _, err := Init(empty, w.genesis); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(empty, w.genesis); err == nil {
		t.Error("a chain begins twice")
	}
}

// After the disk fails, nothing pretends to go on.
func TestFailedStore(t *testing.T) {
	w := newWorld(t, nil)
	raw := w.tx(nobody, chain.OpCall, &chain.Call{Contract: "none"})
	k, err := w.l.Propose(t.Context(), w.now, [][]byte{raw})
	if err != nil {
		t.Fatal(err)
	}
	head := w.l.Head()
	w.close()
	if err := w.l.Commit(t.Context(), k, nil); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("commit: %v", err)
	}
	if w.l.Head() != head {
		t.Error("the head moved")
	}
	if a := w.l.Decide(t.Context(), abi.Caller{Key: owner.Public()}, "", open); a.Permit || a.Code != abi.CodeShuttingDown {
		t.Errorf("decision: %+v", a)
	}
	_, _, err = w.l.Check(raw)
	wantCode(t, "check", err, abi.CodeShuttingDown)
	w.open(false)
}

// A node that loses power keeps every committed block, and forgets what it
// only executed.
func TestPowerLoss(t *testing.T) {
	disk := vfs.NewStrictMem()
	if err := disk.MkdirAll("home", 0o700); err != nil {
		t.Fatal(err)
	}
	if root, err := disk.OpenDir(""); err != nil || root.Sync() != nil || root.Close() != nil {
		t.Fatal("the home itself does not reach the disk", err)
	}
	w := newWorld(t, nil)
	w.close()
	w.cfg.FS = disk
	w.open(true)
	w.deploy(developer, "c")
	for i := range 5 {
		w.want(w.run(nobody, "c", do('s', 0, "k", string(rune('a'+i)))), abi.OK)
		if _, err := w.l.Propose(t.Context(), w.now, [][]byte{w.tx(nobody, chain.OpCall, &chain.Call{Contract: "c"})}); err != nil {
			t.Fatal(err)
		}
		head, root := w.l.Head(), w.store.Head().Root
		disk.SetIgnoreSyncs(true)
		w.close()
		disk.ResetToSyncedState()
		disk.SetIgnoreSyncs(false)
		w.open(false)
		if w.l.Head() != head || w.store.Head().Root != root {
			t.Fatalf("height %d came back as %d", head.Height, w.l.Head().Height)
		}
		if got := record(w, chain.StateKey("c", []byte("k")), raw); string(got) != string(rune('a'+i)) {
			t.Fatalf("value %q", got)
		}
	}
}
