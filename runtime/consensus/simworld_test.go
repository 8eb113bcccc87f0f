package consensus

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/wasm"
)

// simulation is a chain of validators and what the world knows of it.
type simulation struct {
	t       *testing.T
	rng     *rand.Rand // owned by the test's goroutine
	genesis []byte
	nodes   []*validator // by id-1
	links   links

	mu      sync.Mutex
	chain   map[uint64]abi.Hash // the block of each height, as first seen
	placed  map[abi.Hash]uint64 // the height of each transaction's first block
	top     uint64
	topAt   time.Time
	clients []*client
	salt    uint64
}

// client is a transaction that somebody sends again and again until it is in
// a block.
type client struct {
	id     abi.Hash
	raw    []byte
	sender int
	next   time.Time
}

const senders = 3

func senderKey(i int) key { return newKey(2000 + uint64(i)) }

var contractHost = sync.OnceValues(func() (*wasm.Runtime, error) {
	return wasm.New(context.Background(), wasm.Config{Protocol: chain.Protocol, Logger: slog.New(slog.DiscardHandler)})
})

func newSimulation(t *testing.T, nodes int, seed uint64) *simulation {
	return newSimulationOf(t, nodes, seed, chain.DefaultParams())
}

func newSimulationOf(t *testing.T, nodes int, seed uint64, params chain.Params) *simulation {
	s := &simulation{t: t, rng: rand.New(rand.NewPCG(seed, 0)), chain: map[uint64]abi.Hash{}, placed: map[abi.Hash]uint64{}}
	g := chain.Genesis{Name: "simulation", Time: time.Now().UnixMilli() - 1000, Params: params}
	for i := range nodes {
		k := newKey(uint64(i + 1)).Public()
		g.Validators = append(g.Validators, chain.Validator{ID: uint64(i + 1), Key: k})
		g.Accounts = append(g.Accounts, chain.Grant{Key: k, Roles: abi.RoleValidator})
	}
	for i := range senders {
		g.Accounts = append(g.Accounts, chain.Grant{Key: senderKey(i).Public(), Roles: abi.RoleOperator})
	}
	s.genesis = g.Append(nil)
	s.links.init(seed, nodes)
	for i := range nodes {
		v := &validator{s: s, id: uint64(i + 1), wal: filepath.Join(scratchDir(t), "0"), disk: strictDisk(t), down: true}
		s.nodes = append(s.nodes, v)
	}
	t.Cleanup(func() {
		for _, v := range s.nodes {
			_ = v.stop()
		}
		s.links.stop()
		elapse(2 * time.Second) // SmartBFT's last goroutines outlive its Stop by the time that it waits for answers
	})
	for _, v := range s.nodes {
		v.start()
	}
	return s
}

// scratchDir lies in memory where that is possible: thousands of syncs are
// made, and what a real disk makes of them is not the question.
func scratchDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "consensus-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// strictDisk forgets what is not synced.
func strictDisk(t testing.TB) *vfs.MemFS {
	t.Helper()
	disk := vfs.NewStrictMem()
	err := disk.MkdirAll("home", 0o700)
	if err == nil {
		err = syncFolder(disk, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	return disk
}

func syncFolder(fs vfs.FS, name string) error {
	d, err := fs.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// newClient makes a transaction that grants a new account, so that it leaves a
// trace of its own.
func (s *simulation) newClient() *client {
	s.salt++
	who := int(s.salt) % senders
	grant := chain.Grant{Key: newKey(1<<20 + s.salt).Public(), Roles: abi.RoleOwner}
	return s.clientOf(who, senderKey(who), chain.OpGrant, grant.Append(nil))
}

func (s *simulation) clientOf(who int, by key, op chain.Op, args []byte) *client {
	body := chain.Body{Chain: chain.ChainID(s.genesis), ValidUntil: time.Now().Add(9 * time.Minute).UnixMilli(), Gas: 2_000_000, Op: op, Args: args}
	raw, err := chain.SignTx(&body, by)
	if err != nil {
		s.t.Fatal(err)
	}
	c := &client{id: txID(s.t, raw), raw: raw, sender: who}
	s.clients = append(s.clients, c)
	return c
}

// height says in which block a transaction is, 0 for none.
func (s *simulation) height(id abi.Hash) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.placed[id]
}

// send lets each client whose transaction is in no block try some node.
func (s *simulation) send() {
	for _, c := range s.clients {
		if time.Now().Before(c.next) || s.height(c.id) != 0 {
			continue
		}
		c.next = time.Now().Add(5 * time.Second)
		if p := s.nodes[s.rng.IntN(len(s.nodes))].alive(); p != nil {
			_, _ = p.engine.Submit(s.t.Context(), c.raw)
		}
	}
}

// run lets time pass while clients send.
func (s *simulation) run(d time.Duration, rate time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		s.newClient()
		s.send()
		s.revive()
		elapse(rate/2 + time.Duration(s.rng.Int64N(int64(rate))))
	}
}

// revive starts nodes whose time has come.
func (s *simulation) revive() {
	for _, v := range s.nodes {
		if p := v.alive(); p != nil {
			p.look()
			continue
		}
		v.mu.Lock()
		fell := v.p != nil
		v.mu.Unlock()
		if fell {
			_ = v.stop()
			v.back = time.Now().Add(time.Duration(s.rng.Int64N(int64(8 * time.Second))))
		}
		if !v.back.After(time.Now()) {
			v.start()
		}
	}
}

// decided says how long a new transaction takes into a block of all that are
// not said to be down, from the node at on.
func (s *simulation) decided(at *validator, within time.Duration) time.Duration {
	s.t.Helper()
	c, p := s.newClient(), at.alive()
	<-p.engine.Ready()
	begin := time.Now()
	if _, err := p.engine.Submit(s.t.Context(), c.raw); err != nil {
		s.t.Fatal(err)
	}
	for s.height(c.id) == 0 {
		if time.Since(begin) > within {
			s.report()
			s.t.Fatalf("no block within %v", within)
		}
		elapse(5 * time.Millisecond)
	}
	return time.Since(begin)
}

// leader is the node that the others follow.
func (s *simulation) leader() *validator {
	for {
		for _, v := range s.nodes {
			if p := v.alive(); p != nil {
				if id := p.engine.Stats().Leader; id != 0 {
					return s.nodes[id-1]
				}
			}
		}
		elapse(10 * time.Millisecond)
	}
}
