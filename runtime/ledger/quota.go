package ledger

import (
	"errors"
	"math"
	"math/bits"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

const (
	second = 1000       // ms
	day    = 86_400_000 // ms
)

// purse is the quota of the account that pays, refilled to a moment. Both
// quotas are token buckets: an account that never paid has a full one.
type purse struct {
	account abi.Hash
	chain.Quota
	maxGas, maxStorage uint64
}

// payer opens the quota of whoever pays for an account: its owner, if it is a
// device, else itself.
func payer(r reader, id abi.Hash, a *chain.Account, p *chain.Params, now int64) (purse, error) {
	if a.Owner == nil {
		return openPurse(r, id, a, p, now)
	}
	owner, ok, err := load(r, chain.AccountKey(*a.Owner), chain.ParseAccount)
	if err != nil || !ok {
		return purse{}, errors.Join(err, missing(ok, "owner of a device"))
	}
	return openPurse(r, *a.Owner, &owner, p, now)
}

// openPurse reads an account's quota and refills it to now.
func openPurse(r reader, id abi.Hash, a *chain.Account, p *chain.Params, now int64) (purse, error) {
	q := purse{account: id, maxGas: p.GasQuota, maxStorage: p.StorageQuota}
	if a.GasQuota != 0 {
		q.maxGas = a.GasQuota
	}
	if a.StorageQuota != 0 {
		q.maxStorage = a.StorageQuota
	}
	old, ok, err := load(r, chain.QuotaKey(id), chain.ParseQuota)
	if err != nil {
		return q, err
	}
	if !ok {
		q.Quota = chain.Quota{Gas: q.maxGas, Storage: q.maxStorage, Time: now}
		return q, nil
	}
	q.Quota = chain.Quota{
		Gas:     min(q.maxGas, addUp(old.Gas, refill(p.GasRefill, second, old.Time, now))),
		Storage: min(q.maxStorage, addUp(old.Storage, refill(p.StorageRefill, day, old.Time, now))),
		Time:    now,
	}
	return q, nil
}

// charge takes gas and growth bytes off. It never goes below zero: the
// callers have checked, and where they let something run on little, little
// is all there is to take. Negative growth is a refund.
func (q *purse) charge(gas uint64, growth int64) {
	q.Gas -= min(q.Gas, gas)
	if growth >= 0 {
		q.Storage -= min(q.Storage, uint64(growth))
		return
	}
	q.Storage = min(q.maxStorage, addUp(q.Storage, uint64(-growth)))
}

func (q *purse) affords(growth int64) bool { return growth <= 0 || uint64(growth) <= q.Storage }

// refill is how much a bucket that gets rate in each unit of ms gets from one
// moment to another: the difference of two totals since 1970, so that many
// short steps give exactly what one long step gives.
func refill(rate uint64, unit, from, to int64) uint64 {
	if to <= from {
		return 0
	}
	whole := saturatingMul(rate, uint64(to/unit-from/unit))
	late, early := part(rate, to%unit, unit), part(rate, from%unit, unit)
	if late >= early {
		return addUp(whole, late-early)
	}
	return whole - min(whole, early-late)
}

// part is floor(rate * ms / unit) for ms < unit.
func part(rate uint64, ms, unit int64) uint64 {
	hi, lo := bits.Mul64(rate, uint64(ms))
	q, _ := bits.Div64(hi, lo, uint64(unit))
	return q
}

func saturatingMul(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	if hi != 0 {
		return math.MaxUint64
	}
	return lo
}

func addUp(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return math.MaxUint64
	}
	return sum
}
