package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// fleet is a network of processes, as "postern testnet" runs it.
type fleet struct {
	t     *testing.T
	dir   string
	nodes []testnetMember
	cut   []string                               // nodes that are cut off
	bare  bool                                   // there is no contract to ask for decisions
	conn  func(node int) (net.PacketConn, error) // where clients of a node send from; nil is anywhere
}

// startFleet starts a network in a directory, which may hold the genesis of
// one, and ends it with the test.
func startFleet(t *testing.T, dir string, args ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: dir}
	program, err := exec.LookPath("postern") // where TestMain put it
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append([]string{"testnet", "--json", "--home", dir}, args...)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	runtime.LockOSThread() // it ends with the test's goroutine, and the network with it, whatever ends the test
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.end(cmd) })
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var ready testnetOutput
	if err := json.Unmarshal(line, &ready); err != nil || !ready.Ready {
		t.Fatalf("%s: %v", line, err)
	}
	f.nodes = ready.Nodes
	return f
}

func (f *fleet) end(cmd *exec.Cmd) {
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		f.t.Errorf("the network ended with %v", err)
	}
	if f.t.Failed() {
		for _, n := range f.nodes {
			f.t.Logf("%s: %s", n.Name, lastLines(home(n.Home).path(nodeLog), 20))
		}
	}
}

// newFleetGenesis makes keys and genesis of a network of four validators and
// followers with other parameters than a testnet gets.
func newFleetGenesis(t *testing.T, dir string, followers int, change func(*chain.Params)) {
	t.Helper()
	shape := testShape(4, followers)
	shape.params.ActivationDelay = 0
	change(&shape.params)
	if err := newTestGenesis(dir, filepath.Join(dir, "genesis.cbor"), shape); err != nil {
		t.Fatal(err)
	}
}

func (f *fleet) try(do string, nodes ...string) error {
	_, err := give(f.t.Context(), f.dir, order{do, nodes})
	return err
}

func (f *fleet) order(do string, nodes ...string) {
	f.t.Helper()
	if err := f.try(do, nodes...); err != nil {
		f.t.Fatalf("%s %v: %v", do, nodes, err)
	}
}

func (f *fleet) all() (nodes []int) {
	for i := range f.nodes {
		nodes = append(nodes, i)
	}
	return nodes
}

// dial connects to a node by the bundle and the operator's key of n1, whatever
// has become of its own.
func (f *fleet) dial(ctx context.Context, i int) (*client.Client, error) { return f.dialAs(ctx, 0, i) }

// dialAs connects to a node with what another's home holds.
func (f *fleet) dialAs(ctx context.Context, who, i int) (*client.Client, error) {
	h := home(f.nodes[who].Home)
	if f.conn == nil {
		return dialHome(ctx, h, f.nodes[i].Quic, operatorKeyFile)
	}
	conn, err := f.conn(i)
	if err != nil {
		return nil, err
	}
	f.t.Cleanup(func() { conn.Close() })
	return dialFrom(ctx, conn, h, f.nodes[i].Quic, operatorKeyFile)
}

// status is what a node says of itself.
func (f *fleet) status(i int) abi.NodeStatus {
	f.t.Helper()
	cl, err := f.dial(f.t.Context(), i)
	if err != nil {
		f.t.Fatalf("%s: %v", f.nodes[i].Name, err)
	}
	defer cl.Close()
	status, err := cl.Status(f.t.Context())
	if err != nil {
		f.t.Fatalf("%s: %v", f.nodes[i].Name, err)
	}
	return status
}

// write has a node take a transaction.
func (f *fleet) write(ctx context.Context, cl *client.Client) (*client.Committed, error) {
	k, err := key.Generate()
	if err != nil {
		return nil, err
	}
	return cl.Transact(ctx, chain.OpGrant, &chain.Grant{Key: k.Public(), Roles: abi.RoleAuditor}, 0)
}

// writeMany has a node take so many transactions, one after another.
func (f *fleet) writeMany(i, count int) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), goOnWithin)
	defer cancel()
	cl, err := f.dial(ctx, i)
	if err != nil {
		f.t.Fatal(err)
	}
	defer cl.Close()
	for range count {
		if _, err := f.write(ctx, cl); err != nil {
			f.t.Fatalf("%s: %v", f.nodes[i].Name, err)
		}
	}
}

// reach waits until a node has a height, and gives up at a failure: a node
// that cannot be asked has ended.
func (f *fleet) reach(ctx context.Context, cl *client.Client, height uint64) error {
	again := time.NewTicker(20 * time.Millisecond) // a node answers one key so often only
	defer again.Stop()
	for ; ; <-again.C {
		status, err := cl.Status(ctx)
		if err != nil {
			return fmt.Errorf("at height %d, not %d: %w", status.Height, height, err)
		}
		if status.Height >= height {
			return nil
		}
	}
}

// contents is what a node tells of its ledger: blocks and outcomes up to a height,
// and the state at that height or later.
type contents struct {
	height uint64     // of the state
	answer string     // to a decision: the code has run
	blocks []abi.Hash // the newest: of header, transactions and outcomes
	state  abi.Hash
}

// tell asks a node for everything once it has the height.
func (f *fleet) tell(i int, height uint64) (*contents, error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), goOnWithin)
	defer cancel()
	cl, err := f.dial(ctx, i)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	if err := f.reach(ctx, cl, height); err != nil {
		return nil, err
	}
	c := &contents{}
	if !f.bare {
		if c.answer, err = f.decide(ctx, i); err != nil {
			return nil, err
		}
	}
	const most = 500 // a node answers one key so often a second; each block names the one before
	for h := max(1, height-min(height, most)); h <= height; h++ {
		b, err := cl.Block(ctx, h)
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", h, err)
		}
		c.blocks = append(c.blocks, sha256.Sum256(fmt.Appendf(nil, "%+v %+v", b.Block, b.Outcomes)))
	}
	for c.height = 0; c.height < height; {
		before, err := cl.Status(ctx)
		if err == nil {
			c.state, err = readState(ctx, cl)
		}
		if isCode(err, abi.CodeRateLimited) { // blocks came again and again
			<-time.After(100 * time.Millisecond)
			continue
		}
		if err != nil {
			return nil, err
		}
		if after, err := cl.Status(ctx); err == nil && after.Height == before.Height { // else blocks came meanwhile
			c.height = after.Height
		}
	}
	return c, nil
}

// readState is a hash of all entries that a node tells.
func readState(ctx context.Context, cl *client.Client) (hash abi.Hash, err error) {
	state := sha256.New()
	for _, first := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" { // every space of keys begins with a letter
		for p, err := range cl.All(ctx, []byte{byte(first)}) {
			if err != nil {
				return hash, fmt.Errorf("state under %c: %w", first, err)
			}
			fmt.Fprintf(state, "%x=%x\n", p.Key, p.Value)
		}
	}
	return abi.Hash(state.Sum(nil)), nil
}

// decide asks a node for a decision.
func (f *fleet) decide(ctx context.Context, i int) (string, error) {
	cl, err := dialHome(ctx, home(f.nodes[0].Home), f.nodes[i].Quic, enforcementKeyFile)
	if err != nil {
		return "", err
	}
	defer cl.Close()
	a, err := cl.Decide(ctx, abi.DefaultDomain, &abi.DecisionRequest{
		Subject: &abi.Entity{Type: "user", ID: "ann"}, Action: abi.Action{Name: "open"}, Resource: abi.Entity{Type: "door", ID: "1"},
	})
	return fmt.Sprint(a.Permit, a.Code, a.Reason, a.ReasonID, a.Contract, a.CodeHash), err
}

// differs is where two nodes say different things, or nil.
func (c *contents) differs(other *contents) error {
	for h := range min(len(c.blocks), len(other.blocks)) {
		if c.blocks[h] != other.blocks[h] {
			return fmt.Errorf("one of the newest %d blocks is another one", len(c.blocks)-h)
		}
	}
	if c.answer != other.answer {
		return fmt.Errorf("it decides %s instead of %s", other.answer, c.answer)
	}
	if c.height == other.height && c.state != other.state {
		return errors.New("the state is another one")
	}
	return nil
}

// stop ends a node by a signal, as its operator does, and waits until it has.
func (f *fleet) stop(i int) {
	f.t.Helper()
	answer, err := give(f.t.Context(), f.dir, order{Do: "status"})
	if err != nil {
		f.t.Fatal(err)
	}
	if err := syscall.Kill(answer.Nodes[i].PID, syscall.SIGTERM); err != nil {
		f.t.Fatal(err)
	}
	f.awaitEnded(i)
}

// awaitEnded waits until a node has ended by itself.
func (f *fleet) awaitEnded(i int) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), goOnWithin)
	defer cancel()
	for {
		answer, err := give(ctx, f.dir, order{Do: "status"})
		if err != nil {
			f.t.Fatalf("%s does not end: %v", f.nodes[i].Name, err)
		}
		if answer.Nodes[i].State == stateEnded {
			return
		}
	}
}
