package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

// followUpContract is a contract in Wasm, put together by hand: decide permits
// and asks for a follow-up, execute emits its input under the topic "done".
func followUpContract() []byte {
	verdict := abi.AppendVerdict(nil, &abi.Verdict{Permit: true, FollowUp: []byte("note it")})
	const verdictAt, topicAt, allocAt = 16, 256, 32 << 10
	vec := func(items ...[]byte) []byte {
		return append(uleb(len(items)), bytes.Join(items, nil)...)
	}
	sized := func(b ...byte) []byte { return append(uleb(len(b)), b...) }
	name := func(s string) []byte { return sized([]byte(s)...) }
	i32 := func(v int) []byte { return append([]byte{0x41}, sleb(int64(v))...) }
	body := func(code ...[]byte) []byte {
		return sized(append(append([]byte{0}, bytes.Join(code, nil)...), 0x0b)...)
	}
	export := func(s string, kind, index byte) []byte { return append(name(s), kind, index) }
	data := func(at int, b []byte) []byte {
		return bytes.Join([][]byte{{0}, i32(at), {0x0b}, sized(b...)}, nil)
	}
	section := func(id byte, content []byte) []byte { return append([]byte{id}, sized(content...)...) }
	return bytes.Join([][]byte{
		[]byte("\x00asm\x01\x00\x00\x00"),
		section(1, vec( // types: emit, alloc, entry point
			[]byte{0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 0}, []byte{0x60, 1, 0x7f, 1, 0x7f}, []byte{0x60, 2, 0x7f, 0x7f, 1, 0x7e})),
		section(2, vec(append(append(name(abi.HostModule), name("emit")...), 0, 0))),
		section(3, []byte{3, 1, 2, 2}),
		section(5, []byte{1, 0, 1}), // one page
		section(7, vec(export("memory", 2, 0), export("alloc", 0, 1), export("decide", 0, 2), export("execute", 0, 3))),
		section(10, vec(
			body(i32(allocAt)),
			body(append([]byte{0x42}, sleb(verdictAt<<32|int64(len(verdict)))...)),
			body(i32(topicAt), i32(4), []byte{0x20, 0, 0x20, 1, 0x10, 0, 0x42, 0}))),
		section(11, vec(data(verdictAt, verdict), data(topicAt, []byte("done")))),
	}, nil)
}

func uleb(v int) (b []byte) {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

func sleb(v int64) (b []byte) {
	for ; v < -64 || v >= 64; v >>= 7 {
		b = append(b, byte(v)&0x7f|0x80)
	}
	return append(b, byte(v)&0x7f)
}

// openDoor is a request of the node's own account, the one that every home has.
var openDoor = abi.AppendDecisionRequest(nil, &abi.DecisionRequest{
	Action: abi.Action{Name: "open"}, Resource: abi.Entity{Type: "door", ID: "1"},
})

func (n *node) ask(ctx context.Context) abi.Answer {
	return n.ledger.Decide(ctx, abi.Caller{Key: n.key.Public()}, abi.DefaultDomain, openDoor)
}

// followUps counts the events of follow-ups, which must be the gateway's.
func (n *node) followUps(t *testing.T) (count int) {
	t.Helper()
	account := chain.AccountID(n.key.Public())
	for height := uint64(1); height <= n.ledger.Head().Height; height++ {
		_, _, raw, err := n.ledger.Block(height)
		if err != nil {
			t.Fatal(err)
		}
		list, err := chain.ParseOutcomes(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range list {
			o, err := chain.ParseOutcome(b)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range o.Events {
				if string(e.Topic) != "done" || !bytes.Contains(e.Data, account[:]) || !bytes.HasSuffix(e.Data, cbor.AppendBytes(nil, []byte("note it"))) {
					t.Errorf("event %s of %x", e.Topic, e.Data)
				}
				count++
			}
		}
	}
	return count
}

// openTestNode opens the node of a home; run runs it until stop.
func openTestNode(t testing.TB, h home) *node {
	t.Helper()
	cfg := config{Quic: "127.0.0.1:0", Peer: "off", Web: "off", Clock: "trusted", RequestRate: -1}
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	n, err := openNode(t.Context(), h, cfg, newLogger("error"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func runTestNode(t testing.TB, n *node) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- n.run(ctx, func() error { close(ready); return nil }) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the node ended with: %v", err)
		}
	}
}

// TestFollowUp: a decision's follow-up is executed in a later block, also when
// the node was not running consensus at the time and was restarted since; when
// the outbox is full or closed, the answer is a denial.
func TestFollowUp(t *testing.T) {
	h := home(t.TempDir())
	if _, err := initHome(h, newHome{name: "test", clock: "trusted"}); err != nil {
		t.Fatal(err)
	}
	n := openTestNode(t, h)
	stop := runTestNode(t, n)
	cl, err := dialHome(t.Context(), h, n.quicAddr, operatorKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	d := client.Deployment{Name: "logged", Code: followUpContract()}
	if err := deployAndBind(t.Context(), cl, d, abi.DefaultDomain); err != nil {
		t.Fatal(err)
	}
	cl.Close()
	if a := n.ask(t.Context()); !a.Permit {
		t.Fatalf("denied: %v", a.Code)
	}
	n.awaitFollowUps(t, 1)
	stop()

	n = openTestNode(t, h) // without consensus: nothing comes into a block
	asked := 1
	for a := n.ask(t.Context()); a.Permit; a = n.ask(t.Context()) {
		if asked++; asked > 5000 {
			t.Fatal("an outbox without bounds")
		}
	}
	if a := n.ask(t.Context()); a.Permit || a.Code != abi.CodeUnavailable {
		t.Errorf("with a full outbox: permit %v, %v", a.Permit, a.Code)
	}
	if err := n.close(); err != nil {
		t.Fatal(err)
	}

	n = openTestNode(t, h)
	stop = runTestNode(t, n)
	n.awaitFollowUps(t, asked)
	stop()
	n = openTestNode(t, h)
	if err := n.outbox.Close(); err != nil {
		t.Fatal(err)
	}
	if a := n.ask(t.Context()); a.Permit || a.Code != abi.CodeUnavailable {
		t.Errorf("without an outbox: permit %v, %v", a.Permit, a.Code)
	}
	if err := n.close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closing the node: %v", err)
	}
}

// awaitFollowUps waits until the gateway's lane has come to a sequence, and
// checks that as many follow-ups were executed.
func (n *node) awaitFollowUps(t *testing.T, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	account := chain.AccountID(n.key.Public())
	for last := uint64(0); last < uint64(want); {
		var err error
		if last, err = lastSequence(n.store, account, outboxLane); err != nil || ctx.Err() != nil {
			t.Fatalf("the lane is at %d of %d: %v", last, want, err)
		}
		<-tick.C
	}
	if got := n.followUps(t); got != want {
		t.Errorf("%d follow-ups were executed, not %d", got, want)
	}
}
