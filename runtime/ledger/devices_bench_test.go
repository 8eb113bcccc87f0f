package ledger

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// BenchmarkDeviceOperations is the CPU that a block spends on each operation on
// devices, blacklists and logs at its dearest, beside the gas that it takes.
// Signatures of the transactions are remembered, so theirs is to be added: about
// 45 microseconds, as in BenchmarkGovernance.
func BenchmarkDeviceOperations(b *testing.B) {
	const txs = 5
	each := func(one func(w *world, i int) []byte) func(*world) [][]byte {
		return func(w *world) (raws [][]byte) {
			for i := range txs {
				raws = append(raws, one(w, i))
			}
			return raws
		}
	}
	name := func(i int) person { return person(fmt.Sprint("device ", i)) }
	for _, c := range []struct {
		name string
		txs  func(w *world) [][]byte
	}{
		{"enrol with origin", each(func(w *world, i int) []byte {
			return w.tx(owner, chain.OpEnrol, w.proven(name(i), owner, fmt.Sprint(i)))
		})},
		{"manufacturer", each(func(w *world, i int) []byte {
			return w.tx(operator, chain.OpManufacturer, vouching(fmt.Sprint(i), acme, "1", "2", "3", "4", "5", "6", "7", "8"))
		})},
		{"origin", each(func(w *world, i int) []byte {
			w.plain(name(i), owner)
			return w.tx(nobody, chain.OpOrigin, &chain.ProveOrigin{Device: name(i).id(), Origin: w.signOrigin(originOf(name(i), "x"), factory)})
		})},
		{"transfer", each(func(w *world, i int) []byte {
			w.plain(name(i), owner)
			w.must(owner, chain.OpBindDevice, &chain.BindDevice{Device: name(i).id(), Contracts: []string{"a", "b", "c", "d"}})
			return w.tx(owner, chain.OpTransfer, w.accepts(name(i), owner, other, 0))
		})},
		{"bind-device", each(func(w *world, i int) []byte {
			w.plain(name(i), owner)
			return w.tx(owner, chain.OpBindDevice, &chain.BindDevice{Device: name(i).id(), Contracts: []string{"a", "b", "c", "d"}})
		})},
		{"blacklist", each(func(w *world, i int) []byte {
			return w.tx(acme, chain.OpBlacklist, lists(name(i), fmt.Sprint(i), true))
		})},
		{"stolen", each(func(w *world, i int) []byte {
			w.must(owner, chain.OpEnrol, w.proven(name(i), owner, fmt.Sprint(i)))
			return w.tx(owner, chain.OpDeviceStatus, set(name(i), abi.StatusStolen))
		})},
		{"platform", each(func(w *world, i int) []byte {
			a := platformOf("1", "2", "3", "4", "5", "6", "7", "8")
			a.Name = fmt.Sprint("p", i)
			return w.tx(operator, chain.OpPlatform, a)
		})},
		{"import-blacklist", func(w *world) (raws [][]byte) {
			w.must(operator, chain.OpPlatform, platformOf(harbour))
			for i := range txs {
				l := chain.PlatformList{Platform: "harbour", Sequence: uint64(i + 1)}
				for k := range chain.MaxListEntries {
					h := sha256.Sum256(fmt.Append(nil, i, k))
					l.Entries = append(l.Entries, chain.ListEntry{Manufacturer: "Acme", Serial: fmt.Sprint(i, k), Hardware: (*abi.Hash)(&h), Listed: true})
				}
				raws = append(raws, w.tx(nobody, chain.OpImportBlacklist, w.list(harbour, l)))
			}
			return raws
		}},
		{"anchor", func(w *world) (raws [][]byte) {
			log := w.log(gate1).grow(10_000, "")
			w.must(gate1, chain.OpAnchor, log.anchor(0))
			for range txs {
				from := log.size
				raws = append(raws, w.tx(gate1, chain.OpAnchor, log.grow(from+777, "").anchor(from)))
			}
			return raws
		}},
		{"offence", func(w *world) (raws [][]byte) {
			for _, g := range []person{gate1, gate2, gate3} {
				log, fork := w.log(g).grow(3, ""), w.log(g).grow(3, "fork")
				raws = append(raws, w.tx(nobody, chain.OpOffence, &chain.Offence{Account: g.id(), First: log.note(g), Second: fork.note(g)}))
			}
			return raws
		}},
		{"witness", each(func(w *world, i int) []byte {
			return w.tx(gate2, chain.OpWitness, &chain.Witness{Account: gate1.id(), Size: uint64(i)})
		})},
		{"verdict", func(w *world) (raws [][]byte) {
			w.enrol("lock", nil)
			w.must(owner, chain.OpBindDevice, &chain.BindDevice{Device: person("lock").id(), Contracts: []string{"a"}})
			for i := range chain.MaxVerdicts {
				p := person(fmt.Sprint("gateway ", i))
				w.must(operator, chain.OpGrant, &chain.Grant{Key: p.Public(), Roles: abi.RoleGateway})
				raws = append(raws, w.tx(p, chain.OpVerdict, judged("lock", "a", abi.LevelAlert)))
			}
			return raws
		}},
		{"alert", each(func(w *world, i int) []byte {
			return w.tx(gate1, chain.OpAlert, &chain.Alert{Kind: fmt.Sprint("k", i), Count: 1})
		})},
		{"sealed", func(w *world) (raws [][]byte) {
			w.enrol("lock", nil)
			w.must(owner, chain.OpDeviceStatus, set("lock", abi.StatusStolen))
			for range txs {
				a := chain.Sealed{Device: person("lock").id(), Owner: make([]byte, chain.MaxSealed)}
				for _, p := range []person{police, authority} {
					a.Authorities = append(a.Authorities, chain.SealedCopy{Account: p.id(), Text: make([]byte, chain.MaxSealed)})
				}
				raws = append(raws, w.tx(gate1, chain.OpSealed, &a))
			}
			return raws
		}},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkDeviceOperations(b, c.txs) })
	}
}

func benchmarkDeviceOperations(b *testing.B, txs func(w *world) [][]byte) {
	w := newWorld(b, inhabited)
	w.must(operator, chain.OpManufacturer, vouching("Acme", acme, factory))
	w.deploy(developer, "a", "b", "c", "d")
	raws := txs(w)
	before := cpuTime(b)
	for b.Loop() {
		w.now++ // another block, so that it is executed again
		if _, err := w.l.Propose(b.Context(), w.now, raws); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N*len(raws)), "cpu-ns/tx")
	var gas uint64
	for _, o := range w.block(raws...) {
		w.want(o, abi.OK)
		gas = o.Gas
	}
	b.ReportMetric(float64(gas), "gas/tx")
}
