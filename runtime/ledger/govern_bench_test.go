package ledger

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// BenchmarkGovernance is the CPU that a block of the largest set spends on each
// operation of governance, beside the gas that it takes for it and the same for
// a plain operation. Signatures of the transactions are remembered, so theirs
// is to be added: about 45 microseconds.
func BenchmarkGovernance(b *testing.B) {
	for _, c := range []struct {
		name string
		txs  func(w *world) [][]byte
	}{
		{"grant", func(w *world) (raws [][]byte) {
			for i := range 5 {
				raws = append(raws, w.tx(operator, chain.OpGrant, &chain.Grant{Key: owner.Public(), GasQuota: 1e12 + uint64(i)}))
			}
			return raws
		}},
		{"propose", func(w *world) (raws [][]byte) {
			for i := range 5 {
				raws = append(raws, w.tx(member(1), chain.OpPropose, w.replaces(uint64(i+1), person(fmt.Sprint("fresh ", i)))))
			}
			return raws
		}},
		{"vote", func(w *world) (raws [][]byte) {
			for i := range 5 {
				n := w.agree(w.replaces(uint64(16-i), person(fmt.Sprint("fresh ", i))), 5)
				raws = append(raws, w.tx(member(6), chain.OpApprove, &chain.Vote{Proposal: n}))
			}
			return raws
		}},
		{"vote that decides", func(w *world) (raws [][]byte) {
			for i := range 5 {
				n := w.agree(w.replaces(uint64(16-i), person(fmt.Sprint("fresh ", i))), 10)
				raws = append(raws, w.tx(member(11), chain.OpApprove, &chain.Vote{Proposal: n}))
			}
			return raws
		}},
		{"vote in the largest record", func(w *world) (raws [][]byte) {
			hash := w.upload(developer, scriptWasm)
			reason := string(bytes.Repeat([]byte{'r'}, chain.MaxText))
			for i := range 5 {
				p := proposal(chain.ProposeDeploy, &chain.Deploy{Name: fmt.Sprint("c", i), Code: hash, Init: make([]byte, abi.MaxValue)})
				n := w.put(developer, p)
				for i := 1; i <= 14; i++ {
					w.must(member(i), chain.OpApprove, &chain.Vote{Proposal: n, Reason: reason})
				}
				raws = append(raws, w.tx(member(15), chain.OpApprove, &chain.Vote{Proposal: n, Reason: reason}))
			}
			return raws
		}},
		{"guardians", func(w *world) (raws [][]byte) {
			var list []abi.Hash
			for i := range chain.MaxGuardians {
				list = append(list, member(i+1).id())
			}
			for i := range 5 {
				raws = append(raws, w.tx(owner, chain.OpGuardians, &chain.Guardians{Accounts: list, Threshold: uint64(i + 1)}))
			}
			return raws
		}},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkGovernance(b, c.txs) })
	}
}

func benchmarkGovernance(b *testing.B, txs func(w *world) [][]byte) {
	w := newWorld(b, council(chain.MaxValidators, approvals(chain.MaxValidators)))
	raws := txs(w)
	var gas uint64
	before := cpuTime(b)
	for b.Loop() {
		w.now++ // another block, so that it is executed again
		if _, err := w.l.Propose(b.Context(), w.now, raws); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N*len(raws)), "cpu-ns/tx")
	for _, o := range w.block(raws...) {
		w.want(o, abi.OK)
		gas = o.Gas
	}
	b.ReportMetric(float64(gas), "gas/tx")
}
