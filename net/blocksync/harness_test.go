package blocksync

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/net/peer"
)

// seat is a validator of the tests.
type seat struct {
	id  uint64
	key ed25519.PrivateKey
}

func seatOf(id uint64) seat {
	seed := sha256.Sum256(fmt.Appendf(nil, "validator %d", id))
	return seat{id, ed25519.NewKeyFromSeed(seed[:])}
}

func seats(ids ...uint64) (list []seat) {
	for _, id := range ids {
		list = append(list, seatOf(id))
	}
	return list
}

func setOf(list []seat) (set chain.ValidatorSet) {
	for _, s := range list {
		set = append(set, chain.Validator{ID: s.id, Key: s.key.Public().(ed25519.PublicKey)})
	}
	return set
}

func keyOf(name string) peer.Key { return sha256.Sum256([]byte(name)) }

// record is a block as it is stored.
type stored struct {
	header                       chain.Header
	block, certificate, outcomes []byte
}

// history is a chain that the tests made, with block 0.
type history struct {
	blocks []stored
	seats  [][]seat // that sign block i
	steps  [][]byte
	roots  map[uint64]abi.Hash // of the state at some heights
}

// build makes a chain of n blocks with a transaction of size bytes each. The
// validators change after the heights in changes.
func build(n, size int, changes map[uint64][]seat) *history {
	return buildOver("test", n, size, changes, nil)
}

// buildOver is build with the chain's name and the roots of some states.
func buildOver(name string, n, size int, changes map[uint64][]seat, roots map[uint64]abi.Hash) *history {
	now := seats(1, 2, 3, 4)
	genesis := chain.Genesis{Name: name, Time: 1, Params: chain.DefaultParams(), Validators: setOf(now)}
	raw := genesis.Append(nil)
	head := chain.Header{Chain: chain.ChainID(raw), Protocol: 1, Time: 1, Validators: setOf(now).Hash(), NextValidators: setOf(now).Hash()}
	h := &history{blocks: []stored{{header: head, block: chain.AppendBlock(nil, &chain.Block{Header: head, Txs: [][]byte{raw}})}}, seats: [][]seat{now}, roots: roots}
	for i := 1; i <= n; i++ {
		next, changed := changes[uint64(i)]
		if !changed {
			next = now
		}
		tx := make([]byte, size)
		copy(tx, fmt.Sprintf("transaction of block %d", i))
		h.add(now, next, tx)
		if changed {
			b := h.blocks[i]
			c, _ := chain.ParseCertificate(b.certificate)
			step := proof.Step{Header: b.header, Certificate: c, Next: setOf(next)}
			h.steps = append(h.steps, step.Append(nil))
		}
		now = next
	}
	return h
}

// add makes the next block, signed by now, after which next signs.
func (h *history) add(now, next []seat, txs ...[]byte) {
	parent := h.blocks[len(h.blocks)-1].header
	outcomes := [][]byte{fmt.Appendf(nil, "outcome %d", len(h.blocks))}
	header := chain.Header{
		Chain: parent.Chain, Protocol: 1, Height: parent.Height + 1, Time: parent.Time + 1, Parent: parent.Hash(),
		Transactions: proof.Root(txs), Outcomes: proof.Root(outcomes), State: sha256.Sum256(fmt.Appendf(nil, "state %d", len(h.blocks))),
		Validators: setOf(now).Hash(), NextValidators: setOf(next).Hash(),
	}
	if root, ok := h.roots[header.Height]; ok {
		header.State = root
	}
	h.blocks = append(h.blocks, stored{
		header: header, block: chain.AppendBlock(nil, &chain.Block{Header: header, Txs: txs}),
		certificate: certify(&header, now, setOf(now).Quorum()), outcomes: chain.AppendOutcomes(nil, outcomes),
	})
	h.seats = append(h.seats, now)
}

// certify makes a certificate of the first n of the signers.
func certify(h *chain.Header, signers []seat, n int) []byte {
	c := chain.Certificate{Metadata: fmt.Appendf(nil, "metadata %d", h.Height)}
	vote := chain.AppendVote(nil, h.Chain, h.Hash(), c.Metadata, c.Sequence)
	for _, s := range signers[:n] {
		c.Signatures = append(c.Signatures, chain.Signature{Validator: s.id, Signature: ed25519.Sign(s.key, vote)})
	}
	return c.Append(nil)
}

// sets are the validators by their hash, which a real ledger has in its state.
func (h *history) sets() map[abi.Hash]chain.ValidatorSet {
	sets := map[abi.Hash]chain.ValidatorSet{}
	for _, s := range h.seats {
		sets[setOf(s).Hash()] = setOf(s)
	}
	for _, raw := range h.steps {
		step, _ := proof.ParseStep(raw)
		sets[step.Next.Hash()] = step.Next
	}
	return sets
}

// ledger is a Ledger that takes what it must and complains of anything else.
type ledger struct {
	t    testing.TB
	id   abi.Hash
	sets map[abi.Hash]chain.ValidatorSet
	cost time.Duration // of a commit

	mu        sync.Mutex
	blocks    []stored // guarded by mu
	base      uint64   // guarded by mu
	committed chan struct{}
	refuse    error // what Commit says
}

// newLedger holds the blocks of a history up to a height.
func newLedger(t testing.TB, h *history, height int) *ledger {
	return &ledger{t: t, id: h.blocks[0].header.Chain, sets: h.sets(), blocks: slices.Clone(h.blocks[:height+1]), base: 1, committed: make(chan struct{})}
}

func (l *ledger) ChainID() abi.Hash { return l.id }

func (l *ledger) Head() chain.Header {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.blocks[len(l.blocks)-1].header
}

func (l *ledger) height() uint64 { return l.Head().Height }

func (l *ledger) ValidatorSet() chain.ValidatorSet { return l.sets[l.Head().NextValidators] }

func (l *ledger) Block(height uint64) (block, certificate, outcomes []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if height >= uint64(len(l.blocks)) || height > 0 && height < l.base {
		return nil, nil, nil, abi.CodeNotFound
	}
	b := l.blocks[height]
	return b.block, b.certificate, b.outcomes, nil
}

func (l *ledger) Base() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.base
}

func (l *ledger) Committed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.committed
}

// Commit is where a test fails if anything comes that was not verified.
func (l *ledger) Commit(ctx context.Context, k *chain.Block, c *chain.Certificate) error {
	if l.cost > 0 {
		elapse(l.cost)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	head := l.blocks[len(l.blocks)-1].header
	if k.Header.Height <= head.Height {
		return nil
	}
	if l.refuse != nil {
		return l.refuse
	}
	switch {
	case k.Header.Height != head.Height+1 || k.Header.Parent != head.Hash():
		l.t.Errorf("block %d was handed over after block %d", k.Header.Height, head.Height)
	case proof.Root(k.Txs) != k.Header.Transactions:
		l.t.Errorf("block %d was handed over with others' transactions", k.Header.Height)
	case c.Verify(&k.Header, l.sets[head.NextValidators]) != nil:
		l.t.Errorf("block %d was handed over without a good certificate", k.Header.Height)
	}
	l.take(stored{header: k.Header, block: chain.AppendBlock(nil, k), certificate: c.Append(nil)})
	return ctx.Err()
}

// take adds a block. mu is held.
func (l *ledger) take(b stored) {
	l.blocks = append(l.blocks, b)
	close(l.committed)
	l.committed = make(chan struct{})
}

// grow adds the next blocks of a history, as consensus would.
func (l *ledger) grow(h *history, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		l.take(h.blocks[len(l.blocks)])
	}
}

func (l *ledger) prune(base uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.base = base
}

// server answers the requests of one peer.
type server func(ctx context.Context, from peer.Key, request []byte, st peer.Stream) error

// network is peers that answer out of memory, as one node sees them.
type network struct {
	self peer.Key

	mu      sync.Mutex
	peers   map[peer.Key]*fakePeer // guarded by mu
	changed chan struct{}
	banned  map[peer.Key]error // guarded by mu
	open    sync.WaitGroup
}

type fakePeer struct {
	info  peer.Info
	serve server
	gone  context.Context
	leave context.CancelFunc
}

func newNetwork(name string) *network {
	return &network{self: keyOf(name), peers: map[peer.Key]*fakePeer{}, changed: make(chan struct{}), banned: map[peer.Key]error{}}
}

// connect adds a peer.
func (n *network) connect(name string, class peer.Class, serve server) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := &fakePeer{info: peer.Info{Key: keyOf(name), Class: class, RTT: time.Duration(len(n.peers))}, serve: serve}
	p.gone, p.leave = context.WithCancel(context.Background())
	n.peers[p.info.Key] = p
	n.poke()
}

func (n *network) poke() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// disconnect takes a peer away; its streams break.
func (n *network) disconnect(key peer.Key) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.peers[key]; p != nil {
		p.leave()
		delete(n.peers, key)
		n.poke()
	}
}

// stop takes all peers away and waits for what they serve.
func (n *network) stop() {
	n.mu.Lock()
	for key, p := range n.peers {
		p.leave()
		delete(n.peers, key)
	}
	n.mu.Unlock()
	n.open.Wait()
}

func (n *network) Connected() (list []peer.Info) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.peers {
		list = append(list, p.info)
	}
	slices.SortFunc(list, func(a, b peer.Info) int { return slices.Compare(a.Key[:], b.Key[:]) })
	return list
}

func (n *network) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

func (n *network) Misbehaved(key peer.Key, why error) {
	n.mu.Lock()
	n.banned[key] = why
	n.mu.Unlock()
	n.disconnect(key)
}

func (n *network) isBanned(name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.banned[keyOf(name)]
}

func (n *network) Open(ctx context.Context, to peer.Key, request []byte) (peer.Stream, error) {
	n.mu.Lock()
	p := n.peers[to]
	n.mu.Unlock()
	if p == nil {
		return nil, abi.CodeUnavailable
	}
	life, end := context.WithCancelCause(p.gone)
	there, back := make(chan []byte, 1), make(chan []byte, 1)
	ours := &fakeStream{life: life, end: end, in: back, out: there}
	theirs := &fakeStream{life: life, end: end, in: there, out: back}
	n.open.Go(func() {
		if err := p.serve(life, n.self, request, theirs); err != nil {
			end(err)
			return
		}
		select {
		case theirs.out <- nil: // the end, after what was sent
		case <-life.Done():
		}
	})
	return ours, nil
}

// fakeStream is one end of a stream. A nil frame is its end.
type fakeStream struct {
	life    context.Context
	end     context.CancelCauseFunc
	in, out chan []byte
}

var errClosed = errors.New("the stream was closed")

func (s *fakeStream) Send(frame []byte) error {
	select {
	case <-s.life.Done():
		return context.Cause(s.life)
	case s.out <- slices.Clone(frame):
		return nil
	}
}

func (s *fakeStream) Receive() ([]byte, error) {
	select {
	case frame := <-s.in: // what came before the end
		return endOr(frame)
	default:
	}
	select {
	case <-s.life.Done():
		return nil, context.Cause(s.life)
	case frame := <-s.in:
		return endOr(frame)
	}
}

func endOr(frame []byte) ([]byte, error) {
	if frame == nil {
		return nil, io.EOF
	}
	return frame, nil
}

func (s *fakeStream) Close() error {
	s.end(errClosed)
	return nil
}

var quiet = slog.New(slog.DiscardHandler)

// syncer makes a Syncer over a ledger and peers.
func syncer(t testing.TB, n Peers, l Ledger) *Syncer {
	s, err := New(Config{Peers: n, Ledger: l, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// honest serves the blocks of a ledger.
func honest(t testing.TB, l *ledger) server { return syncer(t, newNetwork("nobody"), l).Serve }

// elapse lets virtual time pass, and so has to stand in a synctest bubble, whose
// clock begins in 2000: no test waits for real time.
func elapse(d time.Duration) {
	if d > 0 && time.Now().Year() > 2001 {
		panic("BUG: a test waits for real time")
	}
	<-time.After(d)
}
