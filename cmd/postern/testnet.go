package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/seed79541315/postern/abi/chain"
)

// Most nodes of a testnet: each is a process of some 40 MiB.
const (
	maxTestFollowers = 16
	nodeLog          = "node.log" // in each node's home
)

// How long testnet waits, for what takes seconds on a slow machine.
const (
	startTimeout   = 60 * time.Second // until all nodes answer
	restartTimeout = 30 * time.Second // until a node answers that heal has started again
	stopTimeout    = 10 * time.Second // from the signal to the nodes until they are killed
)

// testnetHomeFlag is the directory of a network, not of a node.
var testnetHomeFlag = &cli.StringFlag{Name: "home", Usage: "directory `DIR` of the network", EnvVars: []string{"POSTERN_TESTNET"}}

func testnetCommand() *cli.Command {
	return &cli.Command{
		Name:  "testnet",
		Usage: "a network of several nodes on this machine, to see it survive",
		Description: `Each node is a process of its own, with a home in DIR/n1, DIR/n2 and so on. The
network has the access contract for domain "default" and a token for HTTPS. It
runs until a signal, which ends all nodes; run again on the same DIR, it goes on
where it was. What a node logs stands in its home's node.log. Without --home the
directory is a temporary one and goes with the network.

In another terminal:

   postern testnet status --home DIR
   postern testnet kill --home DIR 1          # kill -9
   postern testnet pause --home DIR 2         # as if the machine hung
   postern testnet partition --home DIR 3 4   # cut both off from the rest
   postern testnet heal --home DIR            # undo all of it

Datagrams between nodes pass through this process, which drops what crosses a
cut; --direct leaves that out.

With --json the first line on standard output is
{"ready":true,"nodes":[{"name":…,"role":"validator"|"follower","pid":…,"home":…,"peer":…,"quic":…,"web":…,"token":…}, …]}

Example:

   postern testnet --validators 4 --followers 1 --home net`,
		Flags: append([]cli.Flag{
			testnetHomeFlag, jsonFlag,
			&cli.IntFlag{Name: "validators", Usage: "how many nodes vote, 1 to 16", Value: fewValidators},
			&cli.IntFlag{Name: "followers", Usage: "how many nodes follow without a vote, up to 16", Value: 1},
			&cli.BoolFlag{Name: "direct", Usage: "connect the nodes without relays: no partitions, but nothing in between when measuring"},
			profileFlag,
		}, gasFlags...),
		Action: runTestnet,
		Subcommands: []*cli.Command{
			controlCommand("status", "show what every node does", false),
			controlCommand("kill", "kill nodes without warning", true),
			controlCommand("pause", "stop nodes where they are, as if their machines hung", true),
			controlCommand("partition", "cut nodes off from the rest; among themselves they stay connected", true),
			controlCommand("heal", "start, continue and reconnect nodes; without N all of them", false),
		},
	}
}

// testnet is a running network.
type testnet struct {
	dir     string
	out     output
	alarm   io.Writer // what nobody asked for: standard error
	genesis *chain.Genesis
	program string
	nursery *nursery
	relays  *relays  // nil with --direct
	ports   []string // with --direct: where each node is for the others

	furnished chan struct{} // closed when all nodes answer and the chain has what people need

	mu      sync.Mutex // guards what follows, also in members
	members []*member
	closing bool // nodes end because they are told to
}

// member is a node of the network.
type member struct {
	name   string
	index  int
	home   home
	role   string
	args   []string // of every start
	proc   *child   // guarded by testnet.mu; the last process, nil before the first
	state  memberState
	serves readyLine // guarded by testnet.mu; the last ready line, whose ports the next start uses
}

// memberState is how a node is. A member remembers what was done to it; whether
// it is starting or has ended by itself its process tells.
type memberState string

const (
	stateStarting memberState = "starting"
	stateRunning  memberState = "running"
	statePaused   memberState = "paused"
	stateKilled   memberState = "killed"
	stateEnded    memberState = "ended"
)

func runTestnet(c *cli.Context) error {
	shape, err := chosenShape(c)
	if err != nil {
		return err
	}
	dir, cleanup, err := testnetDir(c.String("home"))
	if err != nil {
		return err
	}
	defer cleanup()
	lock, err := lockTestnet(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	t := &testnet{dir: dir, out: printer(c), alarm: os.Stderr, nursery: newNursery(), furnished: make(chan struct{})}
	if err := t.makeHomes(c.Context, shape); err != nil {
		return err
	}
	if err := t.connect(c.Bool("direct")); err != nil {
		return err
	}
	return t.run(c.Context)
}

// connect prepares how the nodes reach each other.
func (t *testnet) connect(direct bool) (err error) {
	if t.program, err = os.Executable(); err != nil {
		return err
	}
	if direct {
		t.ports, err = freePorts(len(t.members))
	} else {
		t.relays, err = openRelays(len(t.members))
	}
	for _, m := range t.members {
		m.args = []string{"start", "--json", "--home", string(m.home)}
		for _, addr := range t.peersOf(m) {
			m.args = append(m.args, "--peers", addr)
		}
	}
	return err
}

func (t *testnet) peersOf(m *member) []string {
	if t.relays != nil {
		return t.relays.addrs(m.index)
	}
	others := slices.Clone(t.ports)
	return slices.Delete(others, m.index, m.index+1)
}

// freePorts are UDP addresses on loopback that nobody uses: nodes that reach
// each other directly must know where before any of them listens.
func freePorts(n int) (addrs []string, err error) {
	for range n {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer conn.Close() // at the end, so that no port comes twice
		addrs = append(addrs, conn.LocalAddr().String())
	}
	return addrs, nil
}

// run runs the network until ctx ends, and ends all nodes then.
func (t *testnet) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	// The nodes outlive ctx until they have been told to end.
	defer beside(context.WithoutCancel(ctx), t.nursery.run)()
	if t.relays != nil {
		group.Go(func() error { return t.relays.run(ctx) })
	}
	control, err := listenControl(t.dir)
	if err == nil {
		group.Go(func() error { return t.serveControl(ctx, control) })
		group.Go(func() error { return t.bringUp(ctx) })
	} else {
		group.Go(func() error { return err })
	}
	group.Go(func() error {
		<-ctx.Done()
		t.shutDown()
		return nil
	})
	if err = group.Wait(); errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// bringUp starts all nodes, furnishes the chain and says that all is ready.
func (t *testnet) bringUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("the network did not start within %s", startTimeout))
	defer cancel()
	if err := t.launchAll(ctx); err != nil {
		return err
	}
	first := t.members[0]
	t.out.progressf("deploying the access contract and issuing a token")
	token, err := furnish(ctx, first.home, t.servesOf(first).Quic, nil)
	if err != nil {
		return fmt.Errorf("furnishing the chain: %w", errors.Join(err, context.Cause(ctx)))
	}
	close(t.furnished)
	return t.showReady(token)
}

// launchAll starts all nodes and waits until they answer.
func (t *testnet) launchAll(ctx context.Context) error {
	for _, m := range t.members {
		err := awaitUnlocked(ctx, m.home)
		if err == nil {
			err = t.launch(m)
		}
		if err != nil {
			return err
		}
	}
	for _, m := range t.members {
		serves, err := t.awaitReady(ctx, m)
		if err != nil {
			return err
		}
		t.out.progressf("%s answers at %s", m.name, serves.Quic)
	}
	return nil
}

// awaitUnlocked waits for the last process of a home: where a network was killed,
// the kernel may not have ended its nodes yet.
func awaitUnlocked(ctx context.Context, h home) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		f, err := h.lock()
		if err == nil {
			return f.Close()
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return err
		}
	}
}

// launch starts a node's process, on the ports that it had before.
func (t *testnet) launch(m *member) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing {
		return context.Canceled
	}
	quic, web, peer := "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	if t.ports != nil {
		peer = t.ports[m.index]
	}
	if m.serves.Ready {
		quic, web, peer = m.serves.Quic, strings.TrimPrefix(m.serves.Web, "https://"), m.serves.Peer
	}
	cmd := exec.Command(t.program, append(slices.Clip(m.args), "--quic", quic, "--web", web, "--peer", peer)...)
	var proc *child // guarded by mu, which the caller holds
	proc, err := t.nursery.start(cmd, m.home.path(nodeLog), func() { t.notice(m, &proc) })
	if err != nil {
		return err
	}
	m.proc, m.state = proc, stateRunning
	return nil
}

// notice tells people when a node's process has ended that nobody has ended.
func (t *testnet) notice(m *member, proc **child) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m.proc != *proc { // another runs already
		return
	}
	if t.closing || m.state == stateKilled || !m.serves.Ready { // launchAll tells of what has never been ready
		return
	}
	fmt.Fprintf(t.alarm, "postern: %s has ended (%v); its log ends with:\n%s\n", m.name, m.proc.err, lastLines(m.home.path(nodeLog), 3))
}

// awaitReady waits until a node that was launched answers, and takes note of
// where.
func (t *testnet) awaitReady(ctx context.Context, m *member) (serves readyLine, err error) {
	t.mu.Lock()
	proc := m.proc
	t.mu.Unlock()
	err = proc.wait(ctx)
	switch {
	case errors.Is(err, errEnded):
		return serves, fmt.Errorf("%s did not start (%w); its log ends with:\n%s", m.name, errors.Join(proc.err, err), lastLines(m.home.path(nodeLog), 5))
	case err != nil:
		return serves, fmt.Errorf("waiting for %s: %w; its log ends with:\n%s", m.name, context.Cause(ctx), lastLines(m.home.path(nodeLog), 5))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	m.serves = proc.line
	return proc.line, nil
}

func (t *testnet) servesOf(m *member) readyLine {
	t.mu.Lock()
	defer t.mu.Unlock()
	return m.serves
}

// shutDown ends all nodes: first they are asked, and what has not ended after
// stopTimeout is killed.
func (t *testnet) shutDown() {
	t.out.progressf("\nending all nodes")
	t.mu.Lock()
	t.closing = true
	var procs []*child
	for _, m := range t.members {
		if m.proc != nil {
			procs = append(procs, m.proc)
		}
	}
	t.mu.Unlock()
	for _, p := range procs {
		p.signal(syscall.SIGTERM)
		p.signal(syscall.SIGCONT) // a paused one hears nothing else
	}
	late := time.NewTimer(stopTimeout)
	defer late.Stop()
	for _, p := range procs {
		select {
		case <-p.ended:
		case <-late.C:
			late.Reset(0) // the others are late, too
			p.signal(syscall.SIGKILL)
			<-p.ended
		}
	}
}

// testnetOutput is the first line of testnet with --json.
type testnetOutput struct {
	Ready bool            `json:"ready"`
	Chain hexBytes        `json:"chain"`
	Home  string          `json:"home"`
	Nodes []testnetMember `json:"nodes"`
}

type testnetMember struct {
	Name  string `json:"name"`
	Role  string `json:"role"`
	PID   int    `json:"pid"`
	Home  string `json:"home"`
	Peer  string `json:"peer"`
	Quic  string `json:"quic"`
	Web   string `json:"web"`
	Token string `json:"token"`
}

func (t *testnet) showReady(token string) error {
	t.mu.Lock()
	v := testnetOutput{Ready: true, Chain: t.members[0].serves.Chain, Home: t.dir, Nodes: []testnetMember{}}
	for _, m := range t.members {
		v.Nodes = append(v.Nodes, testnetMember{m.name, m.role, m.proc.cmd.Process.Pid, string(m.home), m.serves.Peer, m.serves.Quic, m.serves.Web, token})
	}
	t.mu.Unlock()
	return t.out.show(v, "%s", v.text(token, len(t.genesis.Validators)))
}

func (v *testnetOutput) text(token string, validators int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nchain   %s\ntoken   %s\n\n", v.Chain, token)
	for _, n := range v.Nodes {
		fmt.Fprintf(&b, "%-4s %-10s pid %-8d quic %-16s web %s\n", n.Name, n.Role, n.PID, n.Quic, n.Web)
	}
	if validators < fewValidators {
		fmt.Fprintf(&b, "\nnote: %s\n", fewText(validators))
	}
	dir := shellWord(v.Home)
	last := shellWord(v.Nodes[len(v.Nodes)-1].Home)
	fmt.Fprintf(&b, "\ntry:  postern testnet kill --home %s 1\n      postern testnet status --home %s\n      postern decide --home %s --subject user:ann --action open --resource door:1\nstop with Ctrl-C",
		dir, dir, last)
	return b.String()
}
