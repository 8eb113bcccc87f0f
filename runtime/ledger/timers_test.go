package ledger

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// note is a timer's message: an event that says who ran.
func note(what string) string { return string(do('e', 0, "ran", what)) }

func events(list []chain.Outcome) string {
	var names []string
	for _, o := range list {
		for _, e := range o.Events {
			names = append(names, string(e.Data))
		}
	}
	return strings.Join(names, " ")
}

// Timers run in the order of their times, then of their making, before the
// transactions of the first block at or past their time, and once.
func TestTimersRunInOrder(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy(developer, "c")
	at := w.l.Head().Time
	o := w.run(nobody, "c", do('t', at+3000, note("late"), "").add('t', at+2000, note("b"), "").add('t', at+1000, note("a"), "").
		add('t', at+2000, note("c"), "").add('t', -5, note("past"), ""))
	w.want(o, abi.OK)
	if c := record(w, chain.ContractKey("c"), chain.ParseContract); c.Timers != 5 {
		t.Fatalf("%d timers", c.Timers)
	}
	if due, _ := w.l.NextTimer(); due != w.l.Head().Time+1 {
		t.Fatalf("a timer of the past got ahead: it is due at %d", due)
	}
	w.now = at + 10
	if got := events(w.block(w.tx(nobody, chain.OpCall, &chain.Call{Contract: "c", Message: do('e', 0, "t", "call")}))); got != "past call" {
		t.Fatalf("ran: %s", got)
	}
	w.now = at + 2000
	list := w.block(w.tx(nobody, chain.OpCall, &chain.Call{Contract: "c", Message: do('e', 0, "t", "call")}))
	if got := events(list); got != "a b c call" {
		t.Fatalf("ran: %s", got)
	}
	if list[0].ID == list[1].ID || list[0].Gas <= gasTimer {
		t.Errorf("outcome of a timer: %+v", list[0])
	}
	w.now = at + 2500
	if got := events(w.block(w.tx(nobody, chain.OpBind, &chain.Bind{}))); got != "" {
		t.Fatalf("ran again: %s", got)
	}
	if got := events(w.tickOver()); got != "late" {
		t.Fatalf("ran: %s", got)
	}
	if c := record(w, chain.ContractKey("c"), chain.ParseContract); c.Timers != 0 || w.count(chain.TimerPrefix()) != 1 {
		t.Fatalf("%d timers of the contract, %d of all are left", c.Timers, w.count(chain.TimerPrefix())) // one: the upload's
	}
}

// One block runs so many timers and no more; the rest comes with the next.
func TestTimersPerBlock(t *testing.T) {
	w := newWorld(t, func(g *chain.Genesis) { g.Params.BlockTimers, g.Params.ContractTimers = 2, 4 })
	w.deploy(developer, "c")
	at := w.l.Head().Time
	var s script
	for i := range 4 {
		s = s.add('t', at+1000, note(fmt.Sprint(i)), "")
	}
	w.want(w.run(nobody, "c", s.add('t', at+1000, "", "")), abi.CodeTooManyTimers)
	w.want(w.run(nobody, "c", s), abi.OK)
	due, _ := w.l.NextTimer()
	first := w.tickOver()
	if events(first) != "0 1" || len(first) != 3 || first[2].Code != abi.OK {
		t.Fatalf("first block: %v", first)
	}
	// The tick of the same time is not stale: a timer of that time is left.
	second := w.block(chain.AppendTick(nil, due))
	if events(second) != "2 3" || second[2].Code != abi.OK {
		t.Fatalf("second block: %v", second)
	}
	w.want(w.block(chain.AppendTick(nil, due))[0], abi.CodeStaleTick)
}

// Timers use at most half of a block's gas, and what they used is no longer
// there for transactions.
func TestTimersLeaveRoom(t *testing.T) {
	w := newWorld(t, func(g *chain.Genesis) { g.Params.TxGas, g.Params.BlockGas = 20_000_000, 100_000_000 })
	w.deploy(developer, "c")
	at := w.l.Head().Time
	w.want(w.run(nobody, "c", do('t', at+1000, string(do('l', 0, "", "")), "").add('t', at+1001, string(do('l', 0, "", "")), "").
		add('t', at+1002, string(do('l', 0, "", "")), "").add('t', at+1003, note("last"), "")), abi.OK)
	w.now = at + 2000
	var raws [][]byte
	for range 6 {
		raws = append(raws, w.sign(owner, chain.Body{Op: 999, Args: []byte{0xa0}, Gas: 19_999_000 + uint64(len(raws))}))
	}
	k, err := w.l.Propose(t.Context(), w.now, raws)
	if err != nil {
		t.Fatal(err)
	}
	list := w.commit(k)
	if len(k.Txs) != 3 || len(list) != 5 || list[0].Code != abi.CodeOutOfGas || list[1].Code != abi.CodeOutOfGas {
		t.Fatalf("%d transactions, outcomes %v", len(k.Txs), list)
	}
	w.now += 10
	if list := w.tickOver(); list[0].Code != abi.CodeOutOfGas || events(list) != "last" {
		t.Fatalf("outcomes %v", list)
	}
}

// A failing timer is gone, its changes are rolled back, and others run.
func TestTimerFails(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy(developer, "c")
	at := w.l.Head().Time
	bad := string(do('s', 0, "k", "v").add('e', 0, "t", "bad").add('x', 5, "", ""))
	w.want(w.run(nobody, "c", do('t', at+100, bad, "").add('t', at+100, note("good"), "")), abi.OK)
	list := w.tickOver()
	if list[0].Code != abi.CodeAborted || list[0].Abort != 5 || events(list) != "good" || w.count(chain.StatePrefix("c")) != 0 {
		t.Fatalf("outcomes %v", list)
	}
	if c := record(w, chain.ContractKey("c"), chain.ParseContract); c.Timers != 0 {
		t.Fatalf("%d timers are left", c.Timers)
	}
}

// Who scheduled a timer pays for it; without gas it is lost, not run.
func TestTimerIsPaidFor(t *testing.T) {
	w := newWorld(t, func(g *chain.Genesis) { smallQuota(g); g.Params.GasRefill = 0 })
	w.deploy(other, "c")
	w.must(operator, chain.OpGrant, &chain.Grant{Key: nobody.Public(), GasQuota: 3_000_000})
	at := w.l.Head().Time
	w.want(w.run(nobody, "c", do('t', at+100, note("first"), "").add('t', at+200, string(do('l', 0, "", "")), "").add('t', at+300, note("none"), "")), abi.OK)
	before := record(w, chain.QuotaKey(nobody.id()), chain.ParseQuota).Gas
	list := w.tickOver()
	if left := record(w, chain.QuotaKey(nobody.id()), chain.ParseQuota).Gas; before-left != list[0].Gas || events(list) != "first" {
		t.Fatalf("the timer used %d, the quota fell by %d", list[0].Gas, before-left)
	}
	w.want(w.tickOver()[0], abi.CodeOutOfGas)
	list = w.tickOver()
	if list[0].Code != abi.CodeGasQuota || events(list) != "" {
		t.Fatalf("outcomes %v", list)
	}
}

// A tick says nothing about a timer that is not there or not yet due.
func TestStaleTicks(t *testing.T) {
	w := newWorld(t, nil)
	hash := w.upload(developer, scriptWasm)
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "c", Code: hash})
	due, _ := w.l.NextTimer()
	list := w.block(chain.AppendTick(nil, due+5), chain.AppendTick(nil, due), chain.AppendTick(nil, due-5))
	var codes []abi.Code
	for _, o := range list[1:] {
		codes = append(codes, o.Code)
	}
	if list[0].Code != abi.OK || fmt.Sprint(codes) != fmt.Sprint([]abi.Code{abi.CodeStaleTick, abi.OK, abi.CodeStaleTick}) {
		t.Fatalf("outcomes %v", list)
	}
	if _, err := w.l.Tx(list[1].ID); err == nil {
		t.Error("a tick stands in the index of transactions")
	}
}
