package storage

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble"

	"github.com/seed79541315/postern/storage/tree"
)

// Errors that callers branch on.
var (
	// ErrCorrupt comes when stored bytes are not what was committed. The
	// message says what, where, and what to do.
	ErrCorrupt = errors.New("database is corrupt")
	// ErrFatal comes when a write failed: whether it is on disk is unknown
	// until the store is opened again. Everything is refused from then on.
	ErrFatal = errors.New("storage has failed")
	// ErrNotFound comes when no block has the asked height.
	ErrNotFound = errors.New("not found")
	// ErrBusy comes when too many Views of older heights are held.
	ErrBusy = errors.New("too many old views are held")
	// ErrClosed comes after Close.
	ErrClosed = errors.New("storage is closed")
)

const (
	adviceRestore = "stop the node and restore its home from a backup, or remove the database and let the node sync from its peers"
	adviceUpgrade = "use the program version that wrote it"
)

// corrupt makes an ErrCorrupt about something in the database.
func corrupt(what string, err error) error {
	return fmt.Errorf("%w: %s: %w; %s", ErrCorrupt, what, err, adviceRestore)
}

// readError tells damaged bytes from a failed read.
func readError(what string, err error) error {
	if pebble.IsCorruptionError(err) || errors.Is(err, errMalformedRecord) || errors.Is(err, tree.ErrCorrupt) {
		return corrupt(what, err)
	}
	return fmt.Errorf("reading %s: %w", what, err)
}

// errReadOnly comes from a write to a checkpoint.
var errReadOnly = errors.New("checkpoint can only be read")

// errPanicked is the error that run makes of a panic.
var errPanicked = errors.New("the database panicked")

// health holds the first fatal error of a store.
type health struct {
	once  sync.Once
	cause atomic.Pointer[error]
	done  chan struct{} // closed by the first fail

	workers workers
}

func newHealth() *health { return &health{done: make(chan struct{})} }

func (h *health) fail(err error) {
	h.once.Do(func() {
		err = fmt.Errorf("%w: %w; free the disk's space or replace it, then start the node again", ErrFatal, err)
		h.cause.Store(&err)
		close(h.done)
	})
}

// err is nil as long as nothing failed.
func (h *health) err() error {
	if e := h.cause.Load(); e != nil {
		return *e
	}
	return nil
}
