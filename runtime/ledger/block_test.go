package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage"
)

// copyOf parses a block again, as another node gets it.
func copyOf(t testing.TB, k *chain.Block) *chain.Block {
	t.Helper()
	c, err := chain.ParseBlock(chain.AppendBlock(nil, k))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What one ledger proposes, another verifies and commits to the same state;
// a block in which anything was changed, it refuses.
func TestVerify(t *testing.T) {
	leader, follower := newWorld(t, nil), newWorld(t, nil)
	ctx := context.Background()
	k, err := leader.l.Propose(ctx, leader.now, [][]byte{
		leader.tx(operator, chain.OpGrant, &chain.Grant{Key: person("x").Public()}), leader.tx(nobody, chain.OpCall, &chain.Call{Contract: "c"})})
	if err != nil {
		t.Fatal(err)
	}
	foreign := newWorld(t, func(g *chain.Genesis) { g.Name = "other" })
	for _, c := range []struct {
		name   string
		change func(*chain.Block)
		want   abi.Code
	}{
		{"chain", func(k *chain.Block) { k.Header.Chain[0]++ }, abi.CodeWrongChain},
		{"protocol", func(k *chain.Block) { k.Header.Protocol++ }, abi.CodeUnknownVersion},
		{"height", func(k *chain.Block) { k.Header.Height++ }, abi.CodeBadArgument},
		{"time not above the parent's", func(k *chain.Block) { k.Header.Time = start }, abi.CodeBadArgument},
		{"time", func(k *chain.Block) { k.Header.Time++ }, abi.CodeBadProof},
		{"parent", func(k *chain.Block) { k.Header.Parent[0]++ }, abi.CodeBadArgument},
		{"root of transactions", func(k *chain.Block) { k.Header.Transactions[0]++ }, abi.CodeBadProof},
		{"root of outcomes", func(k *chain.Block) { k.Header.Outcomes[0]++ }, abi.CodeBadProof},
		{"root of the state", func(k *chain.Block) { k.Header.State[0]++ }, abi.CodeBadProof},
		{"validators", func(k *chain.Block) { k.Header.Validators[0]++ }, abi.CodeBadProof},
		{"next validators", func(k *chain.Block) { k.Header.NextValidators[0]++ }, abi.CodeBadProof},
		{"a transaction less", func(k *chain.Block) { k.Txs = k.Txs[1:] }, abi.CodeBadProof},
		{"no transactions", func(k *chain.Block) { k.Txs = nil }, abi.CodeBadArgument},
		{"other order", func(k *chain.Block) { k.Txs[0], k.Txs[1] = k.Txs[1], k.Txs[0] }, abi.CodeBadProof},
		{"other order under its root", func(k *chain.Block) {
			k.Txs[0], k.Txs[1] = k.Txs[1], k.Txs[0]
			k.Header.Transactions = proof.Root(k.Txs)
		}, abi.CodeBadProof},
		{"forged signature", func(k *chain.Block) {
			k.Txs[1] = forge(k.Txs[1])
			k.Header.Transactions = proof.Root(k.Txs)
		}, abi.CodeBadSignature},
		{"transaction of another chain", func(k *chain.Block) {
			k.Txs = [][]byte{foreign.tx(nobody, chain.OpCall, &chain.Call{Contract: "c"})}
			k.Header.Transactions = proof.Root(k.Txs)
		}, abi.CodeWrongChain},
		{"garbage", func(k *chain.Block) {
			k.Txs = [][]byte{[]byte("hello")}
			k.Header.Transactions = proof.Root(k.Txs)
		}, abi.CodeMalformed},
		{"too large", func(k *chain.Block) {
			for range 5 {
				k.Txs = append(k.Txs, make([]byte, abi.MaxTransaction))
			}
			k.Header.Transactions = proof.Root(k.Txs)
		}, abi.CodeTooLarge},
		{"too much gas", func(k *chain.Block) {
			k.Txs = nil
			for i := range uint64(6) {
				k.Txs = append(k.Txs, leader.sign(owner, chain.Body{Op: 999, Args: []byte{0xa0}, Gas: 20_000_000 - i}))
			}
			k.Header.Transactions = proof.Root(k.Txs)
		}, abi.CodeBlockFull},
	} {
		// The leader has its own block's result at hand and must refuse, too.
		for name, w := range map[string]*world{"leader": leader, "follower": follower} {
			bad := copyOf(t, k)
			c.change(bad)
			wantCode(t, c.name+" at the "+name, w.l.Verify(ctx, bad), c.want)
			if err := w.l.Commit(ctx, bad, nil); err == nil {
				t.Errorf("%s: the %s commits it", c.name, name)
			}
		}
	}
	if err := follower.l.Verify(ctx, copyOf(t, k)); err != nil {
		t.Fatal(err)
	}
	leader.commit(k)
	follower.commit(copyOf(t, k))
	if leader.l.Head() != follower.l.Head() || leader.store.Head().Root != k.Header.State {
		t.Error("the ledgers differ")
	}
}

func TestCommitOrder(t *testing.T) {
	w, behind := newWorld(t, nil), newWorld(t, nil)
	ctx := context.Background()
	var blocks []*chain.Block
	for range 3 {
		k, err := w.l.Propose(ctx, w.now, [][]byte{w.tx(nobody, chain.OpCall, &chain.Call{Contract: "c"})})
		if err != nil {
			t.Fatal(err)
		}
		w.commit(k)
		blocks = append(blocks, k)
	}
	if err := behind.l.Commit(ctx, blocks[1], nil); err == nil {
		t.Error("a gap is committed")
	}
	for _, k := range []*chain.Block{blocks[0], blocks[0], blocks[1], blocks[0], blocks[2]} {
		if err := behind.l.Commit(ctx, k, nil); err != nil {
			t.Fatal(err)
		}
	}
	if behind.l.Head() != w.l.Head() {
		t.Error("the one that caught up differs")
	}
	if _, err := w.l.Propose(ctx, w.now, nil); err == nil {
		t.Error("an empty block is proposed")
	}
	if _, err := w.l.Propose(ctx, w.now, [][]byte{[]byte("hello"), forge(w.tx(nobody, 999, encoded{0xa0}))}); !errors.Is(err, abi.CodeNotFound) {
		t.Errorf("nothing but rubbish: %v", err)
	}
}

// The block takes the first transactions that fit, in bytes as in gas.
func TestProposeTakesAPrefix(t *testing.T) {
	w := newWorld(t, nil)
	var byGas, bySize [][]byte
	for i := range uint64(8) {
		byGas = append(byGas, w.sign(owner, chain.Body{Op: 999, Args: []byte{0xa0}, Gas: 15_000_000 + i}))
		a := chain.Chunk{Data: make([]byte, abi.MaxChunk)}
		bySize = append(bySize, w.sign(owner, chain.Body{Op: chain.OpChunk, Args: a.Append(nil), Gas: 2_000_000 + i}))
	}
	small := w.tx(owner, 999, encoded{0xa0})
	for _, c := range []struct {
		name string
		raws [][]byte
		want int
	}{
		{"gas", append(byGas, small), 6},
		{"size", append(bySize, small), 7},
		{"what fits no block does not stand in the way", append([][]byte{w.sign(owner, chain.Body{Op: 999, Args: []byte{0xa0}, Gas: 1 << 60})}, small), 1},
	} {
		k, err := w.l.Propose(context.Background(), w.now, c.raws)
		if err != nil || len(k.Txs) != c.want {
			t.Errorf("%s: %d transactions, want %d, %v", c.name, len(k.Txs), c.want, err)
			continue
		}
		if n := len(chain.AppendBlock(nil, k)); n > abi.MaxBlock {
			t.Errorf("%s: the block has %d bytes", c.name, n)
		}
	}
}

// A failing disk stops a block; it never becomes an outcome.
func TestHostFaultStopsTheBlock(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy(developer, "c")
	for name, raw := range map[string][]byte{
		"native":   w.tx(operator, chain.OpGrant, &chain.Grant{Key: person("x").Public()}),
		"contract": w.tx(nobody, chain.OpCall, &chain.Call{Contract: "c", Message: do('s', 0, "k", "v").add('g', 0, "other", "").add('n', 1, "", "")}),
	} {
		w.failEachRead(name, raw)
	}
}

// failEachRead executes a transaction again and again, and each time another one
// of its reads fails.
func (w *world) failEachRead(name string, raw []byte) {
	w.t.Helper()
	tx, err := chain.ParseTx(raw)
	if err != nil {
		w.t.Fatal(err)
	}
	for limit := 0; ; limit++ {
		if failed := w.failRead(name, tx, limit); !failed {
			if limit < 4 {
				w.t.Errorf("%s: only %d reads failed", name, limit)
			}
			return
		}
	}
}

// failRead executes a transaction; after so many reads the disk fails. It says
// whether it came to that.
func (w *world) failRead(name string, tx *chain.Tx, limit int) bool {
	w.t.Helper()
	v, err := w.store.HeadView()
	if err != nil {
		w.t.Fatal(err)
	}
	defer v.Release()
	x, err := w.l.begin(context.Background(), v, w.l.head.Load(), w.l.Head().Time+1)
	if err != nil {
		w.t.Fatal(err)
	}
	counting := &failing{reader: x.state.base, left: limit}
	x.state.base = counting
	err = x.transaction(tx)
	switch {
	case !counting.failed:
		if err != nil || len(x.outcomes) != 1 {
			w.t.Fatalf("%s: %v, %d outcomes without a fault", name, err, len(x.outcomes))
		}
		if o, err := chain.ParseOutcome(x.outcomes[0]); err != nil || o.Code != abi.OK {
			w.t.Errorf("%s: outcome is %v, %v", name, o.Code, err)
		}
	case err == nil || len(x.outcomes) != 0:
		o, _ := chain.ParseOutcome(x.outcomes[0])
		w.t.Fatalf("%s: read %d failed and became the outcome %v", name, limit, o.Code)
	case !errors.Is(err, errDisk):
		w.t.Fatalf("%s: %v hides the cause", name, err)
	}
	return counting.failed
}

var errDisk = errors.New("disk")

// failing is a reader that fails after a number of reads, with an error that
// carries a code.
type failing struct {
	reader
	left   int
	failed bool
}

func (f *failing) get(key []byte) ([]byte, bool, error) {
	if f.left--; f.left < 0 {
		f.failed = true
		return nil, false, &fault{fmt.Errorf("%w: %w", errDisk, abi.CodeBusy)}
	}
	return f.reader.get(key)
}

func (f *failing) scan(prefix, start []byte) storage.Iterator {
	if f.left--; f.left < 0 {
		f.failed = true
		return &memoryIterator{m: &memory{err: fmt.Errorf("%w: %w", errDisk, abi.CodeBusy)}, at: -1}
	}
	return f.reader.scan(prefix, start)
}

// Three ledgers that differ in caches, in what they executed before, and in
// restarts come to the same roots and outcomes over random transactions.
func TestRandomLedgersAgree(t *testing.T) {
	upgrades := 0
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 7))
		change := func(g *chain.Genesis) {
			smallQuota(g)
			g.Params.GasQuota, g.Params.BlockTimers, g.Params.UploadTTL = 60_000_000, 3, 20_000
			for i := range g.Accounts {
				g.Accounts[i].GasQuota, g.Accounts[i].StorageQuota = 0, 0
			}
			g.Params.StorageQuota = 300_000
		}
		leader, follower, late := newWorld(t, change), newWorld(t, change), newWorld(t, change)
		follower.close()
		follower.cfg.FS, follower.cfg.HotCacheBytes, follower.cfg.BlockCacheBytes = vfs.NewMem(), 1, 1
		follower.open(true)
		codes := map[abi.Code]int{}
		for height := range 60 {
			leader.now += r.Int64N(8000)
			k, err := leader.l.Propose(t.Context(), leader.now, leader.random(r))
			if err != nil {
				t.Fatal(err)
			}
			leader.decideSome(r)
			if r.IntN(2) == 0 {
				if err := follower.l.Verify(t.Context(), copyOf(t, k)); err != nil {
					t.Fatalf("seed %d, height %d: %v", seed, height, err)
				}
			}
			for _, o := range leader.commit(k) {
				codes[o.Code]++
			}
			follower.commit(copyOf(t, k))
			late.commit(copyOf(t, k))
			if r.IntN(6) == 0 {
				late.reopen()
			}
			if leader.store.Head() != follower.store.Head() || leader.store.Head() != late.store.Head() {
				t.Fatalf("seed %d: the ledgers differ at height %d", seed, height)
			}
		}
		if !bytes.Equal(leader.dump(), late.dump()) || codes[abi.OK] < 60 || len(codes) < 10 {
			t.Errorf("seed %d: codes are %v", seed, codes)
		}
		for _, name := range []string{"a", "b", "c"} {
			if c, ok := find(leader, chain.ContractKey(name), chain.ParseContract); ok {
				upgrades += int(c.Versions) - 1
			}
		}
	}
	if upgrades < 5 {
		t.Errorf("only %d upgrades", upgrades)
	}
}

var people = []person{operator, developer, owner, other, authority, door, nobody, "lock 1", "lock 2", "lock 3", "stranger"}

// random makes the transactions of a block.
func (w *world) random(r *rand.Rand) [][]byte {
	var raws [][]byte
	if due, ok := w.l.NextTimer(); ok && r.IntN(3) == 0 {
		raws = append(raws, chain.AppendTick(nil, due))
	}
	for range 1 + r.IntN(12) {
		raws = append(raws, w.randomTx(r))
	}
	return raws
}

func (w *world) randomTx(r *rand.Rand) []byte {
	pick := func() person { return people[r.IntN(len(people))] }
	lock := person(fmt.Sprintf("lock %d", 1+r.IntN(4)))
	names := []string{"a", "b", "c", "none"}
	name := func() string { return names[r.IntN(len(names))] }
	hash := abi.Hash(sha256.Sum256(scriptWasm))
	switch r.IntN(12) {
	case 0:
		return w.tx(operator, chain.OpGrant, &chain.Grant{Key: pick().Public(), Roles: abi.Role(r.Uint64N(512)) &^ abi.RoleValidator})
	case 1:
		return w.tx(owner, chain.OpEnrol, w.enrolment(lock, owner, chain.Labels{"n": fmt.Sprint(r.IntN(3))}))
	case 2:
		return w.tx(pick(), chain.OpDeviceStatus, &chain.DeviceStatus{Device: lock.id(), Status: abi.Status(1 + r.IntN(5))})
	case 3:
		return w.tx(pick(), chain.OpUpload, &chain.Upload{Code: hash, Length: uint64(len(scriptWasm))})
	case 4:
		return w.tx(developer, chain.OpUpload, &chain.Upload{Code: hash, Length: uint64(len(scriptWasm))})
	case 5:
		return w.tx(developer, chain.OpChunk, &chain.Chunk{Code: hash, Data: scriptWasm})
	case 6:
		return w.tx(developer, chain.OpDeploy, &chain.Deploy{Name: name(), Code: hash, Init: do('s', 0, "decide", "")})
	case 7:
		return w.tx(pick(), chain.OpBind, &chain.Bind{Domain: abi.DefaultDomain, Contract: name()})
	case 8:
		w.salt++
		return w.sign(pick(), chain.Body{Op: 999, Args: []byte{0xa0}, Lane: r.Uint64N(3), Sequence: 1 + r.Uint64N(40), Gas: 100_000})
	}
	var s script
	for range r.IntN(6) {
		key := fmt.Sprintf("k%d", r.IntN(9))
		switch r.IntN(9) {
		case 0, 1:
			s = s.add('s', 0, key, string(make([]byte, r.IntN(3000))))
		case 2:
			s = s.add('d', 0, key, "")
		case 3:
			s = s.add('g', 0, "decide", "").add('n', 2, "x", key)
		case 4:
			s = s.add('t', w.now+r.Int64N(20_000), string(do('s', 0, key, "timer").add('t', w.now+r.Int64N(50_000), "", "")), "")
		case 5:
			s = s.add('c', 0, name(), string(do('s', 0, key, "nested").add('x', int64(r.IntN(5)), "", "")))
		case 6:
			s = s.add('e', 0, "t", key)
		case 7:
			id := lock.id()
			s = s.add('S', int64(1+r.IntN(5)), string(id[:]), "")
		case 8:
			s = s.add("xul"[r.IntN(3)], 3, "", "")
		}
	}
	if r.IntN(4) == 0 {
		return w.tx(developer, chain.OpUpgrade, &chain.Upgrade{Name: name(), Code: hash, Migrate: s})
	}
	return w.tx(pick(), chain.OpCall, &chain.Call{Contract: name(), Message: s})
}

// decideSome warms this ledger's caches and no other's.
func (w *world) decideSome(r *rand.Rand) {
	for range 3 {
		who := people[r.IntN(len(people))]
		w.l.Decide(w.t.Context(), abi.Caller{Key: who.Public()}, "", ask("open", "door", "1"))
	}
}
