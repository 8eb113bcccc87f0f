package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
)

// fakeFleet are devices whose states a test sets, and a command that notes what it
// was told.
type fakeFleet struct {
	mu      sync.Mutex
	states  map[abi.Hash]deviceState
	failing map[abi.Hash]bool
	blind   bool // barred fails
	told    []string
}

func newFleet() *fakeFleet {
	return &fakeFleet{states: map[abi.Hash]deviceState{}, failing: map[abi.Hash]bool{}}
}

func (f *fakeFleet) set(device byte, status string) abi.Hash {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.states[abi.Hash{device}] = deviceState{status: status}
	return abi.Hash{device}
}

func (f *fakeFleet) fail(device abi.Hash, fails bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failing[device] = fails
}

func (f *fakeFleet) state(device abi.Hash) (deviceState, []string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.states[device]
	return v, []string{fmt.Sprint(device[0]), v.status}, nil
}

func (f *fakeFleet) barred(each func(abi.Hash)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.blind {
		return errors.New("no view")
	}
	for device, v := range f.states {
		if !v.works() {
			each(device)
		}
	}
	return nil
}

func (f *fakeFleet) run(_ context.Context, environment []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, strings.Join(environment, " "))
	for device, fails := range f.failing {
		if fails && environment[0] == fmt.Sprint(device[0]) {
			return errors.New("exit status 1")
		}
	}
	return nil
}

// heard takes what the command was told since the last call, sorted.
func (f *fakeFleet) heard() []string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	told := f.told
	f.told = nil
	slices.Sort(told)
	return told
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// startHook runs a hook on a fleet and ends it when the function returned is called.
func startHook(t *testing.T, f *fakeFleet, file string) (*hook, func()) {
	t.Helper()
	h := newHook(f, f.run, file, quiet())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	return h, func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func wantHeard(t *testing.T, f *fakeFleet, want ...string) {
	t.Helper()
	if got := f.heard(); !slices.Equal(got, want) {
		t.Errorf("the command heard %q, want %q", got, want)
	}
}

func TestHookTellsEachChangeOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFleet()
		h, stop := startHook(t, f, filepath.Join(t.TempDir(), "told"))
		defer stop()
		device := f.set(1, "active")
		h.changed(device)
		wantHeard(t, f) // nobody told the command otherwise
		f.set(1, "quarantined")
		h.changed(device)
		h.changed(device)
		wantHeard(t, f, "1 quarantined")
		h.changed(device)
		wantHeard(t, f)
		f.set(1, "stolen")
		h.changed(device)
		wantHeard(t, f, "1 stolen")
		f.set(1, "active")
		h.changed(device)
		wantHeard(t, f, "1 active")
		h.changed(device)
		wantHeard(t, f)
	})
}

// A restart tells the statuses of now: a firewall forgets, and a release may have
// come while the node was down.
func TestHookCatchesUpAfterARestart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "told")
		f := newFleet()
		f.set(1, "quarantined")
		f.set(2, "stolen")
		f.set(3, "active")
		_, stop := startHook(t, f, file)
		wantHeard(t, f, "1 quarantined", "2 stolen")
		stop()
		f.set(1, "active")
		f.set(3, "retired")
		_, stop = startHook(t, f, file)
		wantHeard(t, f, "1 active", "2 stolen", "3 retired")
		stop()
		_, stop = startHook(t, f, file)
		wantHeard(t, f, "2 stolen", "3 retired")
		stop()
		text, err := os.ReadFile(file)
		if err != nil || bytes.Count(text, []byte("\n")) != 2 {
			t.Errorf("the file holds %q, %v", text, err)
		}
	})
}

// A crash after the command was told and before it succeeded must not leave a
// device barred for ever.
func TestHookTakesBackWhatACrashCutShort(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "told")
		f := newFleet()
		device := f.set(1, "quarantined")
		f.fail(device, true)
		_, stop := startHook(t, f, file)
		wantHeard(t, f, "1 quarantined")
		stop()
		f.fail(device, false)
		f.set(1, "active")
		_, stop = startHook(t, f, file)
		defer stop()
		wantHeard(t, f, "1 active")
	})
}

func TestHookTriesAgainWithoutHoldingUpOthers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFleet()
		h, stop := startHook(t, f, filepath.Join(t.TempDir(), "told"))
		defer stop()
		bad := f.set(1, "quarantined")
		f.fail(bad, true)
		h.changed(bad)
		h.changed(f.set(2, "suspended"))
		wantHeard(t, f, "1 quarantined", "2 suspended")
		elapse(firstHookRetry)
		wantHeard(t, f, "1 quarantined")
		elapse(firstHookRetry)
		wantHeard(t, f) // the pause doubles
		elapse(firstHookRetry)
		wantHeard(t, f, "1 quarantined")
		elapse(time.Hour)
		if n := len(f.heard()); n < 10 || n > 20 {
			t.Errorf("%d tries within an hour", n)
		}
		f.fail(bad, false)
		elapse(lastHookRetry)
		wantHeard(t, f, "1 quarantined")
		elapse(time.Hour)
		wantHeard(t, f)
	})
}

// More changes than the list holds lose nobody.
func TestHookSurvivesAFloodOfChanges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFleet()
		h := newHook(f, f.run, filepath.Join(t.TempDir(), "told"), quiet())
		const many = maxHookWaiting + 500
		for i := range many {
			device := abi.Hash{byte(i), byte(i >> 8), 1}
			f.states[device] = deviceState{status: "suspended"}
			h.changed(device)
		}
		if len(h.order) > maxHookWaiting {
			t.Errorf("%d devices wait by name", len(h.order))
		}
		f.told = nil
		h.run = func(_ context.Context, environment []string) error {
			f.told = append(f.told, "")
			return nil
		}
		h.file = os.DevNull + "/none" // notes are not what is tested here
		h.told = maps.Collect(func(yield func(abi.Hash, deviceState) bool) {
			for device := range f.states {
				if !yield(device, deviceState{status: stateUnsure}) {
					return
				}
			}
		})
		h.rescan()
		for device, ok := h.next(); ok; device, ok = h.next() {
			h.tell(t.Context(), device)
		}
		if len(f.told) != many {
			t.Errorf("%d devices told of, want %d", len(f.told), many)
		}
	})
}

func TestHookLooksAgainWhereTheLedgerCouldNotSay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFleet()
		f.set(1, "stolen")
		f.blind = true
		_, stop := startHook(t, f, filepath.Join(t.TempDir(), "told"))
		defer stop()
		wantHeard(t, f)
		f.mu.Lock()
		f.blind = false
		f.mu.Unlock()
		elapse(hookRescan)
		wantHeard(t, f, "1 stolen")
	})
}

func TestHookPassesOverADamagedFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "told")
	good := abi.Hash{7}
	if err := os.WriteFile(file, fmt.Appendf(nil, "nonsense\n%x\n%x\n\x00\xff", good, good[:5]), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHook(newFleet(), nil, file, quiet())
	if err := h.load(); err != nil || len(h.told) != 1 || h.told[good].status != stateUnsure {
		t.Errorf("%v, %v", h.told, err)
	}
}

// shell is a command that a test writes; only the test's own words reach a shell.
func shell(t *testing.T, script string) *hookCommand {
	t.Helper()
	return &hookCommand{hookConfig{[]string{"/bin/sh", "-c", script}, 5}, t.TempDir(), quiet()}
}

// What others write into labels and reasons reaches the program whole, and nothing
// of it is run.
func TestHookCommandIsNoShell(t *testing.T) {
	hostile := []string{"$(touch owned)", "`touch owned`", "; touch owned", "a\nb=c", "' \" \\ * ? ~ # | & > owned", "%s%n", "\x00cut", "-rf /", "ü\u202e"}
	for _, reason := range hostile {
		h := shell(t, `printf '%s' "$POSTERN_REASON" > heard; printf '%s' "$0 $#" > arguments`)
		if err := h.run(t.Context(), []string{variable("REASON", reason)}); err != nil {
			t.Fatalf("%q: %v", reason, err)
		}
		heard, err := os.ReadFile(filepath.Join(h.dir, "heard"))
		if want := strings.ReplaceAll(reason, "\x00", "\ufffd"); err != nil || string(heard) != want {
			t.Errorf("the program heard %q of %q, %v", heard, want, err)
		}
		if _, err := os.Stat(filepath.Join(h.dir, "owned")); err == nil {
			t.Errorf("%q was run", reason)
		}
	}
}

// Nothing of the node's environment reaches the program, which may hold secrets.
func TestHookCommandSeesOnlyWhatItIsTold(t *testing.T) {
	t.Setenv("POSTERN_SECRET", "hunter2")
	h := shell(t, `env > heard`)
	if err := h.run(t.Context(), []string{variable("STATUS", "stolen")}); err != nil {
		t.Fatal(err)
	}
	heard, err := os.ReadFile(filepath.Join(h.dir, "heard"))
	if err != nil || !bytes.Contains(heard, []byte("POSTERN_STATUS=stolen\n")) || bytes.Contains(heard, []byte("hunter2")) {
		t.Errorf("%s, %v", heard, err)
	}
}

func TestHookCommandThatHangsIsKilledWithItsChildren(t *testing.T) {
	h := shell(t, `(sleep 60; touch late) & echo $! > child; sleep 60`)
	h.Timeout = 1
	began := time.Now()
	err := h.run(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "took longer than 1 s and was killed") {
		t.Errorf("%v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	pid, err := os.ReadFile(filepath.Join(h.dir, "child"))
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
	if err == nil && !bytes.Contains(stat, []byte(") Z ")) {
		t.Errorf("the child lives on: %s", stat)
	}
}

// A program may leave a process behind; that holds up nobody.
func TestHookCommandDoesNotWaitForWhatItLeftBehind(t *testing.T) {
	h := shell(t, `setsid sleep 3 & exit 0`)
	began := time.Now()
	if err := h.run(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 2500*time.Millisecond {
		t.Errorf("it took %v", took)
	}
}

func TestHookCommandThatFloodsAndFails(t *testing.T) {
	h := shell(t, `head -c 50000000 /dev/zero | tr '\0' 'x'; echo; echo the end >&2; exit 3`)
	err := h.run(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "the end") || len(err.Error()) > 2*outputKept {
		t.Errorf("%.200v", err)
	}
}

func TestLastBytes(t *testing.T) {
	for _, writes := range [][]string{{"abcdef"}, {"ab", "cdef"}, {"a", "b", "c", "d", "e", "f"}, {"abc", "def"}, {"zzzzzzzzz", "cdef"}} {
		l := &lastBytes{keep: 4}
		for _, w := range writes {
			if n, err := l.Write([]byte(w)); n != len(w) || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
		if l.String() != "cdef" {
			t.Errorf("%q left %q", writes, l)
		}
	}
}

func TestHookConfig(t *testing.T) {
	for name, test := range map[string]struct {
		config hookConfig
		want   string
	}{
		"none":              {hookConfig{}, ""},
		"a program":         {hookConfig{Command: []string{"/bin/sh", "x"}}, ""},
		"only a timeout":    {hookConfig{Timeout: 3}, "timeout without a command"},
		"a relative path":   {hookConfig{Command: []string{"sh"}}, "absolute path"},
		"none of the name":  {hookConfig{Command: []string{"/nowhere/isolate"}}, "no such file"},
		"no time":           {hookConfig{Command: []string{"/bin/sh"}, Timeout: -1}, "want seconds above 0"},
		"not a program":     {hookConfig{Command: []string{"/etc/passwd"}}, "permission denied"},
		"a name of nothing": {hookConfig{Command: []string{""}}, "absolute path"},
	} {
		err := test.config.validate()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
