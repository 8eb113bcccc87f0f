package ledger

import (
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// wantUnknownVersion wants a message that says what to do, and which versions
// are meant.
func wantUnknownVersion(t *testing.T, name string, err error) {
	t.Helper()
	wantCode(t, name, err, abi.CodeUnknownVersion)
	for _, part := range []string{"protocol version 2", "knows 1", "upgrade it"} {
		if err != nil && !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v does not say %q", name, err, part)
		}
	}
}

// A chain that begins with rules that this program does not know is not begun.
func TestGenesisOfALaterProtocol(t *testing.T) {
	_, err := Init(nil, testGenesis(func(g *chain.Genesis) { g.Params.Protocol = 2 }))
	wantUnknownVersion(t, "genesis", err)
}

// A block that moves the chain to rules that this program does not know stops
// the node before it is stored: the ledger ends below it, and a program that
// knows the rules goes on from there.
func TestBlockThatBringsALaterProtocol(t *testing.T) {
	w := newWorld(t, nil)
	w.must(operator, chain.OpGrant, &chain.Grant{Key: person("someone").Public()})
	before := w.l.Head()
	_, err := w.l.write(w.withParams(func(p *chain.Params) { p.Protocol = 2 }), nil, w.l.head.Load())
	wantUnknownVersion(t, "block", err)
	w.reopen()
	if w.l.Head() != before {
		t.Errorf("the ledger ends at %d, not at %d", w.l.Head().Height, before.Height)
	}
	w.must(operator, chain.OpGrant, &chain.Grant{Key: person("another").Public()})
	if _, err := w.l.write(w.withParams(func(*chain.Params) {}), nil, w.l.head.Load()); err != nil {
		t.Errorf("the same block without the change: %v", err)
	}
}

// withParams is the result of a block that changes the parameters, as no
// operation of this protocol version can.
func (w *world) withParams(change func(*chain.Params)) *result {
	w.t.Helper()
	v, err := w.store.HeadView()
	if err != nil {
		w.t.Fatal(err)
	}
	defer v.Release()
	x, err := w.l.begin(w.t.Context(), v, w.l.head.Load(), w.l.Head().Time+1)
	if err != nil {
		w.t.Fatal(err)
	}
	p := x.params
	change(&p)
	if err := x.state.set(chain.ParamsKey(), p.Append(nil)); err != nil {
		w.t.Fatal(err)
	}
	r, err := x.finish([][]byte{chain.AppendTick(nil, 1)})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}
