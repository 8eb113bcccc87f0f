package consensus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/seed79541315/postern/abi"
)

// network joins engines in one process. Messages of a pair stay in order and
// take a millisecond; a node that is down loses them.
type network struct {
	t     testing.TB
	delay time.Duration
	ctx   context.Context
	mu    sync.Mutex
	nodes map[uint64]*node
	drop  func(from, to uint64, m *smartbftprotos.Message) bool // nil keeps all
	pairs map[[2]uint64]chan func()
	wg    sync.WaitGroup
}

type node struct {
	id   uint64
	key  key
	dir  string
	app  *app
	run  *running // nil while down
	net  *network
	skew time.Duration

	tune func(*Config) // nil: nothing is changed
}

const delay = time.Millisecond

func newNetwork(t testing.TB, n int) *network {
	ctx, cancel := context.WithCancel(t.Context())
	net := &network{t: t, delay: delay, ctx: ctx, nodes: map[uint64]*node{}, pairs: map[[2]uint64]chan func(){}}
	t.Cleanup(func() {
		for _, v := range net.nodes {
			v.kill()
		}
		cancel()
		net.wg.Wait()
	})
	for i := range n {
		id := uint64(i + 1)
		net.nodes[id] = &node{id: id, key: newKey(id), dir: t.TempDir(), app: newApp(t, n), net: net}
	}
	return net
}

// start starts or restarts a node on what its disk holds.
func (v *node) start() {
	v.app = v.app.reopen(v.app.snapshot())
	v.app.clock = func() (int64, bool) { return time.Now().Add(v.skew).UnixMilli(), true }
	run := start(v.net.t, v.config())
	v.net.mu.Lock()
	defer v.net.mu.Unlock()
	v.run = run
}

func (v *node) config() Config {
	cfg := config(v.net.t, v.app, v.dir)
	cfg.ID, cfg.Key, cfg.Transport, cfg.Syncer = v.id, v.key, v, v
	if v.tune != nil {
		v.tune(&cfg)
	}
	return cfg
}

// kill stops a node. What it sent is still on its way.
func (v *node) kill() {
	v.net.mu.Lock()
	run := v.run
	v.run = nil
	v.net.mu.Unlock()
	if run == nil {
		return
	}
	run.mu.Lock()
	r := run.replica
	run.mu.Unlock()
	switch err := run.stop(); {
	case errors.Is(err, errStuck) && r != nil:
		release(r)
	case err != nil:
		v.net.t.Errorf("node %d: %v", v.id, err)
	}
}

func (net *network) startAll() {
	for id := range uint64(len(net.nodes)) {
		net.nodes[id+1].start()
	}
}

func (net *network) engine(id uint64) *running {
	net.mu.Lock()
	defer net.mu.Unlock()
	return net.nodes[id].run
}

// send queues f behind what went the same way before.
func (net *network) send(from, to uint64, lane uint64, f func(*running)) {
	net.mu.Lock()
	defer net.mu.Unlock()
	key := [2]uint64{from<<1 | lane, to}
	line := net.pairs[key]
	if line == nil {
		line = make(chan func(), 10_000)
		net.pairs[key] = line
		net.wg.Go(func() { net.carry(line) })
	}
	at := time.Now().Add(net.delay)
	line <- func() {
		elapse(time.Until(at))
		if r := net.engine(to); r != nil {
			f(r)
		}
	}
}

func (net *network) carry(line <-chan func()) {
	for {
		select {
		case <-net.ctx.Done():
			return
		case f := <-line:
			f()
		}
	}
}

func (v *node) Send(to uint64, message []byte) {
	m := &smartbftprotos.Message{} // empty for what the sender watches
	if message[0] != watched {
		if err := proto.Unmarshal(message, m); err != nil {
			v.net.t.Error(err)
		}
	}
	v.net.mu.Lock()
	from := v.id // when it arrives the node may have another
	drop := v.net.drop != nil && v.net.drop(from, to, m)
	v.net.mu.Unlock()
	if !drop {
		v.net.send(from, to, 0, func(r *running) { r.Handle(from, message) })
	}
}

func (v *node) SendTransaction(to uint64, raw []byte) {
	v.net.send(v.id, to, 1, func(r *running) { _ = r.HandleTransaction(v.net.ctx, raw) })
}

// Sync copies what the running nodes have.
func (v *node) Sync(context.Context) error {
	best := v.app.snapshot()
	v.net.mu.Lock()
	for _, peer := range v.net.nodes {
		if peer.run != nil && peer != v {
			if d := peer.app.snapshot(); len(d.blocks) > len(best.blocks) {
				best = d
			}
		}
	}
	v.net.mu.Unlock()
	for h := v.app.Head().Height + 1; h < uint64(len(best.blocks)); h++ {
		if err := v.app.Commit(v.net.ctx, best.blocks[h], best.certificates[h]); err != nil {
			return err
		}
	}
	return nil
}

// commit submits to one node and waits until all of those have it.
func (net *network) commit(n uint64, at uint64, on ...uint64) {
	net.t.Helper()
	raw := transaction(net.t, n)
	if _, err := net.engine(at).Submit(net.t.Context(), raw); err != nil {
		net.t.Fatal(err)
	}
	net.await(txID(net.t, raw), on...)
}

func (net *network) await(id abi.Hash, on ...uint64) {
	net.t.Helper()
	for _, v := range on {
		select {
		case <-net.nodes[v].app.wait(id):
		case <-time.After(10 * time.Minute):
			for id, w := range net.nodes {
				net.t.Logf("node %d: height %d, %+v", id, w.app.Head().Height, net.engine(id).Stats())
			}
			net.t.Fatalf("node %d has no block with the transaction after ten minutes", v)
		}
	}
}

// agree checks that no two nodes hold different blocks.
func (net *network) agree() {
	net.t.Helper()
	for _, v := range net.nodes {
		checkChain(net.t, v.app)
		for _, w := range net.nodes {
			a, b := v.app.snapshot().blocks, w.app.snapshot().blocks
			for h := range min(len(a), len(b)) {
				if a[h].Header != b[h].Header {
					net.t.Fatalf("nodes %d and %d differ at height %d", v.id, w.id, h)
				}
			}
		}
	}
}

func (net *network) leader() uint64 { return net.engine(net.anyUp()).Stats().Leader }

func (net *network) anyUp() uint64 {
	net.mu.Lock()
	defer net.mu.Unlock()
	for id, v := range net.nodes {
		if v.run != nil {
			return id
		}
	}
	panic("no node is up")
}

func TestFourValidators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 4)
		net.startAll()
		for n := range uint64(20) {
			net.commit(n+1, n%4+1, 1, 2, 3, 4)
		}
		net.agree()
		height := net.nodes[1].app.Head().Height
		elapse(10 * time.Minute)
		if h := net.nodes[1].app.Head().Height; h != height {
			t.Fatalf("%d blocks in ten idle minutes", h-height)
		}
		net.commit(100, 2, 1, 2, 3, 4)
		net.agree()
	})
}

// What a transaction costs as validators are added: the time of the network,
// which a millisecond's delay makes, and the processor's over all of them.
func TestCostOfValidators(t *testing.T) {
	for _, validators := range []uint64{1, 4, 7, 16} {
		t.Run(fmt.Sprint(validators), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newNetwork(t, int(validators))
				net.startAll()
				var all []uint64
				for id := range validators {
					all = append(all, id+1)
				}
				const blocks = 20
				begin, used := time.Now(), cpu(t)
				for n := range uint64(blocks) {
					net.commit(n+1, n%validators+1, all...)
				}
				latency := time.Since(begin) / blocks
				t.Logf("%v of network time and %v of processor time for each of %d transactions one after another",
					latency, (cpu(t)-used)/blocks, blocks)
				if latency > 10*delay {
					t.Errorf("a transaction takes %v", latency)
				}
				net.agree()
			})
		})
	}
}

// Three of four go on without their leader, and it catches up when it returns.
func TestLeaderFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 4)
		net.startAll()
		net.commit(1, 1, 1, 2, 3, 4)
		down := net.leader()
		var up []uint64
		for id := range net.nodes {
			if id != down {
				up = append(up, id)
			}
		}
		net.nodes[down].kill()
		begin := time.Now()
		net.commit(2, up[0], up...)
		t.Logf("the first block without its leader took %v", time.Since(begin))
		net.nodes[down].start()
		net.commit(3, up[1], up...)
		net.await(txID(t, transaction(t, 3)), down)
		net.commit(4, down, 1, 2, 3, 4)
		net.agree()
	})
}

// A leader that crashes when it has recorded its proposal but sent it to
// nobody sends it when it is back: nobody need depose it.
func TestLeaderCrashesBeforeSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 4)
		net.startAll()
		net.commit(1, 1, 1, 2, 3, 4)
		leader := net.leader()
		net.mu.Lock()
		net.drop = func(from, _ uint64, m *smartbftprotos.Message) bool { return from == leader }
		net.mu.Unlock()
		raw := transaction(t, 2)
		if _, err := net.engine(leader).Submit(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		elapse(5 * delay)
		net.nodes[leader].kill()
		net.mu.Lock()
		net.drop = nil
		net.mu.Unlock()
		begin := time.Now()
		net.nodes[leader].start()
		net.await(txID(t, raw), 1, 2, 3, 4)
		if d := time.Since(begin); d > time.Second {
			t.Errorf("its block took %v", d)
		}
		if net.leader() != leader {
			t.Error("it was deposed")
		}
		net.agree()
	})
}

// A node that voted for a block, and lost the ledger's end and the log,
// follows until it is past what it voted for, and then votes again.
func TestRestoredValidatorFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 4)
		net.startAll()
		for n := range uint64(5) {
			net.commit(n+1, 1, 1, 2, 3, 4)
		}
		v := net.nodes[3]
		v.kill()
		signed := moment{wal: v.dir}.signed()
		if signed != 5 {
			t.Fatalf("it voted up to %d", signed)
		}
		v.app.disk = v.app.disk.rewind(2)
		v.dir = moveSigned(t, v.dir)
		v.start()
		if h := v.app.Head().Height; h != 5 {
			t.Fatalf("it votes at height %d", h)
		}
		net.nodes[4].kill()
		net.commit(6, 1, 1, 2, 3)
		net.agree()
	})
}

// A validator whose clock is wrong refuses blocks but is not lost: it follows.
func TestWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 4)
		net.nodes[4].skew = time.Minute
		net.startAll()
		for n := range uint64(5) {
			net.commit(n+1, 4, 1, 2, 3)
		}
		net.await(txID(t, transaction(t, 5)), 4)
		net.agree()
	})
}

// A validator cut off in the middle catches up when the network is whole.
func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 4)
		net.startAll()
		net.mu.Lock()
		net.drop = func(from, to uint64, _ *smartbftprotos.Message) bool { return from == 4 || to == 4 }
		net.mu.Unlock()
		for n := range uint64(5) {
			net.commit(n+1, 1, 1, 2, 3)
		}
		net.mu.Lock()
		net.drop = nil
		net.mu.Unlock()
		net.commit(6, 1, 1, 2, 3)
		net.await(txID(t, transaction(t, 6)), 4)
		synctest.Wait()
		if s := net.engine(4).Stats(); s.Pooled != 0 || s.Waiting != 0 {
			t.Errorf("it still holds what it has synced: %+v", s)
		}
		net.agree()
	})
}

// A transport that loses every tenth message costs time, not agreement.
func TestLossyTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 4)
		random := rand.New(rand.NewPCG(1, 2))
		net.drop = func(uint64, uint64, *smartbftprotos.Message) bool { return random.IntN(10) == 0 }
		net.startAll()
		for n := range uint64(30) {
			net.commit(n+1, n%4+1, 1, 2, 3, 4)
		}
		net.agree()
	})
}

// Nodes that crash and restart one after another, on what their disks hold,
// under load, neither fork nor stall.
func TestRollingRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 4)
		net.startAll()
		n := uint64(0)
		for round := range uint64(8) {
			down := round%4 + 1
			at := down%4 + 1
			for range 5 {
				n++
				if _, err := net.engine(at).Submit(t.Context(), transaction(t, n)); err != nil {
					t.Fatal(err)
				}
				elapse(time.Duration(round) * time.Millisecond)
			}
			net.nodes[down].kill()
			net.nodes[down].start()
			elapse(time.Second) // pools are memory: another must hear of a request before its last holder goes
		}
		for i := range n {
			net.await(txID(t, transaction(t, i+1)), 1, 2, 3, 4)
		}
		net.agree()
	})
}

// Garbage and messages of strangers change nothing.
func TestHostileMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 4)
		net.startAll()
		forged := func(m *smartbftprotos.Message) []byte {
			b, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		messages := [][]byte{
			nil, {0xff}, make([]byte, MaxMessage+1),
			forged(&smartbftprotos.Message{Content: &smartbftprotos.Message_PrePrepare{PrePrepare: &smartbftprotos.PrePrepare{Seq: 1}}}),
			forged(&smartbftprotos.Message{Content: &smartbftprotos.Message_PrePrepare{PrePrepare: &smartbftprotos.PrePrepare{Seq: 1,
				Proposal: &smartbftprotos.Proposal{Header: []byte{1}, Payload: []byte{2}, Metadata: []byte{3}}}}}),
			forged(&smartbftprotos.Message{Content: &smartbftprotos.Message_Commit{Commit: &smartbftprotos.Commit{Seq: 1}}}),
			forged(&smartbftprotos.Message{Content: &smartbftprotos.Message_Commit{Commit: &smartbftprotos.Commit{Seq: 1, Digest: "x",
				Signature: &smartbftprotos.Signature{Signer: 4, Value: make([]byte, 64)}}}}),
			forged(&smartbftprotos.Message{Content: &smartbftprotos.Message_NewView{NewView: &smartbftprotos.NewView{
				SignedViewData: []*smartbftprotos.SignedViewData{{RawViewData: []byte{0xff}, Signer: 4}, {}}}}}),
			forged(&smartbftprotos.Message{Content: &smartbftprotos.Message_ViewData{ViewData: &smartbftprotos.SignedViewData{RawViewData: []byte{1}}}}),
			forged(&smartbftprotos.Message{Content: &smartbftprotos.Message_HeartBeat{HeartBeat: &smartbftprotos.HeartBeat{View: 99}}}),
			forged(&smartbftprotos.Message{Content: &smartbftprotos.Message_StateTransferResponse{}}),
			forged(&smartbftprotos.Message{Content: &smartbftprotos.Message_ViewChange{ViewChange: &smartbftprotos.ViewChange{NextView: 1}}}),
		}
		for n := range uint64(5) {
			for _, m := range messages {
				for _, from := range []uint64{4, 0, 17, 2} {
					if from != 2 {
						net.engine(2).Handle(from, m)
					}
				}
			}
			net.commit(n+1, 1, 1, 2, 3)
		}
		net.agree()
	})
}

// A validator that the set no longer names ends its Run; the others go on, and
// sign under the next verification sequence. One that restarts learns the
// sequence from its last block.
func TestValidatorVotedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 5)
		for _, v := range net.nodes {
			v.app.split, v.app.after = 3, v.app.set[:4]
		}
		net.startAll()
		for n := range uint64(3) {
			net.commit(n+1, 1, 1, 2, 3, 4)
		}
		net.await(txID(t, transaction(t, 3)), 5)
		out := net.nodes[5]
		if err := <-out.run.done; !errors.Is(err, ErrNotValidator) {
			t.Fatalf("Run returned %v", err)
		}
		net.mu.Lock()
		out.run = nil
		net.mu.Unlock()
		net.commit(4, 2, 1, 2, 3, 4)
		net.nodes[3].kill()
		net.nodes[3].start()
		net.commit(5, 3, 1, 2, 3, 4)
		net.nodes[1].kill()
		net.commit(6, 3, 2, 3, 4)
		for h, want := range map[int]uint64{3: 0, 4: 1, 6: 1} {
			if got := net.nodes[2].app.snapshot().certificates[h].Sequence; got != want {
				t.Errorf("block %d has verification sequence %d, want %d", h, got, want)
			}
		}
		net.agree()
	})
}

// A chain of one validator becomes one of four without a restart.
func TestGrowth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 4)
		for id, v := range net.nodes {
			full := v.app.set
			v.app = newApp(t, 1)
			v.app.split, v.app.after = 2, full
			if id == 1 {
				v.start()
			}
		}
		net.commit(1, 1, 1)
		net.commit(2, 1, 1)
		for id := range uint64(3) {
			v := net.nodes[id+2]
			if err := Begin(v.dir, testChain); err != nil {
				t.Fatal(err)
			}
			if err := v.Sync(net.ctx); err != nil {
				t.Fatal(err)
			}
			v.start()
		}
		for n := range uint64(8) {
			net.commit(n+3, n%4+1, 1, 2, 3, 4)
		}
		net.nodes[net.leader()].kill()
		up := net.anyUp()
		net.commit(50, up, up)
		net.agree()
	})
}

// A node that recorded a proposal, missed its decision and synced past it does
// not wait for that proposal's prepares when it is back.
func TestStaleProposal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 4)
		net.startAll()
		net.commit(1, 1, 1, 2, 3, 4)
		net.mu.Lock()
		net.drop = func(_, to uint64, m *smartbftprotos.Message) bool { return to == 4 && m.GetPrePrepare() == nil }
		net.mu.Unlock()
		net.commit(2, 1, 1, 2, 3)
		net.nodes[4].kill()
		net.mu.Lock()
		net.drop = nil
		net.mu.Unlock()
		net.nodes[4].start()
		begin := time.Now()
		net.commit(3, 1, 1, 2, 3, 4)
		if d := time.Since(begin); d > time.Second {
			t.Errorf("it took %v to vote again", d)
		}
		net.nodes[2].kill() // so that its vote is needed
		begin = time.Now()
		net.commit(4, 1, 1, 3, 4)
		if d := time.Since(begin); d > time.Second {
			t.Errorf("the block that needs its vote took %v", d)
		}
		net.agree()
	})
}

// A view that ends while its block is being committed does not keep the
// validator from going on in the next.
func TestViewEndsAtDelivery(t *testing.T) {
	for _, of := range []uint64{1, 2, 3} { // the leader, the next one, and one that only follows
		t.Run(fmt.Sprint(of), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newNetwork(t, 4)
				net.startAll()
				s := &scripted{net, newApp(t, 4)}
				net.commit(1, 1, 1, 2, 3, 4)
				hold := make(chan struct{})
				net.nodes[of].app.onCommit = func(height uint64) error {
					if height == 2 {
						<-hold
					}
					return nil
				}
				var others []uint64
				for id := range uint64(4) {
					if id+1 != of {
						others = append(others, id+1)
					}
				}
				net.commit(2, others[0], others...)
				for _, id := range others {
					s.say(id, viewChange(1), of)
				}
				elapse(100 * time.Millisecond)
				for _, id := range others {
					s.say(of, viewChange(1), others...)
					s.say(id, viewChange(1), others...)
				}
				elapse(time.Second)
				close(hold)
				begin := time.Now()
				net.commit(3, others[1], 1, 2, 3, 4)
				net.commit(4, of, 1, 2, 3, 4)
				if leader := net.engine(of).Stats().Leader; leader == 1 {
					t.Error("views have not changed")
				}
				if d := time.Since(begin); d > 10*time.Second {
					t.Errorf("two blocks took %v", d)
				}
				net.agree()
			})
		})
	}
}

// A validator that missed the last block syncs soon after it has heard of it,
// by signed heads on an idle chain or by what the others say of the next block,
// which needs its vote.
func TestUrged(t *testing.T) {
	for name, heads := range map[string]bool{"by heads": true, "by votes": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newNetwork(t, 4)
				net.startAll()
				net.commit(1, 1, 1, 2, 3, 4)
				net.losing(func(_, to uint64, _ *smartbftprotos.Message) bool { return to == 4 })
				net.commit(2, 1, 1, 2, 3)
				net.nodes[2].kill()
				net.losing(func(_, to uint64, m *smartbftprotos.Message) bool { return to == 4 && m.GetHeartBeat() != nil })
				begin := time.Now()
				if heads {
					net.engine(4).Behind(2)
					net.await(txID(t, transaction(t, 2)), 4)
				} else {
					net.commit(3, 3, 1, 3, 4)
				}
				if d := time.Since(begin); d > 2*time.Second {
					t.Errorf("it took %v", d)
				}
				net.losing(nil)
				net.nodes[2].start()
				net.commit(4, 1, 1, 2, 3, 4)
				net.agree()
			})
		})
	}
}
