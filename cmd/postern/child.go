package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// nursery starts processes that end with this one, however it ends: the kernel
// kills a child whose parent's thread is gone (PR_SET_PDEATHSIG of prctl(2)).
// It is that thread's end and not the process's that counts, so all children
// are started by one goroutine that keeps its thread for itself.
type nursery struct {
	births chan birth
	closed chan struct{}  // closed when no more are born
	grown  sync.WaitGroup // a goroutine for each child
}

type birth struct {
	child  *child
	stdout io.Reader
	ended  func()
	done   chan error
}

func newNursery() *nursery {
	return &nursery{births: make(chan birth), closed: make(chan struct{})}
}

// run starts what it is given until ctx ends, kills what runs then, and waits
// for all.
func (n *nursery) run(ctx context.Context) {
	go func() {
		defer close(n.closed)
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		for {
			select {
			case b := <-n.births:
				b.done <- n.bear(ctx, b)
			case <-ctx.Done():
				return
			}
		}
	}()
	<-n.closed
	n.grown.Wait()
}

func (n *nursery) bear(ctx context.Context, b birth) error {
	if err := b.child.cmd.Start(); err != nil {
		return err
	}
	kill := context.AfterFunc(ctx, func() { b.child.cmd.Process.Kill() })
	n.grown.Go(func() {
		b.child.watch(b.stdout)
		kill()
		b.ended()
	})
	return nil
}

// child is a process of the nursery. Its first line on standard output says
// that it is ready.
type child struct {
	cmd *exec.Cmd

	ready chan struct{} // closed when the line came
	line  readyLine     // set before ready is closed
	ended chan struct{} // closed when the process is gone and reaped
	err   error         // set before ended is closed; nil for exit code 0
}

// start starts a process with a log for its standard error. ended is called
// once the process is gone and reaped.
func (n *nursery) start(cmd *exec.Cmd, log string, ended func()) (*child, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the child has a descriptor of its own
	cmd.Stderr = f
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	// A group of its own: Ctrl-C at a terminal is for the parent alone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	c := &child{cmd: cmd, ready: make(chan struct{}), ended: make(chan struct{})}
	b := birth{c, stdout, ended, make(chan error, 1)}
	select {
	case n.births <- b:
		err = <-b.done
	case <-n.closed:
		err = errors.Join(context.Canceled, stdout.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	return c, nil
}

// readyLine is what matters here of readyOutput.
type readyLine struct {
	Ready bool     `json:"ready"`
	Quic  string   `json:"quic"`
	Web   string   `json:"web"`
	Peer  string   `json:"peer"`
	Chain hexBytes `json:"chain"`
}

// maxReadyLine bounds the line that says ready, in bytes.
const maxReadyLine = 16 << 10

// watch reads the line and then waits for the end.
func (c *child) watch(stdout io.Reader) {
	defer close(c.ended)
	out := bufio.NewReaderSize(stdout, maxReadyLine)
	line, err := out.ReadSlice('\n')
	if err == nil {
		if err = json.Unmarshal(line, &c.line); err == nil {
			close(c.ready)
		}
	}
	switch {
	case errors.Is(err, io.EOF): // why it ended, its exit code tells
		err = nil
	case err != nil: // what says something else is no node
		c.cmd.Process.Kill()
		err = fmt.Errorf("reading its first line: %w", err)
	}
	io.Copy(io.Discard, out) // ends with the process
	c.err = errors.Join(err, c.cmd.Wait())
}

// signal sends a signal, unless the process is gone.
func (c *child) signal(s syscall.Signal) error {
	if c.gone() {
		return os.ErrProcessDone
	}
	return c.cmd.Process.Signal(s)
}

// pause stops the process where it is, and returns when it stands still.
func (c *child) pause() error {
	if err := c.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for {
		err := unix.Waitid(unix.P_PID, c.cmd.Process.Pid, nil, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (c *child) gone() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

func (c *child) isReady() bool {
	select {
	case <-c.ready:
		return true
	default:
		return false
	}
}

// wait returns when the child is ready, and an error when it ends instead.
func (c *child) wait(ctx context.Context) error {
	select {
	case <-c.ready:
		return nil
	case <-c.ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errEnded = errors.New("it ended before it was ready")

// lastLines are the last lines of a log, at most n, and of at most 4 KiB.
func lastLines(file string, n int) string {
	f, err := os.Open(file)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	const most = 4 << 10
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		f.Seek(max(0, size-most), io.SeekStart)
	}
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
