package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/key"
)

// join makes a home for one more follower, has a node admit it, and starts it,
// beside the network and past its relays. What it returns waits until the
// follower has all blocks, compares, and ends it.
func (f *fleet) join(through int) (hasJoined func()) {
	f.t.Helper()
	h := home(filepath.Join(f.t.TempDir(), "joins"))
	f.run("init", "--home", string(h), "--genesis", home(f.nodes[0].Home).path("bundle.json"), "--later")
	k, err := key.Load(h.path(nodeKeyFile))
	if err != nil {
		f.t.Fatal(err)
	}
	f.admit(through, k.Public())
	args := []string{"start", "--json", "--home", string(h), "--quic", "127.0.0.1:0", "--web", "off", "--peer", "127.0.0.1:0"}
	for _, n := range f.nodes {
		args = append(args, "--peers", n.Peer)
	}
	cmd := exec.Command("postern", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = f.t.Output()
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		f.t.Fatal(err)
	}
	leave := sync.OnceFunc(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			f.t.Errorf("the follower that joined ended with %v", err)
		}
	})
	f.t.Cleanup(leave)
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	var ready readyOutput
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil {
		f.t.Fatalf("the follower that joins did not start: %v", err)
	}
	return func() {
		f.compareNewest(ready.Quic)
		leave()
	}
}

func (f *fleet) run(args ...string) {
	f.t.Helper()
	if text, err := exec.Command("postern", args...).CombinedOutput(); err != nil {
		f.t.Fatalf("postern %v: %v: %s", args, err, text)
	}
}

// admit grants a node's key the role of a gateway, trying until goOnWithin.
func (f *fleet) admit(through int, public []byte) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), goOnWithin)
	defer cancel()
	for {
		cl, err := f.dial(ctx, through)
		if err == nil {
			within, stop := context.WithTimeout(ctx, feedWithin)
			_, err = cl.Transact(within, chain.OpGrant, &chain.Grant{Key: public, Roles: abi.RoleGateway}, 0)
			stop()
			cl.Close()
		}
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			f.t.Fatalf("admitting a follower: %v", err)
		}
	}
}

// compareNewest waits until a follower has what n1 has, and compares the newest
// block, which names all before it.
func (f *fleet) compareNewest(quic string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), goOnWithin)
	defer cancel()
	height := f.status(0).Height
	var hashes [2]abi.Hash
	for i, addr := range []string{f.nodes[0].Quic, quic} {
		cl, err := dialHome(ctx, home(f.nodes[0].Home), addr, operatorKeyFile)
		for err != nil && ctx.Err() == nil { // until it is on its own ledger, a client takes it for no gateway
			cl, err = dialHome(ctx, home(f.nodes[0].Home), addr, operatorKeyFile)
		}
		if err != nil {
			f.t.Fatal(err)
		}
		defer cl.Close()
		err = f.reach(ctx, cl, height)
		if err == nil {
			b, berr := cl.Block(ctx, height)
			if err = berr; err == nil {
				hashes[i] = b.Block.Header.Hash()
			}
		}
		if err != nil {
			f.t.Fatalf("the follower that joined: %v", err)
		}
	}
	if hashes[0] != hashes[1] {
		f.t.Errorf("at height %d n1 has block %x, the follower that joined %x", height, hashes[0], hashes[1])
	}
}
