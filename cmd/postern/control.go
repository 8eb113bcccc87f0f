package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/seed79541315/postern/abi"
)

// A running testnet takes orders at a Unix socket in its directory: one JSON
// object each way, one order a connection. Whoever can write to the directory
// can give them.
const (
	controlFile    = "control.sock"
	maxControl     = 64 << 10                        // bytes of an order or an answer
	controlTimeout = restartTimeout + 10*time.Second // of a whole order; heal waits for nodes
	statusTimeout  = 2 * time.Second                 // of asking one node where it is
)

// order is what is wanted of a testnet.
type order struct {
	Do    string   `json:"do"` // status, kill, pause, partition or heal
	Nodes []string `json:"nodes,omitempty"`
}

// orderAnswer is what became of it, and how all nodes are afterwards.
type orderAnswer struct {
	Error string         `json:"error,omitempty"`
	Usage bool           `json:"usage,omitempty"` // the error is a mistake on the command line
	Nodes []memberStatus `json:"nodes"`
	Parts [][]string     `json:"parts,omitempty"` // of a partitioned network
}

// memberStatus is how a node is.
type memberStatus struct {
	Name  string      `json:"name"`
	Role  string      `json:"role"`
	State memberState `json:"state"` // starting, running, paused, killed or ended
	PID   int         `json:"pid,omitempty"`
	Home  string      `json:"home"`
	Peer  string      `json:"peer,omitempty"`
	Quic  string      `json:"quic,omitempty"`
	Web   string      `json:"web,omitempty"`
	Note  string      `json:"note,omitempty"`

	Node *nodeProgress `json:"node,omitempty"` // what it says itself, if it answers
}

// nodeProgress is what a node says of its place on the chain.
type nodeProgress struct {
	Height    uint64   `json:"height"`
	Block     hexBytes `json:"block"`
	Peers     uint64   `json:"peers"`
	Staleness uint64   `json:"staleness_ms"`
}

func controlCommand(do, usage string, needsNodes bool) *cli.Command {
	arguments, flags := "[N ...]", ""
	if needsNodes {
		arguments, flags = "N ...", " 1"
	}
	if do == "status" {
		arguments = ""
	}
	return &cli.Command{
		Name: do, Usage: usage, ArgsUsage: arguments,
		Description: fmt.Sprintf("N is a node's number or name. Example:\n\n   postern testnet %s --home net%s", do, flags),
		Flags:       []cli.Flag{testnetHomeFlag, jsonFlag},
		Action: func(c *cli.Context) error {
			if needsNodes && c.NArg() == 0 {
				return usagef("name at least one node, such as 1 or n1; see %s --help", c.Command.HelpName)
			}
			dir := testnetHome(c)
			if dir == "" {
				return usagef("--home is missing: the directory of the network")
			}
			answer, err := give(c.Context, dir, order{do, c.Args().Slice()})
			if err != nil {
				return err
			}
			askNodes(c.Context, answer.Nodes)
			return printer(c).show(answer, "%s", answer.text())
		},
	}
}

// testnetHome is --home of the command or of testnet before it.
func testnetHome(c *cli.Context) string {
	for _, ctx := range c.Lineage() {
		if dir := ctx.String("home"); dir != "" {
			return dir
		}
	}
	return ""
}

// noTestnetError is that no network takes orders in a directory.
type noTestnetError struct {
	dir string
	err error
}

func (n *noTestnetError) Error() string {
	return fmt.Sprintf("no network runs in %s; start one with: postern testnet --home %s", n.dir, shellWord(n.dir))
}

// Unwrap makes it an offlineError to those who ask for the exit code.
func (n *noTestnetError) Unwrap() error { return &offlineError{n.dir, n.err} }

// socketPath is a path to a directory's socket of at most 40 bytes, by way of
// the directory's open file: unix(7) admits 107, and directories are longer.
func socketPath(dir *os.File) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), controlFile)
}

// give gives an order to the network in a directory.
func give(ctx context.Context, dir string, o order) (*orderAnswer, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, &noTestnetError{dir, err}
	}
	defer d.Close()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socketPath(d))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, &noTestnetError{dir, err}
	}
	if err != nil {
		return nil, fmt.Errorf("reaching the network in %s: %w", dir, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	answer := &orderAnswer{}
	err = errors.Join(conn.SetDeadline(time.Now().Add(controlTimeout)), json.NewEncoder(conn).Encode(o))
	if err == nil {
		err = json.NewDecoder(io.LimitReader(conn, maxControl)).Decode(answer)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("talking to the network in %s: %w", dir, err)
	case answer.Usage:
		return nil, usagef("%s", answer.Error)
	case answer.Error != "":
		return nil, errors.New(answer.Error)
	}
	return answer, nil
}

// listenControl opens the socket. Its holder has the directory's lock, so one
// that is there is a dead network's.
func listenControl(dir string) (net.Listener, error) {
	if err := os.Remove(filepath.Join(dir, controlFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	l, err := net.Listen("unix", socketPath(d))
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", filepath.Join(dir, controlFile), err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // its path ends with the open directory
	return l, os.Chmod(filepath.Join(dir, controlFile), 0o600)
}

// serveControl takes orders until ctx ends.
func (t *testnet) serveControl(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer os.Remove(filepath.Join(t.dir, controlFile))
	var orders sync.WaitGroup
	defer orders.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("taking orders: %w", err)
		}
		orders.Go(func() { t.takeOrder(ctx, conn) })
	}
}

// takeOrder reads, does and answers one order. Whoever gave it may be gone.
func (t *testnet) takeOrder(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	conn.SetDeadline(time.Now().Add(controlTimeout))
	var o order
	if err := json.NewDecoder(io.LimitReader(conn, maxControl)).Decode(&o); err != nil {
		return
	}
	err := t.do(ctx, o)
	answer := t.status()
	if err != nil {
		var usage *usageError
		answer = orderAnswer{Error: err.Error(), Usage: errors.As(err, &usage)}
	}
	json.NewEncoder(conn).Encode(answer)
}

// do does one order: all of it, or nothing when a node is not as it must be.
func (t *testnet) do(ctx context.Context, o order) error {
	nodes, err := t.named(o.Nodes)
	if err != nil {
		return err
	}
	if o.Do != "status" {
		if err := t.awaitFurnished(ctx); err != nil {
			return err
		}
	}
	switch o.Do {
	case "status":
		return nil
	case "kill":
		return t.kill(nodes)
	case "pause":
		return t.pause(nodes)
	case "partition":
		return t.partition(nodes)
	case "heal":
		if len(nodes) == 0 {
			nodes = t.members
		}
		return t.heal(ctx, nodes)
	}
	return usagef("a network cannot %q", o.Do)
}

// awaitFurnished lets orders wait until the network stands: what is done to a
// node before would end it all, since the first one is just furnishing the chain.
func (t *testnet) awaitFurnished(ctx context.Context) error {
	late := time.NewTimer(restartTimeout)
	defer late.Stop()
	select {
	case <-t.furnished:
		return nil
	case <-late.C:
		return errors.New("the network is not ready yet: give the order again when it says that it is")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// named finds nodes by number or name.
func (t *testnet) named(names []string) ([]*member, error) {
	var nodes []*member
	for _, name := range names {
		n, err := strconv.Atoi(strings.TrimPrefix(name, "n"))
		if err != nil || n < 1 || n > len(t.members) {
			return nil, usagef("there is no node %q; the network has n1 to n%d", name, len(t.members))
		}
		if m := t.members[n-1]; !slices.Contains(nodes, m) {
			nodes = append(nodes, m)
		}
	}
	return nodes, nil
}

// down says why a node has no process, or "".
func (m *member) down() memberState {
	switch {
	case m.state == stateKilled:
		return stateKilled
	case m.proc == nil:
		return stateStarting
	case m.proc.gone():
		return stateEnded
	}
	return ""
}

// kill kills nodes and returns when they are gone.
func (t *testnet) kill(nodes []*member) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range nodes {
		if why := m.down(); why != "" {
			return fmt.Errorf("%s is down already (%s); start it again with: postern testnet heal --home %s %s", m.name, why, shellWord(t.dir), m.name)
		}
	}
	for _, m := range nodes {
		m.state = stateKilled
		m.proc.signal(syscall.SIGKILL) // one that has just ended is as dead
		<-m.proc.ended
	}
	return nil
}

func (t *testnet) pause(nodes []*member) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range nodes {
		if why := m.down(); why != "" {
			return fmt.Errorf("%s is down (%s)", m.name, why)
		}
		if m.state == statePaused {
			return fmt.Errorf("%s is paused already", m.name)
		}
	}
	for _, m := range nodes {
		if err := m.proc.pause(); err != nil {
			return fmt.Errorf("pausing %s: %w", m.name, err)
		}
		m.state = statePaused
	}
	return nil
}

func (t *testnet) partition(nodes []*member) error {
	if t.relays == nil {
		return errors.New("this network runs with --direct: nothing stands between its nodes that could cut them; start it without")
	}
	if len(nodes) == len(t.members) {
		return usagef("all nodes together are cut off from nobody; name some of them")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.relays.cut(indexes(nodes))
	return nil
}

func indexes(nodes []*member) []int {
	list := make([]int, 0, len(nodes))
	for _, m := range nodes {
		list = append(list, m.index)
	}
	return list
}

// heal undoes what was done to nodes, and returns when those that were down
// answer again.
func (t *testnet) heal(ctx context.Context, nodes []*member) error {
	if t.relays != nil {
		t.relays.rejoin(indexes(nodes))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, restartTimeout, fmt.Errorf("it did not answer within %s", restartTimeout))
	defer cancel()
	var launched []*member
	for _, m := range nodes {
		again, err := t.revive(m)
		if err != nil {
			return err
		}
		if again {
			launched = append(launched, m)
		}
	}
	for _, m := range launched {
		if _, err := t.awaitReady(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// revive continues a paused node and launches one that is down.
func (t *testnet) revive(m *member) (launched bool, err error) {
	t.mu.Lock()
	paused, down := m.state == statePaused, m.down()
	if paused && down == "" {
		err = m.proc.signal(syscall.SIGCONT)
		m.state = stateRunning
	}
	t.mu.Unlock()
	if err != nil || down == "" || down == stateStarting {
		return false, err
	}
	return true, t.launch(m)
}

// status is how all nodes are.
func (t *testnet) status() (a orderAnswer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.members {
		a.Nodes = append(a.Nodes, m.status())
	}
	if t.relays == nil {
		return a
	}
	if parts := t.relays.islands(); len(parts) > 1 {
		for _, part := range parts {
			var names []string
			for _, i := range part {
				names = append(names, memberName(i))
			}
			a.Parts = append(a.Parts, names)
		}
	}
	return a
}

func (m *member) status() memberStatus {
	s := memberStatus{Name: m.name, Role: m.role, State: m.state, Home: string(m.home)}
	if why := m.down(); why != "" {
		s.State = why
		if why == stateEnded {
			s.Note = lastLines(m.home.path(nodeLog), 1)
		}
		return s
	}
	s.PID = m.proc.cmd.Process.Pid
	if !m.proc.isReady() {
		s.State = stateStarting
		return s
	}
	s.Peer, s.Quic, s.Web = m.proc.line.Peer, m.proc.line.Quic, m.proc.line.Web
	return s
}

// askNodes asks those nodes that run where they are on the chain.
func askNodes(ctx context.Context, nodes []memberStatus) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var asked errgroup.Group
	for i := range nodes {
		n := &nodes[i]
		if n.State != stateRunning {
			continue
		}
		asked.Go(func() error {
			status, err := askNode(ctx, home(n.Home), n.Quic)
			if err != nil {
				n.Note = "does not answer: " + err.Error()
				return nil
			}
			n.Node = &nodeProgress{status.Height, hexOf(status.Block), status.Peers, status.Staleness}
			return nil
		})
	}
	asked.Wait()
}

func askNode(ctx context.Context, h home, addr string) (abi.NodeStatus, error) {
	cl, err := dialHome(ctx, h, addr, operatorKeyFile)
	if err != nil {
		return abi.NodeStatus{}, err
	}
	defer cl.Close()
	return cl.Status(ctx)
}

func (a *orderAnswer) text() string {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "NODE\tROLE\tSTATE\tPID\tHEIGHT\tPEERS\tSTALENESS\tQUIC\tNOTE")
	for _, n := range a.Nodes {
		pid, height, peers, staleness := "-", "-", "-", "-"
		if n.PID != 0 {
			pid = strconv.Itoa(n.PID)
		}
		if p := n.Node; p != nil {
			height, peers = strconv.FormatUint(p.Height, 10), strconv.FormatUint(p.Peers, 10)
			staleness = (time.Duration(p.Staleness) * time.Millisecond).Round(100 * time.Millisecond).String()
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, n.Role, n.State, pid, height, peers, staleness, n.Quic, n.Note)
	}
	tw.Flush()
	if len(a.Parts) > 0 {
		var parts []string
		for _, p := range a.Parts {
			parts = append(parts, strings.Join(p, " "))
		}
		fmt.Fprintf(&b, "\npartition: %s\n", strings.Join(parts, " | "))
	}
	return strings.TrimRight(b.String(), "\n")
}
