package ledger

import (
	"crypto/sha256"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// A replay is refused after more than a thousand others, after a restart, and
// within one block; it costs nothing and changes nothing.
func TestReplay(t *testing.T) {
	w := newWorld(t, nil)
	first := w.sign(nobody, chain.Body{Op: 999, Args: []byte{0xa0}, ValidUntil: w.now + 500_000, Gas: 100_000})
	w.want(w.block(first)[0], abi.CodeUnknownOp)
	place, err := w.l.Tx(txID(t, first))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		var others [][]byte
		for range 400 {
			others = append(others, w.sign(owner, chain.Body{Op: 999, Args: []byte{0xa0}, ValidUntil: w.now + 500_000, Gas: 100_000 + uint64(w.salt)}))
			w.salt++
		}
		w.block(others...)
	}
	for _, restart := range []bool{false, true} {
		if restart {
			w.reopen()
		}
		_, _, err := w.l.Check(first)
		wantCode(t, "check", err, abi.CodeReplayed)
		before, quota := w.dump(), record(w, chain.QuotaKey(nobody.id()), chain.ParseQuota)
		o := w.block(first)[0]
		if o.Code != abi.CodeReplayed || o.Gas != 0 {
			t.Errorf("replay: %+v", o)
		}
		if string(before) != string(w.dump()) || quota != record(w, chain.QuotaKey(nobody.id()), chain.ParseQuota) {
			t.Error("a replay changed something")
		}
		if again, err := w.l.Tx(txID(t, first)); err != nil || again.Height != place.Height || string(again.Outcome) != string(place.Outcome) {
			t.Errorf("a replay took the place of the first: %+v, %v", again, err)
		}
	}
	// A proposer leaves the second out; a block that has it is valid and says so.
	twice := w.tx(owner, chain.OpCall, &chain.Call{Contract: "c"})
	k, err := w.l.Propose(t.Context(), w.now, [][]byte{twice, twice})
	if err != nil || len(k.Txs) != 1 {
		t.Fatalf("%d transactions are proposed, %v", len(k.Txs), err)
	}
	list := w.forced(twice, twice)
	if list[0].Code != abi.CodeUnknownContract || list[1].Code != abi.CodeReplayed {
		t.Errorf("twice in a block: %v", list)
	}
}

func txID(t testing.TB, raw []byte) abi.Hash {
	t.Helper()
	x, err := chain.ParseTx(raw)
	if err != nil {
		t.Fatal(err)
	}
	return x.ID
}

// forced commits a block of exactly these transactions, as another proposer
// might have made it.
func (w *world) forced(raws ...[]byte) []chain.Outcome {
	w.t.Helper()
	return w.commit(w.forge(raws...))
}

func (w *world) forge(raws ...[]byte) *chain.Block {
	w.t.Helper()
	v, err := w.store.HeadView()
	if err != nil {
		w.t.Fatal(err)
	}
	defer v.Release()
	head := w.l.head.Load()
	x, err := w.l.begin(w.t.Context(), v, head, max(w.now, head.header.Time+1))
	if err == nil {
		err = x.runTimers()
	}
	for _, raw := range raws {
		t, parseErr := chain.ParseTx(raw)
		if err != nil || parseErr != nil {
			w.t.Fatal(err, parseErr)
		}
		err = x.transaction(t)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := x.finish(raws)
	if err != nil {
		w.t.Fatal(err)
	}
	return r.block
}

// What Check would refuse is an outcome where a block has it all the same.
func TestGuardsInBlocks(t *testing.T) {
	w := newWorld(t, nil)
	w.enrol("lock", nil)
	w.must(owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: person("lock").id(), Status: abi.StatusStolen})
	now := w.l.Head().Time + 1000
	w.now = now
	b := func(until int64) chain.Body { return chain.Body{Op: 999, Args: []byte{0xa0}, ValidUntil: until} }
	gas := func(g uint64) chain.Body { x := b(now + 1000); x.Gas = g; return x }
	raws := [][]byte{
		w.sign(owner, b(now-1)), w.sign(owner, b(now)), w.sign(owner, b(now+abi.MaxWindow)), w.sign(owner, b(now+abi.MaxWindow+1)),
		w.sign("stranger", b(now)), w.sign("lock", b(now)), w.sign(owner, gas(1)), w.sign(owner, gas(30_000_000)),
	}
	want := []abi.Code{abi.CodeExpired, abi.CodeUnknownOp, abi.CodeUnknownOp, abi.CodeTooFarAhead,
		abi.CodeUnknownAccount, abi.CodeDeviceInactive, abi.CodeGasCap, abi.CodeGasCap}
	list := w.forced(raws...)
	for i, o := range list {
		if o.Code != want[i] {
			t.Errorf("%d: %v, want %v", i, o.Code, want[i])
		}
	}
	if list[6].Gas != 1 || list[7].Gas != 0 {
		t.Errorf("gas %d and %d", list[6].Gas, list[7].Gas)
	}
	// What was refused before it was recorded may come again and succeed.
	if got, err := w.l.Tx(list[4].ID); err != nil || got.Height != w.l.Head().Height {
		t.Error("the refused one is not in the index", err)
	}
	w.must(operator, chain.OpGrant, &chain.Grant{Key: person("stranger").Public()})
	w.now = now
	late := w.forced(raws[4])
	if late[0].Code != abi.CodeExpired { // the block's time moved on
		t.Errorf("again: %v", late[0].Code)
	}
}

func TestLanes(t *testing.T) {
	w := newWorld(t, nil)
	send := func(lane, sequence uint64) abi.Code {
		t.Helper()
		w.salt++
		return w.forced(w.sign(nobody, chain.Body{Op: 999, Args: []byte{0xa0}, Lane: lane, Sequence: sequence, Gas: 100_000 + uint64(w.salt)}))[0].Code
	}
	for i, c := range []struct {
		lane, sequence uint64
		want           abi.Code
	}{
		{0, 1, abi.CodeUnknownOp}, {0, 1, abi.CodeOutOfSequence}, {0, 2, abi.CodeUnknownOp}, {0, 10, abi.CodeUnknownOp},
		{0, 9, abi.CodeOutOfSequence}, {5, 1, abi.CodeUnknownOp}, {0, 11, abi.CodeUnknownOp}, {5, 1, abi.CodeOutOfSequence},
	} {
		if i == 4 {
			w.reopen()
			w.now += 1_000_000_000 // lanes do not expire
		}
		if got := send(c.lane, c.sequence); got != c.want {
			t.Errorf("lane %d, sequence %d: %v, want %v", c.lane, c.sequence, got, c.want)
		}
	}
}

// A lane takes room, which its sender must have.
func TestNewLanesAreCharged(t *testing.T) {
	w := newWorld(t, func(g *chain.Genesis) { smallQuota(g); g.Params.StorageRefill = 0 })
	w.must(operator, chain.OpGrant, &chain.Grant{Key: nobody.Public(), StorageQuota: 100})
	var codes []abi.Code
	for lane := range uint64(3) {
		codes = append(codes, w.forced(w.sign(nobody, chain.Body{Op: 999, Args: []byte{0xa0}, Lane: lane, Sequence: 1, Gas: 100_000}))[0].Code)
	}
	if codes[0] != abi.CodeUnknownOp || codes[1] != abi.CodeUnknownOp || codes[2] != abi.CodeStorageQuota {
		t.Errorf("%v", codes)
	}
	if w.count([]byte{'l'}) != 2 {
		t.Errorf("%d lanes", w.count([]byte{'l'}))
	}
}

// The state holds one running hash for each minute whose transactions may
// still come; ids and hashes of past minutes go.
func TestWindowsAreSwept(t *testing.T) {
	w := newWorld(t, nil)
	until := w.now + 30_000
	var want []byte
	for i := range 3 {
		raw := w.sign(nobody, chain.Body{Op: 999, Args: []byte{0xa0}, ValidUntil: until, Gas: 100_000 + uint64(i)})
		w.block(raw)
		id := txID(t, raw)
		sum := sha256.Sum256(append(want, id[:]...))
		want = sum[:]
	}
	if got := record(w, chain.WindowKey(chain.Minute(until)), raw); string(got) != string(want) {
		t.Fatalf("running hash is %x, want %x", got, want)
	}
	plain := func() (n int) {
		v, err := w.store.View()
		if err != nil {
			t.Fatal(err)
		}
		defer v.Release()
		it := v.ScanPlain([]byte{'w'})
		defer it.Close()
		for it.Next() {
			n++
		}
		return n
	}
	if plain() != 3 || w.count([]byte{'w'}) != 1 {
		t.Fatalf("%d ids, %d minutes", plain(), w.count([]byte{'w'}))
	}
	w.block(w.sign(nobody, chain.Body{Op: 999, Args: []byte{0xa0}, ValidUntil: until + 60_000, Gas: 100_000}))
	w.now = until + 120_000 // two minutes with ids are over
	w.do(nobody, 999, encoded{0xa0})
	if plain() != 1 || w.count([]byte{'w'}) != 1 {
		t.Errorf("%d ids, %d minutes are left, want the new one's", plain(), w.count([]byte{'w'}))
	}
}
