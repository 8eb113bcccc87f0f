package ledger

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Many short steps give exactly what one long step gives, and both what exact
// arithmetic gives.
func TestRefillLosesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		rate := r.Uint64() >> r.IntN(64)
		unit := []int64{second, day}[r.IntN(2)]
		from := r.Int64N(4_000_000_000_000)
		mid := from + r.Int64N(10_000)
		to := mid + r.Int64N(100_000_000)
		whole := refill(rate, unit, from, to)
		want := new(big.Int).Sub(total(rate, unit, to), total(rate, unit, from))
		if !want.IsUint64() {
			if whole < math.MaxInt64 { // more than any quota
				t.Fatalf("refill(%d, %d, %d, %d) = %d, want more", rate, unit, from, to, whole)
			}
			continue
		}
		steps := addUp(refill(rate, unit, from, mid), refill(rate, unit, mid, to))
		if whole != want.Uint64() || steps != whole {
			t.Fatalf("refill(%d, %d, %d, %d) = %d, in steps %d, want %v", rate, unit, from, to, whole, steps, want)
		}
	}
	if refill(100, second, 2000, 1000) != 0 {
		t.Error("time that goes back must not refill")
	}
}

func total(rate uint64, unit, ms int64) *big.Int {
	x := new(big.Int).Mul(new(big.Int).SetUint64(rate), big.NewInt(ms))
	return x.Div(x, big.NewInt(unit))
}

func smallQuota(g *chain.Genesis) {
	for i := range g.Accounts {
		g.Accounts[i].GasQuota, g.Accounts[i].StorageQuota = 30_000_000, 40_000
	}
	g.Params.GasRefill, g.Params.StorageRefill = 1_000_000, 86_400_000 // a byte a ms
}

// Gas is charged to the sender, refilled with header time up to the quota,
// and without it a transaction does nothing.
func TestGasQuota(t *testing.T) {
	w := newWorld(t, smallQuota)
	w.must(operator, chain.OpGrant, &chain.Grant{Key: nobody.Public(), GasQuota: 5_000_000})
	unknown := func() chain.Outcome {
		w.salt++
		return w.block(w.sign(nobody, chain.Body{Op: 999, Args: []byte{0xa0}, Gas: 3_000_000 + uint64(w.salt)}))[0]
	}
	w.want(unknown(), abi.CodeUnknownOp)
	left := record(w, chain.QuotaKey(nobody.id()), chain.ParseQuota).Gas
	if want := 5_000_000 - PriceOf(999, 1); left != want {
		t.Fatalf("%d gas are left, want %d", left, want)
	}
	for range 50 {
		if unknown(); record(w, chain.QuotaKey(nobody.id()), chain.ParseQuota).Gas < 3_000_000 {
			break
		}
	}
	o := unknown()
	w.want(o, abi.CodeGasQuota)
	if o.Gas != 0 {
		t.Error("a transaction without quota was charged")
	}
	w.now += 1000
	w.want(unknown(), abi.CodeUnknownOp)
	w.now += 1_000_000
	unknown()
	if got := record(w, chain.QuotaKey(nobody.id()), chain.ParseQuota).Gas; got != 5_000_000-PriceOf(999, 1) {
		t.Fatalf("%d gas after an hour, want a full quota less one transaction", got)
	}
}

// What a device does is charged to its owner.
func TestDevicePaysByItsOwner(t *testing.T) {
	w := newWorld(t, nil)
	w.enrol("lock", nil)
	before := record(w, chain.QuotaKey(owner.id()), chain.ParseQuota)
	w.want(w.block(w.sign("lock", chain.Body{Op: 999, Args: []byte{0xa0}}))[0], abi.CodeUnknownOp)
	after := record(w, chain.QuotaKey(owner.id()), chain.ParseQuota)
	if before.Gas-after.Gas+refill(chain.DefaultParams().GasRefill, second, before.Time, after.Time) != PriceOf(999, 1) {
		t.Errorf("owner had %d gas and has %d", before.Gas, after.Gas)
	}
	if _, there := find(w, chain.QuotaKey(person("lock").id()), raw); there {
		t.Error("the device has a quota of its own")
	}
}

// Stored bytes are charged by what a transaction adds, given back by what it
// removes, and where they are used up the transaction leaves nothing.
func TestStorageQuota(t *testing.T) {
	w := newWorld(t, func(g *chain.Genesis) {
		smallQuota(g)
		g.Params.StorageRefill = 0
	})
	w.deploy(other, "script")
	free := func() uint64 { return record(w, chain.QuotaKey(nobody.id()), chain.ParseQuota).Storage }
	value := string(make([]byte, 10_000))
	cost := uint64(len(chain.StateKey("script", []byte("a"))) + len(value))
	w.want(w.run(nobody, "script", do('s', 0, "a", value)), abi.OK)
	if free() != 40_000-cost {
		t.Fatalf("%d bytes are free, want %d", free(), 40_000-cost)
	}
	w.want(w.run(nobody, "script", do('s', 0, "a", value[:9000])), abi.OK)
	if free() != 41_000-cost {
		t.Fatalf("%d bytes are free after the value shrank, want %d", free(), 41_000-cost)
	}
	w.want(w.run(nobody, "script", do('s', 0, "b", value).add('s', 0, "c", value)), abi.OK)
	o := w.run(nobody, "script", do('s', 0, "d", value).add('s', 0, "f", value).add('e', 0, "topic", ""))
	w.want(o, abi.CodeStorageQuota)
	if _, there := find(w, chain.StateKey("script", []byte("d")), raw); there || o.Events != nil || o.Gas == 0 {
		t.Error("what found no room left a trace, or cost nothing")
	}
	w.want(w.run(nobody, "script", do('d', 0, "a", "").add('d', 0, "b", "").add('d', 0, "c", "")), abi.OK)
	if free() != 40_000 {
		t.Fatalf("%d bytes are free after all was deleted", free())
	}
	// Who removes what others stored gets no more than the quota.
	w.want(w.run(owner, "script", do('s', 0, "e", value)), abi.OK)
	w.want(w.run(nobody, "script", do('d', 0, "e", "")), abi.OK)
	if free() != 40_000 {
		t.Fatalf("%d bytes are free, above the quota", free())
	}
}
