package ledger

import (
	"encoding/binary"
	"sync"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// taken is how many tokens a payer can take now.
func (r *rates) taken(payer abi.Hash, now int64) (n int) {
	for r.has(payer, now) && r.take(payer, now) {
		n++
	}
	return n
}

func TestRates(t *testing.T) {
	r := newRates(10, 30)
	p := abi.Hash{1}
	wantTaken := func(what string, now int64, want int) {
		t.Helper()
		if got := r.taken(p, now); got != want {
			t.Errorf("%s: %d tokens, want %d", what, got, want)
		}
	}
	wantTaken("full at the start", 1000, 30)
	wantTaken("empty", 1000, 0)
	wantTaken("nearly a token", 1099, 0)
	wantTaken("a token after a tenth of a second", 1100, 1)
	for ms := int64(1101); ms < 1200; ms++ {
		r.has(p, ms)
	}
	wantTaken("many looks are as one", 1200, 1)
	r.giveBack([]abi.Hash{p, {2}, p})
	wantTaken("of what was committed", 1200, 2)
	wantTaken("a clock that was set back an hour", 1200-3_600_000, 0)
	wantTaken("goes on from there", 1200-3_599_900, 1)
	wantTaken("a clock that jumped a century ahead", 4_900_000_000_000, 30)
	wantTaken("and back to 1970", 0, 0)
	for range 100 {
		r.giveBack([]abi.Hash{p})
	}
	wantTaken("no more than a bucket holds", 0, 30)
	if other := r.taken(abi.Hash{2}, 1000); other != 30 {
		t.Errorf("another payer has %d", other)
	}
}

// However many payers there are, memory is bounded, and who sends all the time
// is not forgotten, which would fill its bucket.
func TestRatesAreBounded(t *testing.T) {
	r := newRates(1, 5)
	busy := abi.Hash{0xff}
	r.taken(busy, 0)
	for n := range uint64(10 * payerLimit) {
		var p abi.Hash
		binary.BigEndian.PutUint64(p[:], n)
		r.take(p, 0)
		if n%100 == 0 && r.has(busy, 0) {
			t.Fatalf("forgotten after %d others", n)
		}
		if len(r.newer)+len(r.old) > 2*payerLimit {
			t.Fatalf("%d buckets", len(r.newer)+len(r.old))
		}
	}
}

func TestRatesTogether(t *testing.T) {
	r := newRates(1, 1000)
	var took sync.Map
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			n := 0
			for range 1000 {
				if r.has(abi.Hash{1}, 0) && r.take(abi.Hash{1}, 0) {
					n++
				}
				r.giveBack([]abi.Hash{{2}})
			}
			took.Store(g, n)
		})
	}
	all.Wait()
	sum := 0
	took.Range(func(_, n any) bool { sum += n.(int); return true })
	if sum != 1000 {
		t.Errorf("%d tokens of 1000 were taken", sum)
	}
}

// rated gives a world's payers few tokens.
func rated(w *world) {
	w.l.rates, w.l.relayed = newRates(1, 4), newRates(relayShare, 4*relayShare)
}

// note is a call that nobody needs; each has another id.
func (w *world) noteBy(by person) []byte {
	return w.tx(by, chain.OpCall, &chain.Call{Contract: "none"})
}

// A thousand devices of one owner have the rate of one, and take nothing of
// another's; who waits for what it sent is never held up.
func TestRateIsThePayers(t *testing.T) {
	w := newWorld(t, nil)
	w.enrol("lock", nil)
	w.enrol("reader", nil)
	rated(w)
	var passed [][]byte
	for i := range 10 {
		raw := w.noteBy([]person{"lock", "reader", owner}[i%3])
		_, by, err := w.l.Check(raw)
		want := abi.OK
		if i >= 4 {
			want = abi.CodeRateLimited
		} else {
			passed = append(passed, raw)
		}
		wantCode(t, "one of an owner's", err, want)
		if by != owner.id() {
			t.Errorf("the payer is %x", by)
		}
	}
	_, by, err := w.l.Check(w.noteBy(other))
	wantCode(t, "another owner's", err, abi.OK)
	if by != other.id() {
		t.Errorf("the payer is %x", by)
	}
	for _, raw := range passed {
		_, _, err := w.l.Check(raw)
		wantCode(t, "what passed before", err, abi.OK)
	}
	for range 3 {
		w.block(passed...)
		passed = passed[:0]
		for range 4 {
			raw := w.noteBy("lock")
			_, _, err := w.l.Check(raw)
			wantCode(t, "after a block that held the others", err, abi.OK)
			passed = append(passed, raw)
		}
	}
	w.now += 2000
	for _, want := range []abi.Code{abi.OK, abi.OK, abi.CodeRateLimited} {
		_, _, err := w.l.Check(w.noteBy("reader"))
		wantCode(t, "two seconds later", err, want)
	}
}

// Garbage under a victim's key, any amount of it, costs the victim nothing.
func TestGarbageTakesNoRate(t *testing.T) {
	w := newWorld(t, nil)
	rated(w)
	for range 100 {
		_, _, err := w.l.Check(forge(w.noteBy(owner)))
		wantCode(t, "garbage", err, abi.CodeBadSignature)
	}
	for range 4 {
		_, _, err := w.l.Check(w.noteBy(owner))
		wantCode(t, "the victim's", err, abi.OK)
	}
	_, _, err := w.l.Check(forge(w.noteBy(owner)))
	wantCode(t, "garbage beyond the rate, before its signature is looked at", err, abi.CodeRateLimited)
}

// What other nodes let in passes at sixteen times the rate, and does not use up
// what is submitted here.
func TestRateOfRelayed(t *testing.T) {
	w := newWorld(t, nil)
	rated(w)
	for range 4 * relayShare {
		_, _, err := w.l.CheckRelayed(w.noteBy(owner))
		wantCode(t, "relayed", err, abi.OK)
	}
	_, _, err := w.l.CheckRelayed(w.noteBy(owner))
	wantCode(t, "relayed beyond the rate", err, abi.CodeRateLimited)
	_, _, err = w.l.Check(w.noteBy(owner))
	wantCode(t, "submitted here", err, abi.OK)
}

// A block is judged whatever its payers' rates are.
func TestRateIsNoRuleOfBlocks(t *testing.T) {
	w := newWorld(t, nil)
	rated(w)
	var raws [][]byte
	for range 20 {
		raws = append(raws, w.noteBy(owner))
	}
	if list := w.block(raws...); len(list) != 20 {
		t.Errorf("%d outcomes", len(list))
	}
}

// Devices use up their owner's quotas, gas and bytes, and one another's: in
// Check as in a block, and by the timers that they set. Others are not touched.
func TestQuotaAcrossDevices(t *testing.T) {
	w := newWorld(t, func(g *chain.Genesis) { g.Params.GasRefill = 1 })
	w.deploy(developer, "script")
	w.must(operator, chain.OpGrant, &chain.Grant{Key: owner.Public(), Roles: abi.RoleOwner, GasQuota: 9_000_000, StorageQuota: 8_000})
	w.must(operator, chain.OpDeviceStatus, &chain.DeviceStatus{Device: w.enrol("lock", nil), Status: abi.StatusActive})
	w.enrol("reader", nil)
	w.must(other, chain.OpEnrol, w.enrolment("camera", other, nil))
	quota := func() chain.Quota { return record(w, chain.QuotaKey(owner.id()), chain.ParseQuota) }
	before := quota()
	var sum uint64
	for _, who := range []person{"lock", "reader", owner} {
		sum += w.run(who, "script", do('s', 0, "key of "+string(who), "value")).Gas
	}
	if after := quota(); before.Gas-after.Gas > sum || before.Gas-after.Gas < sum-100 {
		t.Errorf("the owner paid %d of %d", before.Gas-after.Gas, sum)
	}
	for _, who := range []person{"lock", "reader"} {
		if _, there := find(w, chain.QuotaKey(who.id()), raw); there {
			t.Errorf("%s has a quota of its own", who)
		}
	}
	large := do('s', 0, "k", string(make([]byte, 4_000)))
	w.want(w.run("lock", "script", large), abi.OK)
	w.want(w.run("reader", "script", do('s', 0, "k2", string(make([]byte, 4_000)))), abi.CodeStorageQuota)
	w.want(w.run("camera", "script", do('s', 0, "k3", string(make([]byte, 4_000)))), abi.OK)
	// The timer that one device sets is paid from what the other leaves.
	w.want(w.run("lock", "script", do('t', w.now+1000, string(do('l', 0, "", "")), "")), abi.OK)
	w.now += 1000
	w.tickOver()
	if left := quota().Gas; left > 1_000_000 {
		t.Fatalf("an endless timer left %d", left)
	}
	for who, want := range map[person]abi.Code{"lock": abi.CodeGasQuota, "reader": abi.CodeGasQuota, owner: abi.CodeGasQuota, "camera": abi.OK} {
		tx := w.noteBy(who)
		_, _, err := w.l.Check(tx)
		wantCode(t, string(who), err, want)
		if o := w.block(tx)[0]; (o.Code == abi.CodeGasQuota) != (want == abi.CodeGasQuota) {
			t.Errorf("%s in a block: %v", who, o.Code)
		}
	}
}
