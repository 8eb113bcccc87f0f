package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// runFakeChild is a process that behaves as its argument says.
func runFakeChild() {
	switch os.Args[1] {
	case "ready":
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		fmt.Println(`{"ready":true,"quic":"127.0.0.1:1"}`)
		<-term
	case "fails":
		fmt.Fprintln(os.Stderr, "one\ntwo\nthree")
		os.Exit(1)
	case "babbles":
		fmt.Println("Good morning!")
		select {}
	case "endless":
		for {
			fmt.Print("{")
		}
	case "parent":
		n := newNursery()
		go n.run(context.Background())
		c, err := n.start(fakeChild("ready"), os.Args[2], func() {})
		if err != nil {
			fmt.Println(err)
			return
		}
		<-c.ready
		fmt.Println(c.cmd.Process.Pid)
		select {}
	}
}

// fakeChild runs this test binary as a fake child.
func fakeChild(args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Args[0] = "child"
	return cmd
}

// startNursery runs one until the test ends.
func startNursery(t *testing.T) *nursery {
	n := newNursery()
	t.Cleanup(beside(context.Background(), n.run))
	return n
}

func startFake(t *testing.T, n *nursery, args ...string) (c *child, log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "log")
	c, err := n.start(fakeChild(args...), log, func() {})
	if err != nil {
		t.Fatal(err)
	}
	return c, log
}

func TestChildLivesAndDies(t *testing.T) {
	n := startNursery(t)
	c, _ := startFake(t, n, "ready")
	if err := c.wait(t.Context()); err != nil || c.line.Quic != "127.0.0.1:1" || !c.isReady() || c.gone() {
		t.Fatalf("ready: %v %+v", err, c.line)
	}
	if err := c.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-c.ended
	if c.err != nil || !c.gone() {
		t.Errorf("it ended with %v", c.err)
	}
	if err := c.signal(syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal to one that is gone: %v", err)
	}
}

func TestChildrenThatFail(t *testing.T) {
	n := startNursery(t)
	for _, test := range []struct{ behaviour, want string }{
		{"fails", "exit status 1"},
		{"babbles", "reading its first line"},
		{"endless", "reading its first line"},
	} {
		c, log := startFake(t, n, test.behaviour)
		if err := c.wait(t.Context()); !errors.Is(err, errEnded) {
			t.Errorf("%s: %v", test.behaviour, err)
		}
		if c.err == nil || !strings.Contains(c.err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.behaviour, c.err, test.want)
		}
		if test.behaviour == "fails" && lastLines(log, 2) != "two\nthree" {
			t.Errorf("the log ends with %q", lastLines(log, 2))
		}
	}
	if _, err := n.start(exec.Command("/no/such/program"), filepath.Join(t.TempDir(), "log"), func() {}); err == nil {
		t.Error("a program that is not there was started")
	}
}

// TestNurseryEndsItsChildren: whoever forgets a child does not keep it.
func TestNurseryEndsItsChildren(t *testing.T) {
	n := newNursery()
	end := beside(t.Context(), n.run)
	c, log := startFake(t, n, "ready")
	end()
	if !c.gone() {
		t.Error("the nursery has ended, its child has not")
	}
	if _, err := n.start(fakeChild("ready"), log, func() {}); !errors.Is(err, context.Canceled) {
		t.Errorf("a birth after the end: %v", err)
	}
}

// TestChildrenDieWithAKilledParent: kill -9 leaves nobody time to clean up.
func TestChildrenDieWithAKilledParent(t *testing.T) {
	parent := fakeChild("parent", filepath.Join(t.TempDir(), "log"))
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	watched := openPID(t, pid)
	parent.Process.Kill()
	parent.Wait()
	awaitEnd(t, watched)
}

// openPID holds on to a process that is no child of this one: pidfd_open(2).
func openPID(t *testing.T, pid int) (fd int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("process %d: %v", pid, err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func awaitEnd(t *testing.T, fd int) {
	t.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int((10 * time.Second).Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n != 1 {
			t.Fatalf("the process lives on (%v)", err)
		}
		return
	}
}
