package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// bubble runs f in virtual time. The database keeps channels in pools of the
// process, and a channel of one bubble must not be used in the next: two
// collections empty them.
func bubble(t *testing.T, f func(t *testing.T)) {
	runtime.GC()
	runtime.GC()
	inBubble(t, f)
}

// Within these times a network goes on after a heal, and all nodes are level and
// connected again.
const (
	healed = 30 * time.Second
	level  = time.Minute
)

// campaign is a network under load whose members change while everything
// fails.
type campaign struct {
	*simulation
	crowd  *crowd
	copies map[*simulatedNode]backedUp
	late   *simulatedNode // joins in the middle; nil once it has
}

// backedUp is what a backup of a node holds.
type backedUp struct {
	disk *vfs.MemFS
	keys map[string][]byte
}

func playCampaign(t *testing.T, seed uint64) {
	params := chain.DefaultParams()
	params.Protocol, params.SnapshotBlocks = 1, 16
	c := &campaign{simulation: newSimulationWith(t, seed, 4, 3, params), copies: map[*simulatedNode]backedUp{}}
	for _, n := range c.nodes[1:] {
		n.keep = c.rng.Uint64N(2) // the first keeps all blocks
	}
	c.late = c.nodes[6]
	c.crowd = c.simulation.crowd(3, time.Second)
	members := c.crowd.assembly(c.nodes[1])
	changes := c.changes(params)
	c.restart()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	carried := make(chan error, 1)
	go func() { carried <- members.carry(ctx, changes) }()
	for round := range *simRound {
		c.round(round)
	}
	c.join()
	select {
	case err := <-carried:
		c.check(err)
	case <-time.After(2 * time.Minute):
		t.Error("the members' changes are not carried through two minutes after the last fault")
		cancel()
		<-carried
	}
	c.goOn()
	c.crowd.stop()
	c.level()
	c.crowd.settle()
	c.mustHaveChanged()
}

// changes are those that the campaign carries through, in random order as far
// as they do not depend on each other.
func (c *campaign) changes(params chain.Params) []change {
	params.Protocol = 2
	list := []change{
		{chain.ProposeAddValidator, &chain.AddValidator{Statement: c.nodes[5].consents(nodeKeyFile), Roles: abi.RoleGateway}},
		{chain.ProposeParams, &params},
		{chain.ProposeRotateValidator, &chain.ReplaceValidator{ID: 2, Statement: c.nodes[1].consents(nextKeyFile)}},
		{chain.ProposeReplaceValidator, &chain.ReplaceValidator{ID: 3, Statement: c.nodes[4].consents(nodeKeyFile)}},
	}
	c.rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return append(list, change{chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 4}})
}

// mustHaveChanged checks what came of the changes.
func (c *campaign) mustHaveChanged() {
	c.t.Helper()
	members := []int{0, 1, 4, 5}
	for i, n := range c.nodes {
		if _, votes := n.node.validatorID(); votes != slices.Contains(members, i) {
			c.t.Errorf("%s votes: %v", n.name, votes)
		}
		if p := n.node.ledger.Params().Protocol; p != 2 {
			c.t.Errorf("%s has protocol %d", n.name, p)
		}
	}
}

// trouble is one fault, which lasts until the end of its round.
type trouble struct {
	name string
	make func(c *campaign, n *simulatedNode)
}

var troubles = []trouble{
	{"is cut off", func(c *campaign, n *simulatedNode) { c.air.partition(n.host) }},
	{"is cut off with another one", func(c *campaign, n *simulatedNode) { c.air.partition(n.host, c.anyNode().host) }},
	{"is not heard", func(c *campaign, n *simulatedNode) { c.air.silence(n.host, true) }},
	{"is slow", func(c *campaign, n *simulatedNode) { c.air.slowDown(n.host, c.upTo(300*time.Millisecond)) }},
	{"and all others lose packets", func(c *campaign, n *simulatedNode) {
		c.air.faults(c.rng.Float64()/5, c.rng.Float64()/5, c.upTo(50*time.Millisecond))
	}},
	{"has a clock that jumps", func(c *campaign, n *simulatedNode) { n.skew.Store(int64(c.upTo(2*time.Hour) - time.Hour)) }},
	{"crashes", (*campaign).crashOne},
	{"and all others crash", func(c *campaign, n *simulatedNode) { c.crashAll() }},
	{"stops and is copied", (*campaign).backUp},
	{"is restored from a copy", (*campaign).restore},
}

func (c *campaign) upTo(d time.Duration) time.Duration { return time.Duration(c.rng.Int64N(int64(d))) }

// anyNode is one that has begun.
func (c *campaign) anyNode() *simulatedNode {
	for {
		if n := c.nodes[c.rng.IntN(len(c.nodes))]; n != c.late {
			return n
		}
	}
}

// round makes one or two troubles, lets them last, and heals them.
func (c *campaign) round(round int) {
	var told []string
	for range 1 + c.rng.IntN(2) {
		n := c.anyNode()
		what := troubles[c.rng.IntN(len(troubles))]
		told = append(told, n.name+" "+what.name)
		what.make(c, n)
		c.last(c.upTo(3 * time.Second))
	}
	c.t.Logf("round %d: %s", round, strings.Join(told, ", "))
	if c.late != nil && c.rng.IntN(4) == 0 {
		c.join()
	}
	c.last(c.upTo(5 * time.Second))
	c.heal()
	c.goOn()
}

// last lets time pass, and opens those anew that ask for it.
func (c *campaign) last(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		wait(c.t.Context(), min(d, 500*time.Millisecond))
		c.reopen()
		for _, n := range c.nodes {
			if skew := n.skew.Load(); skew != 0 && c.rng.IntN(3) == 0 {
				n.skew.Store(-skew)
			}
		}
	}
}

func (c *campaign) crashOne(n *simulatedNode) {
	if n.node != nil {
		n.compare()
		n.crash()
	}
}

func (c *campaign) crashAll() {
	for _, n := range c.nodes {
		c.air.silence(n.host, true)
	}
	for _, n := range c.nodes {
		c.crashOne(n)
	}
}

// backUp stops a node and copies what a backup holds.
func (c *campaign) backUp(n *simulatedNode) {
	if n.node == nil {
		return
	}
	n.compare()
	n.end()
	b := backedUp{disk: vfs.NewStrictMem(), keys: map[string][]byte{}}
	c.check(cloneDisk(n.disk, b.disk, string(n.home)))
	for _, name := range []string{nodeKeyFile, nextKeyFile} {
		raw, err := os.ReadFile(n.home.path(name))
		if !errors.Is(err, fs.ErrNotExist) {
			c.check(err)
			b.keys[name] = raw
		}
	}
	c.copies[n] = b
}

// restore puts a node back to what its last copy holds, of which the record of
// its votes is no part.
func (c *campaign) restore(n *simulatedNode) {
	b, ok := c.copies[n]
	if !ok || n.node == nil {
		return
	}
	c.crashOne(n)
	n.disk = vfs.NewStrictMem()
	c.check(cloneDisk(b.disk, n.disk, string(n.home)))
	c.check(os.RemoveAll(n.home.path("wal")))
	for _, name := range []string{nodeKeyFile, nextKeyFile} {
		if err := os.Remove(n.home.path(name)); !errors.Is(err, fs.ErrNotExist) {
			c.check(err)
		}
		if raw, ok := b.keys[name]; ok {
			c.check(writeNew(n.home.path(name), raw, 0o600))
		}
	}
	if err := writeNew(n.home.path(restoredFile), nil, 0o600); !errors.Is(err, fs.ErrExist) {
		c.check(err)
	}
}

// cloneDisk copies a home from one disk to another, durably.
func cloneDisk(from, to *vfs.MemFS, dir string) error {
	if err := to.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if _, err := vfs.Clone(from, to, dir, dir, vfs.CloneSync); err != nil {
		return err
	}
	return syncAbove(to, dir)
}

// join starts the late node. It is interrupted a few times, as far as it takes
// long enough.
func (c *campaign) join() {
	n := c.late
	if n == nil {
		return
	}
	c.late, n.cfg = nil, n.config()
	for attempt := 1; ; attempt++ {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(attempt)*c.upTo(5*time.Second))
		_, err := n.open(ctx)
		cancel()
		c.t.Logf("%s joins, attempt %d: %v", n.name, attempt, err)
		if err == nil {
			return
		}
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			c.t.Fatalf("%s: %v", n.name, err)
		}
	}
}

// heal ends all troubles.
func (c *campaign) heal() {
	c.air.partition()
	c.air.faults(0, 0, 0)
	for _, n := range c.nodes {
		c.air.slowDown(n.host, 0)
		n.skew.Store(0)
		if n.node != nil {
			c.air.silence(n.host, false)
		}
	}
	c.restart()
}

// restart starts what is down.
func (c *campaign) restart() {
	c.reopen()
	for _, n := range c.nodes {
		if n.node == nil && n != c.late {
			n.begin()
		}
	}
}

// goOn requires that a transaction finds its block within the time after a
// heal.
func (c *campaign) goOn() {
	c.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), healed)
	defer cancel()
	for ctx.Err() == nil {
		c.reopen()
		if _, err := c.crowd.submit(ctx, c.anyNode(), c.grant()); err == nil {
			break
		}
		wait(ctx, 200*time.Millisecond)
	}
	if ctx.Err() != nil {
		c.t.Errorf("no progress within %v of a heal", healed)
		c.tell()
	}
	c.t.Logf("on after %v", time.Since(began).Round(time.Millisecond))
	for _, n := range c.nodes {
		if n.node != nil {
			n.compare()
		}
	}
}

// level requires that all nodes come to the same height, and are connected
// with all others.
func (c *campaign) level() {
	c.t.Helper()
	for end := time.Now().Add(level); ; wait(c.t.Context(), time.Second) {
		c.reopen()
		lacking := c.lacking()
		if lacking == "" {
			return
		}
		if time.Now().After(end) {
			c.t.Errorf("%v after the last fault: %s", level, lacking)
			c.tell()
			return
		}
	}
}

// lacking says what keeps the nodes from being level.
func (c *campaign) lacking() string {
	top := c.nodes[0].node.ledger.Head().Height
	for _, n := range c.nodes {
		if h := n.node.ledger.Head().Height; h != top {
			return fmt.Sprintf("%s is at height %d, and %s at %d", n.name, h, c.nodes[0].name, top)
		}
		if peers := len(n.node.peering.network.Connected()); peers != len(c.nodes)-1 {
			return fmt.Sprintf("%s has %d peers", n.name, peers)
		}
	}
	return ""
}

// tell logs where the nodes stand.
func (c *campaign) tell() {
	for _, n := range c.nodes {
		if n.node == nil {
			c.t.Logf("%s is down", n.name)
			continue
		}
		leader := uint64(0)
		if e := n.node.role.engine.Load(); e != nil {
			leader = e.Stats().Leader
		}
		id, votes := n.node.validatorID()
		c.t.Logf("%s: height %d, base %d, validator %d (%v), leader %d, up %v, peers %d, staleness %v", n.name, n.node.ledger.Head().Height,
			n.node.ledger.Base(), id, votes, leader, n.node.role.isUp.Load(), len(n.node.peering.network.Connected()), n.node.staleness())
	}
}
