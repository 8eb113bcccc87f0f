package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/sdk/client"
)

// shrewd is a node of the ledger that answers in its own way where it has one.
type shrewd struct {
	*ledger
	// Guarded by the ledger's lock.
	prove     func(key []byte) ([]byte, error)
	steps     func(after uint64, limit int) ([][]byte, bool, error)
	staleness func() uint64
	asked     atomic.Int64
}

func (s *shrewd) Prove(key []byte) ([]byte, error) {
	s.asked.Add(1)
	var own func([]byte) ([]byte, error)
	if s.with(func() { own = s.prove }); own != nil {
		return own(key)
	}
	return s.ledger.Prove(key)
}

func (s *shrewd) Steps(after uint64, limit int) ([][]byte, bool, error) {
	var own func(uint64, int) ([][]byte, bool, error)
	if s.with(func() { own = s.steps }); own != nil {
		return own(after, limit)
	}
	return s.ledger.Steps(after, limit)
}

func (s *shrewd) Status() abi.NodeStatus {
	n := s.ledger.Status()
	if s.staleness != nil {
		n.Staleness = s.staleness()
	}
	return n
}

func (s *shrewd) Decide(context.Context, abi.Caller, string, []byte) abi.Answer {
	a := abi.Answer{Permit: true}
	if s.staleness != nil {
		a.Staleness = s.staleness()
	}
	return a
}

// dialWith connects a new active account with a configuration.
func dialWith(t testing.TB, l *ledger, c client.Config) (*client.Client, error) {
	t.Helper()
	k := newKey(t)
	l.enrol(k, 0)
	c.Key = k
	cl, err := client.Dial(t.Context(), c)
	if err == nil {
		t.Cleanup(func() { cl.Close() })
	}
	return cl, err
}

// A client that stays connected goes on while validators come and go, in the
// middle of what it does.
func TestClientGoesOnWhileValidatorsChange(t *testing.T) {
	l := newLedger(t)
	l.commit(map[string][]byte{"n": []byte("0")}, nil, nil)
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	c, _ := dial(t, l, address)
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if e, err := c.Get(t.Context(), []byte("n")); err != nil || !e.Present {
					t.Errorf("%+v, %v", e, err)
					return
				}
			}
		})
	}
	for i := range 20 {
		l.handOver(keysOf(t, 1+i%5)...)
		for range i % 3 {
			l.commit(map[string][]byte{"n": fmt.Append(nil, i)}, nil, nil)
		}
		if i%4 == 0 {
			if _, err := c.Block(t.Context(), l.height()); err != nil {
				t.Errorf("block %d: %v", l.height(), err)
			}
		}
	}
	close(done)
	readers.Wait()
	for height := range l.height() + 1 {
		if b, err := c.Block(t.Context(), height); err != nil || b.Block.Header.Height != height {
			t.Errorf("block %d: %v", height, err)
		}
	}
	if e, err := c.Get(t.Context(), []byte("n")); err != nil || e.Height != l.height() {
		t.Errorf("%+v, %v", e, err)
	}
	if c.Height() != l.height() || c.Checkpoint().Validators.Hash() != l.set.Hash() {
		t.Errorf("height %d of %d, checkpoint %+v", c.Height(), l.height(), c.Checkpoint())
	}
}

// A client that comes back after many changes begins where it stood, or at the
// genesis, and either way arrives.
func TestClientComesBackAfterManyChanges(t *testing.T) {
	l := newLedger(t)
	l.commit(nil, nil, nil)
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	early, _ := dial(t, l, address)
	if _, err := early.Get(t.Context(), []byte("door")); err != nil {
		t.Fatal(err)
	}
	kept := early.Bundle()
	for range 15 {
		l.handOver(keysOf(t, 4)...)
	}
	l.commit(map[string][]byte{"door": []byte("open")}, nil, nil)
	for name, bundle := range map[string]*client.Bundle{"genesis": l.bundle(address), "where it stood": kept} {
		c, err := dialWith(t, l, client.Config{Bundle: bundle})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if e, err := c.Get(t.Context(), []byte("door")); err != nil || e.Signers != 4 {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
		// And what it keeps now is enough for a next time, and for a proof that
		// begins at the genesis.
		again, err := dialWith(t, l, client.Config{Bundle: c.Bundle()})
		if err != nil {
			t.Fatalf("%s, again: %v", name, err)
		}
		if again.Checkpoint().Height != l.height() {
			t.Errorf("%s, again: checkpoint %+v", name, again.Checkpoint())
		}
		p, _, err := again.Prove(t.Context(), []byte("door"))
		if err != nil {
			t.Fatal(err)
		}
		if e, err := p.Verify(light(t, l.bundle(""))); err != nil || len(p.Steps) != 15 || e.Height != l.height() {
			t.Errorf("%s, again: a proof of %d steps, %v", name, len(p.Steps), err)
		}
	}
}

// A gateway cannot keep a client among validators of the past, nor make others
// up: it is not believed, and with another one the client goes on.
func TestGatewaysThatWithholdOrForgeSteps(t *testing.T) {
	forger := newKey(t)
	for name, lie := range map[string]func(l *ledger) func(after uint64, limit int) ([][]byte, bool, error){
		"withheld": func(*ledger) func(uint64, int) ([][]byte, bool, error) {
			return func(uint64, int) ([][]byte, bool, error) { return nil, false, nil }
		},
		"refused": func(*ledger) func(uint64, int) ([][]byte, bool, error) {
			return func(uint64, int) ([][]byte, bool, error) { return nil, false, abi.CodeBusy }
		},
		"the first again and again": func(l *ledger) func(uint64, int) ([][]byte, bool, error) {
			return func(uint64, int) ([][]byte, bool, error) { return l.steps[:1], true, nil }
		},
		"the last ones only": func(l *ledger) func(uint64, int) ([][]byte, bool, error) {
			return func(uint64, int) ([][]byte, bool, error) { return l.steps[1:], false, nil }
		},
		"forged": func(l *ledger) func(uint64, int) ([][]byte, bool, error) {
			return func(uint64, int) ([][]byte, bool, error) {
				s, err := proof.ParseStep(l.steps[0])
				s.Certificate = certify(&s.Header, forger)
				return [][]byte{s.Append(nil)}, false, err
			}
		},
		"garbage": func(*ledger) func(uint64, int) ([][]byte, bool, error) {
			return func(uint64, int) ([][]byte, bool, error) { return [][]byte{{1, 2, 3}}, false, nil }
		},
	} {
		l, _, _ := moved(t)
		liar := &shrewd{ledger: l, steps: lie(l)}
		bad, _ := l.serveNode(t, liar, l.gateway, "127.0.0.1:0")
		good, _ := l.serve(t, l.gateway, "127.0.0.1:0")
		if _, err := dialWith(t, l, client.Config{Bundle: l.bundle(bad), Attempts: 1}); err == nil || name != "refused" && !errors.Is(err, client.ErrNotGateway) {
			t.Errorf("%s: %v", name, err)
		}
		bundle := l.bundle(bad)
		bundle.Gateways = append(bundle.Gateways, good)
		c, err := dialWith(t, l, client.Config{Bundle: bundle})
		if err != nil {
			t.Errorf("%s: not even the other gateway: %v", name, err)
			continue
		}
		if e, err := c.Get(t.Context(), []byte("door")); err != nil || string(e.Value) != "locked" {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

// A client that was connected when its gateway turned bad asks another.
func TestClientLeavesAGatewayThatLies(t *testing.T) {
	for name, turn := range map[string]func(liar *shrewd, old []byte){
		"an old proof": func(liar *shrewd, old []byte) { liar.prove = func([]byte) ([]byte, error) { return old, nil } },
		"no steps": func(liar *shrewd, _ []byte) {
			liar.steps = func(uint64, int) ([][]byte, bool, error) { return nil, false, nil }
		},
		"garbage": func(liar *shrewd, _ []byte) { liar.prove = func([]byte) ([]byte, error) { return []byte{0xa0}, nil } },
	} {
		l, _, _ := moved(t)
		old := l.entry("door")
		l.commit(nil, nil, nil)
		liar := &shrewd{ledger: l}
		bad, _ := l.serveNode(t, liar, l.gateway, "127.0.0.1:0")
		good, _ := l.serve(t, l.gateway, "127.0.0.1:0")
		bundle := l.bundle(bad)
		bundle.Gateways = append(bundle.Gateways, good)
		c, err := dialWith(t, l, client.Config{Bundle: bundle})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(t.Context(), []byte("door")); err != nil {
			t.Fatal(err)
		}
		l.handOver(keysOf(t, 4)...)
		l.commit(map[string][]byte{"door": []byte(name)}, nil, nil)
		l.with(func() { turn(liar, old) })
		if e, err := c.Get(t.Context(), []byte("door")); err != nil || string(e.Value) != name {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

func TestContradictingCheckpoint(t *testing.T) {
	l, _, _ := moved(t)
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	for name, c := range map[string]*client.Checkpoint{
		"other validators": {Height: 3, Block: abi.Hash{1}, Validators: chain.ValidatorSet{{ID: 1, Key: newKey(t).Public()}}},
		"another block":    {Height: 4, Block: abi.Hash{1}, Validators: l.set},
		"in the future":    {Height: 9, Block: abi.Hash{1}, Validators: l.set},
	} {
		bundle := l.bundle(address)
		bundle.Checkpoint = c
		if _, err := dialWith(t, l, client.Config{Bundle: bundle, Attempts: 1}); !errors.Is(err, client.ErrNotGateway) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// One that only the past contradicts is found when the past is asked for.
	bundle := l.bundle(address)
	bundle.Checkpoint = &client.Checkpoint{Height: 5, Block: abi.Hash{1}, Validators: l.set}
	l.commit(nil, nil, nil)
	l.commit(nil, nil, nil)
	c, err := dialWith(t, l, client.Config{Bundle: bundle})
	if err != nil {
		t.Fatal(err)
	}
	var fork *client.ForkError
	if _, err := c.Block(t.Context(), 5); !errors.As(err, &fork) {
		t.Errorf("the block that the checkpoint is not: %v", err)
	}
	if _, err := c.Block(t.Context(), 6); !errors.As(err, &fork) {
		t.Errorf("its child: %v", err)
	}
}

// Answers that are too old are asked for at the next gateway.
func TestStaleGatewaysAreLeft(t *testing.T) {
	l := newLedger(t)
	l.commit(map[string][]byte{"door": []byte("open")}, nil, nil)
	var behind [3]atomic.Uint64
	var nodes [3]*shrewd
	bundle := l.bundle("")
	bundle.Gateways = nil
	for i := range nodes {
		nodes[i] = &shrewd{ledger: l, staleness: behind[i].Load}
		address, _ := l.serveNode(t, nodes[i], l.gateway, "127.0.0.1:0")
		bundle.Gateways = append(bundle.Gateways, address)
	}
	behind[0].Store(60_000)
	c, err := dialWith(t, l, client.Config{Bundle: bundle, MaxStaleness: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(want abi.Code) {
		t.Helper()
		answer, err := c.Decide(t.Context(), "", request())
		if answer.Permit != (want == abi.OK) || client.CodeOf(err) != want {
			t.Errorf("%+v, %v", answer, err)
		}
	}
	ask(abi.OK)
	if nodes[0].asked.Load() != 1 || nodes[1].asked.Load() != 1 { // hello
		t.Errorf("asked %d and %d", nodes[0].asked.Load(), nodes[1].asked.Load())
	}
	behind[1].Store(60_000)
	ask(abi.OK)
	if nodes[2].asked.Load() != 1 {
		t.Error("the third gateway was not asked")
	}
	behind[2].Store(60_000)
	ask(abi.CodeTooStale)
	if answers, err := c.DecideBatch(t.Context(), "", []abi.DecisionRequest{*request()}, abi.ExecuteAll); !errors.Is(err, abi.CodeTooStale) {
		t.Errorf("batch: %v, %v", answers, err)
	}
	if e, err := c.Get(t.Context(), []byte("door")); !errors.Is(err, abi.CodeTooStale) {
		t.Errorf("Get: %+v, %v", e, err)
	}
	hellos := nodes[0].asked.Load() + nodes[1].asked.Load() + nodes[2].asked.Load()
	for range 20 { // they are not asked again at once
		ask(abi.CodeTooStale)
	}
	if now := nodes[0].asked.Load() + nodes[1].asked.Load() + nodes[2].asked.Load(); now != hellos {
		t.Errorf("%d handshakes for 20 decisions", now-hellos)
	}
	// Without a bound the staleness is the caller's to judge.
	free, err := dialWith(t, l, client.Config{Bundle: bundle})
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := free.Decide(t.Context(), "", request()); err != nil || !answer.Permit || answer.Staleness != 60_000 {
		t.Errorf("%+v, %v", answer, err)
	}
}

// A gateway that says nothing costs one request its time, and the next goes to
// another; one that is just slow for an impatient caller is kept.
func TestSilentGatewayIsLeft(t *testing.T) {
	l := newLedger(t)
	l.decide = permit
	heard := make(chan struct{}, 10)
	silent := script(t, l, func(_ *quic.Stream, _ abi.Request) { heard <- struct{}{} })
	good, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	bundle := l.bundle(silent)
	bundle.Gateways = append(bundle.Gateways, good)
	c, err := dialWith(t, l, client.Config{Bundle: bundle, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Decide(ctx, "", request()); !errors.Is(err, abi.CodeTimeout) {
		t.Errorf("an impatient caller: %v", err)
	}
	if answer, err := c.Decide(t.Context(), "", request()); !errors.Is(err, abi.CodeTimeout) || answer.Permit {
		t.Errorf("the silent gateway: %+v, %v", answer, err)
	}
	if n := len(heard); n != 2 {
		t.Errorf("the silent gateway heard %d requests", n)
	}
	if answer, err := c.Decide(t.Context(), "", request()); err != nil || !answer.Permit {
		t.Errorf("the other gateway: %+v, %v", answer, err)
	}
}
