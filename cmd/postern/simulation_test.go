package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/vfs"
	"github.com/quic-go/quic-go/testutils/simnet"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/consensus"
	"github.com/seed79541315/postern/sdk/key"
	"github.com/seed79541315/postern/storage"
)

var (
	simSeed  = flag.Uint64("sim-seed", 1, "first seed of the simulated networks")
	simSeeds = flag.Int("sim-seeds", 1, "how many seeds of the simulated networks to play")
	simRound = flag.Int("sim-rounds", 2, "rounds of faults in a campaign, besides its changes of members")
	simLog   = flag.String("sim-log", "error", "what simulated nodes log")
)

// air is the network between simulated nodes: every packet takes some time,
// may be lost, doubled or overtaken, and does not cross a partition. It is
// made of a seed, but the order in which goroutines send is not, so a seed
// repeats the faults and not each packet's fate.
type air struct {
	mu    sync.Mutex
	rng   *rand.Rand
	ports map[string]simnet.PacketReceiver // by address
	side  map[string]int                   // by host: nodes of different sides do not reach one another
	mute  map[string]bool                  // hosts from which nothing comes

	delay, jitter   time.Duration
	lost, doubled   float64                  // shares of all packets
	slow            map[string]time.Duration // more delay of a host, both ways
	narrow          map[string]*narrowLink   // by host: what its link takes, both ways
	packets, losses int
}

func newAir(seed uint64) *air {
	return &air{rng: rand.New(rand.NewPCG(seed, seed)), ports: map[string]simnet.PacketReceiver{},
		side: map[string]int{}, mute: map[string]bool{}, slow: map[string]time.Duration{}, narrow: map[string]*narrowLink{}, delay: time.Millisecond}
}

// AddNode implements simnet.Router.
func (a *air) AddNode(addr net.Addr, receiver simnet.PacketReceiver) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ports[addr.String()] = receiver
}

// SendPacket implements simnet.Router.
func (a *air) SendPacket(p simnet.Packet) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.packets++
	from, to := host(p.From), host(p.To)
	receiver := a.ports[p.To.String()]
	if receiver == nil || a.side[from] != a.side[to] || a.mute[from] || a.rng.Float64() < a.lost {
		a.losses++
		return nil
	}
	for _, link := range []*narrowLink{a.narrow[from], a.narrow[to]} {
		if !link.takes(len(p.Data)) {
			a.losses++
			return nil
		}
	}
	p.Data = bytes.Clone(p.Data)
	a.deliver(receiver, p, from, to)
	if a.rng.Float64() < a.doubled {
		a.deliver(receiver, p, from, to)
	}
	return nil
}

func (a *air) deliver(receiver simnet.PacketReceiver, p simnet.Packet, from, to string) {
	delay := a.delay + a.slow[from] + a.slow[to] + a.narrow[from].queued() + a.narrow[to].queued()
	if a.jitter > 0 {
		delay += time.Duration(a.rng.Int64N(int64(a.jitter)))
	}
	time.AfterFunc(delay, func() { receiver.RecvPacket(p) })
}

// narrowLink carries so many bytes a second, and loses what would wait longer
// than longestQueue. A nil one carries everything at once.
type narrowLink struct {
	rate int
	free time.Time // when what was sent so far has passed
}

const longestQueue = 400 * time.Millisecond

func (l *narrowLink) queued() time.Duration {
	if l == nil {
		return 0
	}
	return max(0, time.Until(l.free))
}

func (l *narrowLink) takes(bytes int) bool {
	if l == nil {
		return true
	}
	queued := l.queued()
	if queued > longestQueue {
		return false
	}
	l.free = time.Now().Add(queued + time.Duration(bytes)*time.Second/time.Duration(l.rate))
	return true
}

// narrowTo bounds what a host's link carries, bytes a second; zero lifts it.
func (a *air) narrowTo(host string, rate int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.narrow, host)
	if rate > 0 {
		a.narrow[host] = &narrowLink{rate: rate}
	}
}

func host(addr net.Addr) string {
	h, _, _ := net.SplitHostPort(addr.String())
	return h
}

// listen opens a port of the air.
func (a *air) listen(addr string) (net.PacketConn, error) {
	udp, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	return simnet.NewSimConn(udp, a), nil
}

// partition puts hosts on a side of their own; without any, all are together.
func (a *air) partition(hosts ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.side)
	for _, h := range hosts {
		a.side[h] = 1
	}
}

// sent is how many packets were sent so far.
func (a *air) sent() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.packets
}

// silence keeps what a host sends from all others, or no longer.
func (a *air) silence(host string, silent bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mute[host] = silent
}

// slowDown adds a delay to what a host sends and receives.
func (a *air) slowDown(host string, delay time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.slow[host] = delay
}

// faults sets what the air does to packets.
func (a *air) faults(lost, doubled float64, jitter time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lost, a.doubled, a.jitter = lost, doubled, jitter
}

// simulation is a network of whole nodes in one process, in a synctest bubble:
// the database of each lies on a disk that can lose what was not synced, its
// consensus log in a real directory.
type simulation struct {
	t        testing.TB
	air      *air
	operator *key.Key
	genesis  []byte
	nodes    []*simulatedNode
	rng      *rand.Rand
	tune     func(*config)       // of every node that starts; may be nil
	chain    map[uint64]abi.Hash // the block of each height, as first seen
}

type simulatedNode struct {
	sim     *simulation
	name    string
	host    string
	home    home
	disk    *vfs.MemFS
	cfg     config
	failing *failingDisk  // over disk; nil: it never fails
	skew    atomic.Int64  // ns, of its clock
	lives   atomic.Uint64 // one more with each crash and each start after it: odd while it dies
	keep    uint64        // its keep_blocks
	stop    context.CancelFunc
	ended   chan error
	seen    uint64 // height up to which its blocks were compared

	mu   sync.Mutex // held by the test to set node, and by others to read it
	node *node      // nil while it is down
}

// live is the running node, or nil, for goroutines beside the test's.
func (n *simulatedNode) live() *node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.node
}

func (n *simulatedNode) set(running *node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.node = running
}

// newSimulation makes the homes of a network; none of its nodes runs yet.
func newSimulation(t testing.TB, seed uint64, validators, followers int) *simulation {
	return newSimulationWith(t, seed, validators, followers, chain.DefaultParams())
}

func newSimulationWith(t testing.TB, seed uint64, validators, followers int, params chain.Params) *simulation {
	s := &simulation{t: t, air: newAir(seed), rng: rand.New(rand.NewPCG(seed, 7)), chain: map[uint64]abi.Hash{}}
	g := &chain.Genesis{Name: "simulated", Time: time.Now().UnixMilli(), Params: params}
	s.operator = s.makeKey()
	g.Accounts = []chain.Grant{{Key: s.operator.Public(), Roles: operatorRoles}}
	for i := range validators + followers {
		n := &simulatedNode{sim: s, name: fmt.Sprintf("n%d", i+1), host: fmt.Sprintf("127.0.0.%d", i+1), home: home(t.TempDir()), disk: vfs.NewStrictMem()}
		k := s.makeKey()
		s.check(k.Save(n.home.path(nodeKeyFile)))
		roles := abi.RoleGateway
		if i < validators {
			roles |= abi.RoleValidator
			g.Validators = append(g.Validators, chain.Validator{ID: uint64(i + 1), Key: k.Public()})
		}
		g.Accounts = append(g.Accounts, chain.Grant{Key: k.Public(), Roles: roles})
		s.check(n.disk.MkdirAll(string(n.home), 0o700))
		s.check(syncAbove(n.disk, string(n.home)))
		s.nodes = append(s.nodes, n)
	}
	s.genesis = g.Append(nil)
	for _, n := range s.nodes {
		s.check(consensus.Begin(n.home.path("wal"), chain.ChainID(s.genesis)))
		s.check(os.WriteFile(n.home.path("genesis.cbor"), s.genesis, 0o600))
	}
	t.Cleanup(s.endAll)
	return s
}

// syncAbove makes a directory of a disk that forgets, and those above it, last.
func syncAbove(disk vfs.FS, dir string) error {
	for ; ; dir = filepath.Dir(dir) {
		d, err := disk.OpenDir(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil || dir == "/" {
			return err
		}
	}
}

func (s *simulation) makeKey() *key.Key {
	k, err := key.Generate()
	s.check(err)
	return k
}

func (s *simulation) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (n *simulatedNode) peerAddr() string { return n.host + ":7423" }

func (n *simulatedNode) config() config {
	cfg := config{Quic: n.host + ":7433", Web: "off", Peer: n.peerAddr(), Clock: "trusted", RequestRate: -1,
		store: storage.Config{FS: n.disk}, listen: n.sim.air.listen, clock: n.clock}
	for _, other := range n.sim.nodes {
		if other != n {
			cfg.Peers = append(cfg.Peers, other.peerAddr())
		}
	}
	cfg.KeepBlocks = n.keep
	if n.failing != nil {
		cfg.store.FS = n.failing
	}
	if n.sim.tune != nil {
		n.sim.tune(&cfg)
	}
	n.sim.check(cfg.validate())
	return cfg
}

// clock is the node's own.
func (n *simulatedNode) clock() (int64, bool) {
	return time.Now().Add(time.Duration(n.skew.Load())).UnixMilli(), true
}

// start runs a node and returns when it takes part.
func (n *simulatedNode) start() {
	n.sim.t.Helper()
	ready := n.begin()
	select {
	case <-ready:
	case err := <-n.ended:
		n.set(nil)
		n.sim.t.Fatalf("%s: %v", n.name, err)
	}
}

// begin runs a node, which is up when the channel is closed.
func (n *simulatedNode) begin() <-chan struct{} {
	n.sim.t.Helper()
	n.cfg = n.config()
	ready, err := n.open(context.Background())
	if err != nil {
		n.sim.t.Fatalf("%s: %v", n.name, err)
	}
	return ready
}

// open opens a node as its configuration is by now, which may take as long as
// the context, and runs it.
func (n *simulatedNode) open(within context.Context) (<-chan struct{}, error) {
	n.sim.air.silence(n.host, false)
	n.lives.Add(n.lives.Load() % 2)
	ctx, cancel := context.WithCancel(context.Background())
	unbind := context.AfterFunc(within, cancel)
	opened, err := openNode(ctx, n.home, n.cfg, newLogger(*simLog).With("node", n.name))
	if !unbind() && err == nil {
		err = errors.Join(context.Cause(within), opened.close())
	}
	if err != nil {
		cancel()
		return nil, err
	}
	n.sim.check(syncAbove(n.disk, string(n.home))) // as the node does on the real disk
	n.stop, n.ended = cancel, make(chan error, 1)
	n.set(opened)
	ready := make(chan struct{})
	go func() { n.ended <- opened.run(ctx, func() error { close(ready); return nil }) }()
	return ready, nil
}

// votes says whether a running node takes part in consensus.
func (n *simulatedNode) votes() bool {
	engine := n.node.role.engine.Load()
	return engine != nil && engine.Stats().Leader != 0
}

// end stops a node as a signal does.
func (n *simulatedNode) end() {
	n.sim.t.Helper()
	n.stop()
	err := <-n.ended
	if err != nil && !n.node.again(err, &n.cfg) {
		n.sim.t.Errorf("%s ended with: %v", n.name, err)
	}
	n.set(nil)
}

// crash ends a node as a power cut does: nobody hears of it any more, the disk
// keeps what was synced, and the consensus log is what it was at that moment.
func (n *simulatedNode) crash() {
	n.sim.t.Helper()
	wal, aside := n.home.path("wal"), n.home.path("wal-at-crash")
	n.lives.Add(1)
	n.sim.air.silence(n.host, true)
	n.disk.SetIgnoreSyncs(true)
	err := os.CopyFS(aside, os.DirFS(wal))
	if !errors.Is(err, fs.ErrNotExist) { // a restored node has none at first
		n.sim.check(err)
	}
	n.stop()
	<-n.ended // it may well complain
	n.set(nil)
	n.disk.ResetToSyncedState()
	n.disk.SetIgnoreSyncs(false)
	n.sim.check(os.RemoveAll(wal))
	if err == nil {
		n.sim.check(os.Rename(aside, wal))
	}
	n.seen = 0
}

// reopen does for nodes what start does.
func (s *simulation) reopen() {
	for _, n := range s.nodes {
		if n.node == nil {
			continue
		}
		select {
		case err := <-n.ended:
			again := n.node.again(err, &n.cfg)
			s.t.Logf("%s ended: %v", n.name, err)
			n.set(nil)
			if !again {
				s.t.Errorf("%s ended by itself", n.name)
			}
			_, err = n.open(s.t.Context())
			s.check(err)
		default:
		}
	}
}

// startAll runs the nodes at the same time.
func (s *simulation) startAll() {
	var ready []<-chan struct{}
	for _, n := range s.nodes {
		ready = append(ready, n.begin())
	}
	for i, up := range ready {
		select {
		case <-up:
		case err := <-s.nodes[i].ended:
			s.t.Fatalf("%s: %v", s.nodes[i].name, err)
		}
	}
}

func (s *simulation) endAll() {
	for _, n := range s.nodes {
		if n.node != nil {
			n.end()
		}
	}
}

// grant is a transaction of the operator that makes an account.
func (s *simulation) grant() []byte {
	args := chain.Grant{Key: s.makeKey().Public(), Roles: abi.RoleOwner}
	body := chain.Body{Chain: chain.ChainID(s.genesis), ValidUntil: time.Now().Add(5 * time.Minute).UnixMilli(), Gas: 1_000_000, Op: chain.OpGrant, Args: args.Append(nil)}
	raw, err := chain.SignTx(&body, s.operator)
	s.check(err)
	return raw
}

// submit brings a transaction into a block by way of a node.
func (n *simulatedNode) submit(ctx context.Context, raw []byte) (abi.TxResult, error) {
	return service{n.node}.Submit(ctx, raw, true)
}

// mustCommit submits transactions by way of a node, all of which must succeed
// within the time.
func (n *simulatedNode) mustCommit(count int, within time.Duration) {
	n.sim.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for range count {
		res, err := n.submit(ctx, n.sim.grant())
		if err != nil {
			n.sim.t.Fatalf("a transaction by way of %s: %v", n.name, err)
		}
		if o, err := chain.ParseOutcome(res.Outcome); err != nil || o.Code != abi.OK {
			n.sim.t.Fatalf("a transaction by way of %s: %v %v", n.name, o.Code, err)
		}
	}
}

// await waits until all running nodes have a height.
func (s *simulation) await(height uint64, within time.Duration) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for _, n := range s.nodes {
		for n.node != nil {
			next := n.node.ledger.Committed()
			if n.node.ledger.Head().Height >= height {
				break
			}
			select {
			case <-next:
			case <-ctx.Done():
				s.t.Fatalf("%s is at height %d, not %d, after %v", n.name, n.node.ledger.Head().Height, height, within)
			}
		}
	}
}

// agree checks that no two running nodes hold different blocks at a height,
// and that no transaction was executed twice. It returns the height of each.
func (s *simulation) agree() map[abi.Hash]uint64 {
	s.t.Helper()
	all := map[abi.Hash]uint64{}
	for _, n := range s.nodes {
		if n.node == nil {
			continue
		}
		n.seen = 0
		n.compare()
		done := map[abi.Hash]uint64{}
		for height := n.node.ledger.Base(); height <= n.node.ledger.Head().Height; height++ {
			_, _, rawOutcomes, err := n.node.ledger.Block(height)
			s.check(err)
			n.once(height, rawOutcomes, done)
		}
		maps.Copy(all, done)
	}
	return all
}

// compare checks the blocks that a running node has got since it was compared
// last against what any node held at their heights at any time.
func (n *simulatedNode) compare() {
	n.sim.t.Helper()
	top := n.node.ledger.Head().Height
	for height := max(n.seen+1, n.node.ledger.Base()); height <= top; height++ {
		raw, _, _, err := n.node.ledger.Block(height)
		if errors.Is(err, abi.CodeNotFound) && height < n.node.ledger.Base() {
			continue // it was pruned meanwhile
		}
		if errors.Is(err, storage.ErrClosed) {
			return // it ended by itself, which shows elsewhere
		}
		n.sim.check(err)
		k, err := chain.ParseBlock(raw)
		n.sim.check(err)
		hash := k.Header.Hash()
		if other, ok := n.sim.chain[height]; ok && other != hash {
			n.sim.t.Errorf("%s holds block %d %x, and another one was seen: %x", n.name, height, hash[:4], other[:4])
		}
		n.sim.chain[height] = hash
	}
	n.seen = top
}

// once checks that a block executes nothing that an earlier one did.
func (n *simulatedNode) once(height uint64, rawOutcomes []byte, done map[abi.Hash]uint64) {
	n.sim.t.Helper()
	list, err := chain.ParseOutcomes(rawOutcomes)
	n.sim.check(err)
	for _, raw := range list {
		o, err := chain.ParseOutcome(raw)
		n.sim.check(err)
		if o.Code != abi.OK {
			continue
		}
		if before, twice := done[o.ID]; twice {
			n.sim.t.Errorf("%s: transaction %x was executed in blocks %d and %d", n.name, o.ID[:4], before, height)
		}
		done[o.ID] = height
	}
}

// inBubble runs a test in virtual time. The databases in it put channels into
// pools of the process; they belong to the bubble, and nobody outside may send on
// them, so the pools are emptied behind it.
func inBubble(t *testing.T, test func(*testing.T)) {
	t.Helper()
	synctest.Test(t, test)
	runtime.GC()
	runtime.GC()
}

// elapse lets virtual time pass, and so has to stand in a synctest bubble, whose
// clock begins in 2000: no test waits for real time.
func elapse(d time.Duration) {
	if d > 0 && time.Now().Year() > 2001 {
		panic("BUG: a test waits for real time")
	}
	<-time.After(d)
}
