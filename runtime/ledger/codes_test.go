package ledger

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// fullOfCodes is a world with n contracts c0, c1 … that differ in their code.
func fullOfCodes(t *testing.T, n int) *world {
	t.Helper()
	w := newWorld(t, nil)
	for i := range n {
		hash := w.upload(developer, append(append([]byte{}, scriptWasm...), 0, 3, 2, 'f', byte(i)))
		w.must(developer, chain.OpDeploy, &chain.Deploy{Name: fmt.Sprint("c", i), Code: hash})
		w.tickOver()
	}
	return w
}

// A leader adds transactions until the block has run half of the code that it
// may, so that each has found the other half free.
func TestLeaderLeavesRoomForCode(t *testing.T) {
	const n = 12
	w := fullOfCodes(t, n)
	var raws [][]byte
	for i := range n {
		raws = append(raws, w.tx(nobody, chain.OpCall, &chain.Call{Contract: fmt.Sprint("c", i)}))
	}
	for _, want := range []int{9, 3} {
		k, err := w.l.Propose(context.Background(), w.now, raws)
		if err != nil {
			t.Fatal(err)
		}
		if len(k.Txs) != want {
			t.Errorf("%d transactions with a code of its own each, want %d", len(k.Txs), want)
		}
		for _, o := range w.commit(k) {
			w.want(o, abi.OK)
		}
		raws = raws[len(k.Txs):]
	}
}

// A block of a leader that does not is valid, and its transactions beyond the
// limit fail: on every node alike, and without running.
func TestBlockRunsSoMuchCode(t *testing.T) {
	const n = 20
	w := fullOfCodes(t, n)
	var txs []*chain.Tx
	for i := range n {
		tx, err := chain.ParseTx(w.tx(nobody, chain.OpCall, &chain.Call{Contract: fmt.Sprint("c", i)}))
		if err != nil {
			t.Fatal(err)
		}
		txs = append(txs, tx)
	}
	v, err := w.store.HeadView()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	x, err := w.l.begin(t.Context(), v, w.l.head.Load(), w.now+1)
	if err != nil {
		t.Fatal(err)
	}
	for i, tx := range txs {
		if err := x.transaction(tx); err != nil {
			t.Fatal(err)
		}
		o, err := chain.ParseOutcome(x.outcomes[len(x.outcomes)-1])
		if err != nil {
			t.Fatal(err)
		}
		want := abi.OK
		if i >= 16 {
			want = abi.CodeBlockFull
		}
		w.want(o, want)
	}
}

// A contract that calls too many others gets the code as their answer, and
// goes on; those that ran before do not count again.
func TestCallsRunSoMuchCode(t *testing.T) {
	const n = 20
	w := fullOfCodes(t, n)
	var s script
	for i := 1; i < n; i++ {
		s = s.add('q', 0, fmt.Sprint("c", i), "")
	}
	s = s.add('q', 0, "c1", "")
	o := w.run(nobody, "c0", s)
	w.want(o, abi.OK)
	for i := 1; i <= n; i++ {
		want := int64(0)
		if i >= 16 && i < n {
			want = -int64(abi.CodeBlockFull)
		}
		if got := int64(binary.LittleEndian.Uint64(o.Result[8*(i-1):])); got != want {
			t.Errorf("call %d answers %d, want %d", i, got, want)
		}
	}
}
