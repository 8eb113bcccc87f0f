package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi/chain"
)

// fakeTestnet is a network of n fake children that takes orders.
func fakeTestnet(t *testing.T, n int, direct bool) *testnet {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30)) // longer than the name of a socket may be
	program := filepath.Join(t.TempDir(), "child")
	if err := errors.Join(os.Symlink(self, program), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	tn := &testnet{dir: dir, out: output{w: t.Output()}, alarm: make(alarms, 8), program: program, nursery: startNursery(t), furnished: make(chan struct{})}
	close(tn.furnished)
	for i := range n {
		m := &member{name: memberName(i), index: i, home: home(filepath.Join(dir, memberName(i))), role: roleValidator, args: []string{"ready"}}
		if err := os.Mkdir(string(m.home), 0o700); err != nil {
			t.Fatal(err)
		}
		tn.members = append(tn.members, m)
	}
	if !direct {
		if tn.relays, err = openRelays(n); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tn.relays.close() })
	}
	if err := tn.launchAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	tn.listen(t)
	return tn
}

// TestOrdersWaitUntilReady: nothing is done to a node while the chain is being
// furnished, which would end the network; then the order is carried out.
func TestOrdersWaitUntilReady(t *testing.T) {
	tn := fakeTestnet(t, 2, true)
	tn.furnished = make(chan struct{})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, do := range []string{"kill", "pause", "heal"} {
		if err := tn.do(ended, order{do, []string{"1"}}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", do, err)
		}
	}
	if err := tn.do(ended, order{Do: "status"}); err != nil || tn.members[0].down() != "" {
		t.Fatalf("status: %v; n1 is down: %q", err, tn.members[0].down())
	}
	ordered := make(chan error)
	go func() { ordered <- tn.do(t.Context(), order{"kill", []string{"1"}}) }()
	close(tn.furnished)
	if err := <-ordered; err != nil || tn.members[0].down() != stateKilled {
		t.Errorf("%v; n1 is down: %q", err, tn.members[0].down())
	}
}

// alarms are what a network says that nobody asked for.
type alarms chan string

func (a alarms) Write(b []byte) (int, error) {
	a <- string(b)
	return len(b), nil
}

// listen takes orders until the test ends, and ends all nodes then.
func (t *testnet) listen(tt *testing.T) {
	tt.Helper()
	control, err := listenControl(t.dir)
	if err != nil {
		tt.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- t.serveControl(ctx, control) }()
	tt.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tt.Error(err)
		}
		t.shutDown()
		for _, m := range t.members {
			if !m.proc.gone() {
				tt.Errorf("%s outlived its network", m.name)
			}
		}
	})
}

// must gives an order that has to be carried out and tells all states.
func (t *testnet) must(tt *testing.T, do string, nodes ...string) (states []memberState, answer *orderAnswer) {
	tt.Helper()
	answer, err := give(tt.Context(), t.dir, order{do, nodes})
	if err != nil {
		tt.Fatalf("%s %v: %v", do, nodes, err)
	}
	for _, n := range answer.Nodes {
		states = append(states, n.State)
	}
	return states, answer
}

// refuses gives an order that must be refused.
func (t *testnet) refuses(tt *testing.T, want, do string, nodes ...string) {
	tt.Helper()
	if _, err := give(tt.Context(), t.dir, order{do, nodes}); err == nil || !strings.Contains(err.Error(), want) {
		tt.Errorf("%s %v: %v, want %q", do, nodes, err, want)
	}
}

func wantStates(t *testing.T, got []memberState, want ...memberState) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the nodes are %v, want %v", got, want)
	}
}

func TestKillAndHeal(t *testing.T) {
	tn := fakeTestnet(t, 3, false)
	before := openPID(t, tn.members[0].proc.cmd.Process.Pid)
	states, _ := tn.must(t, "kill", "1", "n3", "3")
	wantStates(t, states, stateKilled, stateRunning, stateKilled)
	awaitEnd(t, before)
	tn.refuses(t, "n1 is down already (killed)", "kill", "2", "1")
	states, _ = tn.must(t, "status")
	wantStates(t, states, stateKilled, stateRunning, stateKilled) // nothing was half done
	tn.refuses(t, "n3 is down", "pause", "3")
	states, _ = tn.must(t, "heal", "3")
	wantStates(t, states, stateKilled, stateRunning, stateRunning)
	states, answer := tn.must(t, "heal")
	wantStates(t, states, stateRunning, stateRunning, stateRunning)
	if answer.Nodes[0].PID == 0 || answer.Nodes[0].Quic == "" {
		t.Errorf("a healed node is %+v", answer.Nodes[0])
	}
}

func TestPauseAndHeal(t *testing.T) {
	tn := fakeTestnet(t, 2, true)
	pid := tn.members[1].proc.cmd.Process.Pid
	states, _ := tn.must(t, "pause", "2")
	wantStates(t, states, stateRunning, statePaused)
	if s := processState(t, pid); s != "T" {
		t.Errorf("a paused process is in state %s", s)
	}
	tn.refuses(t, "n2 is paused already", "pause", "2")
	states, answer := tn.must(t, "heal")
	wantStates(t, states, stateRunning, stateRunning)
	if answer.Nodes[1].PID != pid || processState(t, pid) == "T" {
		t.Errorf("process %d is %+v now", pid, answer.Nodes[1])
	}
	tn.must(t, "pause", "2")
	states, _ = tn.must(t, "kill", "2")
	wantStates(t, states, stateRunning, stateKilled)
	tn.must(t, "pause", "1") // and ends with the network
}

// processState is the letter of proc(5) that tells what a process does.
func processState(t *testing.T, pid int) string {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return rest[:1]
}

func TestPartitionAndHeal(t *testing.T) {
	tn := fakeTestnet(t, 4, false)
	_, answer := tn.must(t, "partition", "3", "4")
	if want := [][]string{{"n1", "n2"}, {"n3", "n4"}}; !reflect.DeepEqual(answer.Parts, want) {
		t.Errorf("the parts are %v, want %v", answer.Parts, want)
	}
	if tn.relays.reaches(0, 2) || !tn.relays.reaches(2, 3) {
		t.Error("the relays do not follow the order")
	}
	tn.refuses(t, "cut off from nobody", "partition", "1", "2", "3", "4")
	if _, answer = tn.must(t, "heal"); answer.Parts != nil {
		t.Errorf("after heal the parts are %v", answer.Parts)
	}
	if direct := fakeTestnet(t, 2, true); true {
		direct.refuses(t, "--direct", "partition", "1")
	}
}

// TestNodeThatEndsByItself: the network goes on, tells why, and heals it.
func TestNodeThatEndsByItself(t *testing.T) {
	tn := fakeTestnet(t, 2, true)
	m := tn.members[0]
	if err := os.WriteFile(m.home.path(nodeLog), []byte("first\nthe disk is full\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.proc.signal(syscall.SIGTERM)
	<-m.proc.ended
	states, answer := tn.must(t, "status")
	wantStates(t, states, stateEnded, stateRunning)
	if alarm := <-tn.alarm.(alarms); !strings.Contains(alarm, "n1 has ended") || !strings.Contains(alarm, "the disk is full") {
		t.Errorf("the alarm is %q", alarm)
	}
	if answer.Nodes[0].Note != "the disk is full" {
		t.Errorf("the note is %q", answer.Nodes[0].Note)
	}
	tn.refuses(t, "n1 is down already (ended)", "kill", "1")
	states, _ = tn.must(t, "heal", "1")
	wantStates(t, states, stateRunning, stateRunning)
}

// TestNodeThatDoesNotStart: the error shows what it logged last.
func TestNodeThatDoesNotStart(t *testing.T) {
	tn := fakeTestnet(t, 2, true)
	tn.members[1].args = []string{"fails"}
	tn.must(t, "kill", "2")
	tn.refuses(t, "three", "heal", "2")
	states, _ := tn.must(t, "status")
	wantStates(t, states, stateRunning, stateEnded)
}

func TestBadOrders(t *testing.T) {
	tn := fakeTestnet(t, 2, true)
	for _, name := range []string{"0", "3", "n0", "-1", "", "nn1", "one", "1 2"} {
		tn.refuses(t, "there is no node", "kill", name)
	}
	tn.refuses(t, `cannot "dance"`, "dance")
	if _, err := give(t.Context(), tn.dir, order{"kill", []string{"9"}}); exitCodeOf(err) != exitUsage {
		t.Errorf("no such node: exit code %d", exitCodeOf(err))
	}
	d, err := os.Open(tn.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, garbage := range []string{"", "\x00\xff", "[]", `{"do":1}`, strings.Repeat("[", maxControl+1), strings.Repeat(" ", maxControl) + `{"do":"kill","nodes":["1"]}`} {
		conn, err := net.Dial("unix", socketPath(d))
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte(garbage))
		conn.(*net.UnixConn).CloseWrite()
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := conn.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("garbage was answered (%v)", err)
		}
		conn.Close()
	}
	silent, err := net.Dial("unix", socketPath(d)) // holds up nobody, not even the end
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	states, _ := tn.must(t, "status")
	wantStates(t, states, stateRunning, stateRunning)
	if info, err := os.Stat(filepath.Join(tn.dir, controlFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v (%v)", info.Mode(), err)
	}
}

func TestNoNetworkThere(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		_, err := give(t.Context(), dir, order{Do: "status"})
		if exitCodeOf(err) != exitOffline || !strings.Contains(err.Error(), "no network runs in "+dir) {
			t.Errorf("%v, exit code %d", err, exitCodeOf(err))
		}
		// The second time with the socket of one that was killed.
		l, err := listenControl(dir)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	if l, err := listenControl(dir); err != nil {
		t.Errorf("after a killed network: %v", err)
	} else {
		l.Close()
	}
}

func TestOneNetworkADirectory(t *testing.T) {
	dir := t.TempDir()
	lock, err := lockTestnet(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockTestnet(dir); err == nil || !strings.Contains(err.Error(), "a network runs in "+dir) {
		t.Errorf("a second network in the directory: %v", err)
	}
	lock.Close()
	again, err := lockTestnet(dir)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func testShape(validators, followers int) testnetShape {
	return testnetShape{validators: validators, followers: followers, params: chain.DefaultParams()}
}

func makeTestHomes(t *testing.T, dir string, shape testnetShape) (*testnet, error) {
	t.Helper()
	tn := &testnet{dir: dir, out: output{w: t.Output()}}
	return tn, tn.makeHomes(t.Context(), shape)
}

// TestHomesAreMadeOnce: whatever an interruption left is finished, with the
// same keys, and the chain stays what it was.
func TestHomesAreMadeOnce(t *testing.T) {
	dir := t.TempDir()
	first, err := makeTestHomes(t, dir, testShape(11, 2))
	if err != nil {
		t.Fatal(err)
	}
	raw, _, err := home(dir).genesis()
	if err != nil {
		t.Fatal(err)
	}
	if len(first.members) != 13 || first.members[10].role != roleValidator || first.members[11].role != roleFollower {
		t.Errorf("made %d nodes", len(first.members))
	}
	for i, v := range first.genesis.Validators {
		keys, err := makeKeys(first.members[i].home)
		if err != nil {
			t.Fatal(err)
		}
		if string(v.Key) != string(keys.node.Public()) {
			t.Errorf("%s is not validator %d", first.members[i].name, v.ID)
		}
	}
	key, err := os.ReadFile(first.members[4].home.path(nodeKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, lost := range []string{"n5/genesis.cbor", "n5/postern.toml", "n12/genesis.cbor"} {
		if err := os.Remove(filepath.Join(dir, lost)); err != nil {
			t.Fatal(err)
		}
	}
	again, err := makeTestHomes(t, dir, testShape(4, 1))
	if err != nil {
		t.Fatal(err)
	}
	after, _, err := home(dir).genesis()
	if err != nil || string(after) != string(raw) || len(again.members) != 13 {
		t.Errorf("the second start made another network of %d nodes (%v)", len(again.members), err)
	}
	if same, err := os.ReadFile(first.members[4].home.path(nodeKeyFile)); err != nil || string(same) != string(key) {
		t.Errorf("a key was made anew (%v)", err)
	}
	cfg, err := again.members[4].home.config()
	if err != nil || cfg.Learn || cfg.Clock != "trusted" {
		t.Errorf("the configuration is %+v (%v)", cfg, err)
	}
}

// TestHomesInterruptedBeforeTheGenesis: keys that are there are used.
func TestHomesInterruptedBeforeTheGenesis(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "n1"), 0o700); err != nil {
		t.Fatal(err)
	}
	keys, err := makeKeys(home(filepath.Join(dir, "n1")))
	if err != nil {
		t.Fatal(err)
	}
	tn, err := makeTestHomes(t, dir, testShape(2, 0))
	if err != nil {
		t.Fatal(err)
	}
	if string(tn.genesis.Validators[0].Key) != string(keys.node.Public()) {
		t.Error("n1 got another key")
	}
}

func TestHomesThatDoNotFit(t *testing.T) {
	dir := t.TempDir()
	if _, err := makeTestHomes(t, dir, testShape(2, 1)); err != nil {
		t.Fatal(err)
	}
	asked := testShape(3, 1)
	asked.validatorsSet = true
	if _, err := makeTestHomes(t, dir, asked); exitCodeOf(err) != exitUsage {
		t.Errorf("another number of validators: %v", err)
	}
	asked = testShape(2, 1)
	asked.paramsSet, asked.params.BlockGas = true, asked.params.BlockGas/2
	if _, err := makeTestHomes(t, dir, asked); exitCodeOf(err) != exitUsage {
		t.Errorf("another gas: %v", err)
	}
	other := t.TempDir()
	if _, err := makeTestHomes(t, other, testShape(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "n2")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(other, "n1"), filepath.Join(dir, "n2")); err != nil {
		t.Fatal(err)
	}
	if _, err := makeTestHomes(t, dir, testShape(2, 1)); err == nil || !strings.Contains(err.Error(), "n2 is the home of another chain's node") {
		t.Errorf("a home of another chain: %v", err)
	}
}
