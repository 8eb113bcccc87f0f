package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed79541315/postern/abi"
)

// Bounds of the hook on devices' statuses.
const (
	// maxHookWaiting is how many devices may wait to be told of by name. Beyond
	// it all devices are looked at again, which needs no list.
	maxHookWaiting = 4096
	// The time before a command that failed is tried again for the device, which
	// doubles from the first to the last.
	firstHookRetry = time.Second
	lastHookRetry  = 5 * time.Minute
	// hookRescan is how long the hook waits before it looks at all devices again
	// where the ledger could not say.
	hookRescan = 10 * time.Second
)

// deviceState is what the hook tells of a device: what the device may do, by the
// ledger or, where this gateway alone isolates it, by the gateway.
type deviceState struct {
	status string // a status's name, or stateIsolated; "" of a device that there is not
	reason string
}

const stateIsolated = "isolated"

// works says whether the device may do its work, so that a firewall which was told
// nothing of it does right.
func (s deviceState) works() bool { return s.status == "" || s.status == abi.StatusActive.String() }

// hookSource is where the hook learns how devices are.
type hookSource interface {
	// state is how a device is now, and what the command's environment says of it.
	state(device abi.Hash) (deviceState, []string, error)
	// barred hands every device that may not work to each.
	barred(each func(device abi.Hash)) error
}

// hook runs a command for each device whose status changed, one at a time, so
// that something outside, such as a firewall, follows the ledger. It goes by how a
// device is and not by how it became so: of several changes the command may see
// the last alone, and after a restart it is told of all that may not work, and of
// those that may again.
type hook struct {
	source hookSource
	run    func(ctx context.Context, environment []string) error
	file   string // names the devices of which the command was told that they may not work
	log    *slog.Logger
	wake   chan struct{} // capacity 1

	mu      sync.Mutex
	order   []abi.Hash            // guarded by mu: devices to look at
	waiting map[abi.Hash]struct{} // guarded by mu: those in order
	all     bool                  // guarded by mu: look at all devices

	// Owned by Run.
	told    map[abi.Hash]deviceState // devices that do not work, as the command was told; in the file
	retries map[abi.Hash]hookRetry
	again   time.Time // when to look at all devices again; zero: not of its own accord

	runs, failed atomic.Uint64
}

// hookRetry is when a device's turn comes again.
type hookRetry struct {
	at    time.Time
	pause time.Duration
}

func newHook(source hookSource, run func(context.Context, []string) error, file string, log *slog.Logger) *hook {
	return &hook{source: source, run: run, file: file, log: log, wake: make(chan struct{}, 1),
		waiting: map[abi.Hash]struct{}{}, told: map[abi.Hash]deviceState{}, retries: map[abi.Hash]hookRetry{}, all: true}
}

// changed has the hook look at a device. It never waits.
func (h *hook) changed(device abi.Hash) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.waiting[device]; !known && !h.all {
		if len(h.order) >= maxHookWaiting {
			h.all = true
		} else {
			h.waiting[device] = struct{}{}
			h.order = append(h.order, device)
		}
	}
	h.poke()
}

// changedAll has it look at all devices.
func (h *hook) changedAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = true
	h.poke()
}

func (h *hook) poke() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Run tells the command of devices until ctx ends.
func (h *hook) Run(ctx context.Context) error {
	if err := h.load(); err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		h.rescan()
		for device, ok := h.next(); ok && ctx.Err() == nil; device, ok = h.next() {
			h.tell(ctx, device)
		}
		timer.Reset(h.untilRetry())
		select {
		case <-h.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// rescan puts all devices in line that may not work, or of which the command was
// told that they may not.
func (h *hook) rescan() {
	h.mu.Lock()
	all := h.all || !h.again.IsZero() && !h.again.After(time.Now())
	h.all = false
	h.mu.Unlock()
	if !all {
		return
	}
	h.again = time.Time{}
	for device := range h.told {
		h.line(device)
	}
	if err := h.source.barred(h.line); err != nil {
		h.log.Warn("the hook does not know how all devices are, and looks again", "err", err)
		h.again = time.Now().Add(hookRescan)
	}
}

// line puts a device in line, however long that is: it is called by Run alone, of
// devices that the ledger names.
func (h *hook) line(device abi.Hash) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.waiting[device]; !known {
		h.waiting[device] = struct{}{}
		h.order = append(h.order, device)
	}
}

// next takes the first device in line whose turn it is.
func (h *hook) next() (abi.Hash, bool) {
	now := time.Now()
	for device, r := range h.retries {
		if !r.at.After(now) {
			h.line(device)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.order) == 0 {
		h.order = nil
		return abi.Hash{}, false
	}
	device := h.order[0]
	h.order = h.order[1:]
	delete(h.waiting, device)
	return device, true
}

// untilRetry is how long it is until the first retry, or until all devices are
// looked at again.
func (h *hook) untilRetry() time.Duration {
	next := lastHookRetry
	if !h.again.IsZero() {
		next = time.Until(h.again)
	}
	for _, r := range h.retries {
		next = min(next, time.Until(r.at))
	}
	return max(0, next)
}

// tell runs the command for a device, unless it knows already how the device is.
func (h *hook) tell(ctx context.Context, device abi.Hash) {
	state, environment, err := h.source.state(device)
	if err == nil && (state.status == "" || state.same(h.told[device])) {
		delete(h.retries, device)
		return
	}
	if err == nil && !state.works() {
		err = h.note(device) // first: what was told and is not known any more would never be taken back
	}
	if err == nil {
		h.runs.Add(1)
		err = h.run(ctx, environment)
	}
	if err != nil {
		h.retry(ctx, device, err)
		return
	}
	delete(h.retries, device)
	if !state.works() {
		h.told[device] = state
		return
	}
	delete(h.told, device)
	if err := h.save(); err != nil { // then it is told once more after a restart
		h.log.Error("the hook cannot note what it told", "err", err)
	}
}

// same says whether two states are the same to the command: that it was told
// nothing of a device means that the device works.
func (s deviceState) same(told deviceState) bool { return s == told || s.works() && told.works() }

func (h *hook) retry(ctx context.Context, device abi.Hash, err error) {
	if ctx.Err() != nil {
		return // the node stops, and looks at all devices when it starts
	}
	h.failed.Add(1)
	pause := min(max(firstHookRetry, 2*h.retries[device].pause), lastHookRetry)
	h.retries[device] = hookRetry{time.Now().Add(pause), pause}
	h.log.Error("the hook failed for a device and is tried again", "device", device, "in", pause, "err", err)
}

// note has the file name the device. How the command knows it is open until the
// command has succeeded.
func (h *hook) note(device abi.Hash) error {
	if _, noted := h.told[device]; noted {
		return nil
	}
	h.told[device] = deviceState{status: stateUnsure}
	if err := h.save(); err != nil {
		delete(h.told, device)
		return err
	}
	return nil
}

// stateUnsure stands for what the command may or may not have heard.
const stateUnsure = "?"

// save writes the file, a device id in hex a line, whole or not at all.
func (h *hook) save() error {
	var text bytes.Buffer
	for _, device := range slices.SortedFunc(maps.Keys(h.told), func(a, b abi.Hash) int { return bytes.Compare(a[:], b[:]) }) {
		fmt.Fprintf(&text, "%x\n", device)
	}
	next := h.file + ".tmp"
	if err := writeSynced(next, text.Bytes()); err != nil {
		return err
	}
	return os.Rename(next, h.file)
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// load reads which devices the command was told of before the node last ended.
// What it remembers of them is not known: firewalls forget when they restart.
func (h *hook) load() error {
	text, err := os.ReadFile(h.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range bytes.Lines(text) {
		id, err := hex.DecodeString(string(bytes.TrimSpace(line)))
		if err != nil || len(id) != len(abi.Hash{}) {
			h.log.Warn("a line of the hook's file names no device and is passed over", "file", h.file)
			continue
		}
		h.told[abi.Hash(id)] = deviceState{status: stateUnsure}
	}
	return nil
}
