package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// hookConfig is the section [hook] of postern.toml.
type hookConfig struct {
	Command []string `toml:"command"` // program and arguments; no shell reads them
	Timeout int      `toml:"timeout"` // seconds that a run may take
}

// defaultHookTimeout is how long a run of the command may take, in seconds.
const defaultHookTimeout = 10

func (c *hookConfig) validate() error {
	if len(c.Command) == 0 {
		if c.Timeout != 0 {
			return errors.New("[hook]: timeout without a command")
		}
		return nil
	}
	if c.Timeout == 0 {
		c.Timeout = defaultHookTimeout
	}
	if c.Timeout < 0 {
		return fmt.Errorf("[hook]: timeout = %d: want seconds above 0", c.Timeout)
	}
	program := c.Command[0]
	if !filepath.IsAbs(program) {
		return fmt.Errorf("[hook]: command: %q: name the program by its absolute path", program)
	}
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("[hook]: command: %w", err)
	}
	return nil
}

// hookCommand runs the configured program. What a device's labels or a reason say
// reaches it as the environment alone, whole: no shell takes it apart.
type hookCommand struct {
	hookConfig
	dir string
	log *slog.Logger
}

// outputKept is how many bytes of the program's output a failure tells: its end.
const outputKept = 2 << 10

// killPatience is how long the program's output may stay open after its end, held
// by what it has started and left behind.
const killPatience = time.Second

// run runs the program once. After its time it is killed, and all of its process
// group.
func (h *hookCommand) run(ctx context.Context, environment []string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(h.Timeout)*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.Command[0], h.Command[1:]...)
	cmd.Dir = h.dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, environment...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killPatience
	out := &lastBytes{keep: outputKept}
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%s took longer than %d s and was killed; it said %q", h.Command[0], h.Timeout, out)
	case errors.Is(err, exec.ErrWaitDelay): // it did its work, and something it started lives on
		h.log.Warn("the hook left a process behind that holds its output", "command", h.Command[0])
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w; it said %q", h.Command[0], err, out)
	}
	return nil
}

// lastBytes keeps the end of what is written to it.
type lastBytes struct {
	keep int
	b    []byte
}

func (l *lastBytes) Write(p []byte) (int, error) {
	n := len(p)
	if len(p) > l.keep {
		p = p[len(p)-l.keep:]
	}
	if over := len(l.b) + len(p) - l.keep; over > 0 {
		l.b = append(l.b[:0], l.b[over:]...)
	}
	l.b = append(l.b, p...)
	return n, nil
}

func (l *lastBytes) String() string { return strings.ToValidUTF8(string(l.b), "\ufffd") }

// variable is one of the environment's. A NUL would end it early and have the
// program not start at all; the ledger admits none, whatever it may admit some day.
func variable(name, value string) string {
	return "POSTERN_" + name + "=" + strings.ReplaceAll(value, "\x00", "\ufffd")
}
