package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

var namespaces = flag.Bool("namespaces", false, "put nodes into network namespaces of their own as well, which takes root and iproute2")

// TestPartitions cuts four validators in halves, in which nothing may be
// committed, and into three and one, where the three go on. After each they
// must all go on together.
func TestPartitions(t *testing.T) {
	t.Run("relays", func(t *testing.T) {
		f := startFleet(t, t.TempDir(), "--followers", "0")
		testPartitions(t, f, func(nodes ...int) {
			for _, i := range nodes {
				f.cut = append(f.cut, memberName(i))
			}
			f.order("partition", f.cut...)
		}, func() { f.order("heal"); f.cut = nil })
	})
	if *namespaces {
		t.Run("namespaces", func(t *testing.T) {
			l := startLAN(t)
			l.testSlowPeer()
			testPartitions(t, l.fleet, func(nodes ...int) { l.plug("far", nodes...) }, func() { l.plug("near", l.all()...) })
		})
	}
}

func testPartitions(t *testing.T, f *fleet, cut func(nodes ...int), heal func()) {
	t.Helper()
	f.writeMany(0, 2)
	cut(2, 3)
	for _, i := range f.all() {
		f.writesNothing(i)
	}
	heal()
	for _, i := range f.all() {
		f.writeSoon(i)
	}
	cut(1)
	f.writeSoon(0)
	f.writesNothing(1)
	heal()
	for _, i := range f.all() {
		f.writeSoon(i)
	}
	height := f.status(0).Height
	want, err := f.tell(0, height)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range f.all() {
		got, err := f.tell(i, height)
		if err == nil {
			err = want.differs(got)
		}
		if err != nil {
			t.Errorf("%s: %v", f.nodes[i].Name, err)
		}
	}
}

// cutOffFor is how long a minority is watched.
const cutOffFor = 2 * time.Second

// writesNothing has a node take a transaction that no quorum can commit.
func (f *fleet) writesNothing(i int) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), cutOffFor)
	defer cancel()
	cl, err := f.dial(ctx, i)
	if err != nil {
		f.t.Fatal(err)
	}
	defer cl.Close()
	// What was decided before the cut may still come: two in a row cannot.
	for range 2 {
		if _, err = f.write(ctx, cl); err != nil {
			return
		}
	}
	f.t.Errorf("%s commits what no quorum has seen", f.nodes[i].Name)
}

// writeSoon has a node take a transaction, again until one is committed.
func (f *fleet) writeSoon(i int) {
	f.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(f.t.Context(), goOnWithin)
	defer cancel()
	cl, err := f.dial(ctx, i)
	if err != nil {
		f.t.Fatal(err)
	}
	defer cl.Close()
	for {
		within, stop := context.WithTimeout(ctx, feedWithin)
		_, err := f.write(within, cl)
		stop()
		if err == nil {
			f.t.Logf("%s goes on within %s", f.nodes[i].Name, time.Since(began).Round(10*time.Millisecond))
			return
		}
		if ctx.Err() != nil {
			f.t.Fatalf("%s does not go on within %s: %v", f.nodes[i].Name, goOnWithin, err)
		}
	}
}

// lan is a network of processes, each in a network namespace of its own with
// one interface, plugged into one of two switches: bridges near and far, which
// are in one more namespace.
type lan struct {
	*fleet
	prefix string // of the names of namespaces
}

func startLAN(t *testing.T) *lan {
	t.Helper()
	dir := t.ArtifactDir()
	shape := testShape(4, 0)
	shape.params.ActivationDelay = 0
	made, err := makeTestHomes(t, dir, shape)
	if err != nil {
		t.Fatal(err)
	}
	l := &lan{fleet: &fleet{t: t, dir: dir, bare: true}, prefix: fmt.Sprintf("postern-%d-", os.Getpid())}
	l.ip("netns", "add", l.prefix+"hub")
	t.Cleanup(func() { l.ip("netns", "del", l.prefix+"hub") })
	for _, bridge := range []string{"near", "far"} {
		l.ip("-n", l.prefix+"hub", "link", "add", bridge, "type", "bridge")
		l.ip("-n", l.prefix+"hub", "link", "set", bridge, "up")
	}
	nursery := startNursery(t)
	for i, m := range made.members {
		l.addNamespace(i)
		l.startNode(i, m, nursery)
	}
	l.conn = l.listen
	return l
}

func (l *lan) ip(args ...string) {
	l.t.Helper()
	if text, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %s: %v: %s; leave -namespaces out where that is not permitted", strings.Join(args, " "), err, text)
	}
}

func (l *lan) namespace(i int) string { return l.prefix + memberName(i) }

func lanAddress(i int) string { return fmt.Sprintf("10.77.0.%d", i+1) }

// addNamespace makes a node's namespace and plugs it in.
func (l *lan) addNamespace(i int) {
	l.t.Helper()
	ns, hub, name := l.namespace(i), l.prefix+"hub", memberName(i)
	l.ip("netns", "add", ns)
	l.t.Cleanup(func() { l.ip("netns", "del", ns) })
	l.ip("-n", hub, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", ns)
	l.ip("-n", hub, "link", "set", name, "up")
	l.ip("-n", ns, "addr", "add", lanAddress(i)+"/24", "dev", "eth0")
	for _, link := range []string{"eth0", "lo"} {
		l.ip("-n", ns, "link", "set", link, "up")
	}
	l.plug("near", i)
}

// plug plugs nodes into a bridge.
func (l *lan) plug(bridge string, nodes ...int) {
	l.t.Helper()
	for _, i := range nodes {
		l.ip("-n", l.prefix+"hub", "link", "set", memberName(i), "master", bridge)
	}
}

func (l *lan) startNode(i int, m *member, nursery *nursery) {
	l.t.Helper()
	program, err := exec.LookPath("postern")
	if err != nil {
		l.t.Fatal(err)
	}
	args := []string{"netns", "exec", l.namespace(i), program, "start", "--json", "--home", string(m.home),
		"--quic", lanAddress(i) + ":7433", "--web", "off", "--peer", lanAddress(i) + ":7423"}
	for j := range 4 {
		if j != i {
			args = append(args, "--peers", lanAddress(j)+":7423")
		}
	}
	proc, err := nursery.start(exec.Command("ip", args...), m.home.path(nodeLog), func() {})
	if err != nil {
		l.t.Fatal(err)
	}
	l.nodes = append(l.nodes, testnetMember{Name: m.name, Home: string(m.home), Quic: lanAddress(i) + ":7433", PID: proc.cmd.Process.Pid})
	l.t.Cleanup(func() {
		if l.t.Failed() {
			l.t.Logf("%s: %s", m.name, lastLines(m.home.path(nodeLog), 20))
		}
	})
}

// listen opens a socket in a node's namespace. The thread that entered it is
// given up.
func (l *lan) listen(i int) (conn net.PacketConn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock
		var ns *os.File
		if ns, err = os.Open(filepath.Join("/run/netns", l.namespace(i))); err != nil {
			return
		}
		defer ns.Close()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err == nil {
			conn, err = net.ListenPacket("udp4", "127.0.0.1:0")
		}
	}()
	<-done
	return conn, err
}

// What a slow node gets, in kilobits a second: less than what it would have to
// follow.
const slowLink = "256kbit"

// testSlowPeer makes the link of a validator slow that does not lead: a leader
// is deposed for it. The others must not be slower, at the median of windows in
// turn: the machine has other things to do.
func (l *lan) testSlowPeer() {
	l.t.Helper()
	const slow, windows = 3, 5
	var shares []float64
	for range windows {
		before := l.count(0)
		l.tc("add", slow, "tbf", "rate", slowLink, "burst", "8kb", "latency", "400ms")
		after := l.count(0)
		l.tc("del", slow)
		shares = append(shares, float64(after)/float64(before))
		l.t.Logf("%d transactions with one slow peer, %d without", after, before)
	}
	slices.Sort(shares)
	if shares[windows/2] < 0.9 {
		l.t.Errorf("a slow peer leaves %.2f of the throughput", shares[windows/2])
	}
	l.writeSoon(slow) // it has caught up
}

// tc shapes what a node sends and gets.
func (l *lan) tc(do string, i int, shape ...string) {
	l.t.Helper()
	for ns, link := range map[string]string{l.namespace(i): "eth0", l.prefix + "hub": memberName(i)} {
		args := append([]string{"-n", ns, "qdisc", do, "dev", link, "root"}, shape...)
		if text, err := exec.Command("tc", args...).CombinedOutput(); err != nil {
			l.t.Fatalf("tc %s: %v: %s", strings.Join(args, " "), err, text)
		}
	}
}

// countFor is how long throughput is measured.
const countFor = 4 * time.Second

// count is how many transactions a node takes in that time from many senders.
func (l *lan) count(i int) int {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), countFor)
	defer cancel()
	const senders = 32
	taken := make(chan int)
	for n := range senders {
		go func() {
			count := 0
			defer func() { taken <- count }()
			cl, err := l.dialAs(ctx, n%len(l.nodes), i) // an owner alone may send no more than a few hundred a second
			if err != nil {
				return
			}
			defer cl.Close()
			for ; err == nil; count++ {
				_, err = l.write(ctx, cl)
			}
		}()
	}
	sum := 0
	for range senders {
		sum += <-taken
	}
	return sum
}

// dialFrom connects from a socket of its own.
func dialFrom(ctx context.Context, conn net.PacketConn, h home, addr, keyFile string) (*client.Client, error) {
	k, err := key.Load(h.path(keyFile))
	if err != nil {
		return nil, err
	}
	bundle, err := readBundle(h.path("bundle.json"))
	if err != nil {
		return nil, err
	}
	return client.Dial(ctx, client.Config{Bundle: bundle, Key: k, Addr: addr, PacketConn: conn, Attempts: 1})
}
