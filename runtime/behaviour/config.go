package behaviour

import (
	"context"
	"errors"
	"log/slog"
	"runtime"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/ledger"
)

// Default budgets, for a gateway of 64 MiB.
const (
	DefaultWatchBytes    = 4 << 20
	DefaultEvidenceBytes = 1 << 20
)

// Config is what a Monitor works with. Ledger, Submit, Clock and Logger are
// required.
type Config struct {
	Ledger Ledger
	// Submit makes a durable transaction of this gateway's account out of the
	// encoded arguments of an operation. It may be called again for one that it
	// refused.
	Submit func(ctx context.Context, op chain.Op, args []byte) error
	// Clock is this node's clock in ms since 1970 and whether it is known to be
	// right: observations are stamped with it. Waiting goes by the monotonic
	// clock, so a jump of this one ends no isolation.
	Clock func() (ms int64, trusted bool)
	// Changed, where it is set, is called after the isolation of a device began
	// or ended. It must not block.
	Changed func(device abi.Hash)
	// Dir holds the files with local records and evidence; it is made. "" keeps
	// both in memory only.
	Dir string
	// WatchBytes bounds the memory of watched devices, their local records
	// included; 0 means DefaultWatchBytes. Who was quiet longest is forgotten
	// first.
	WatchBytes int
	// EvidenceBytes bounds the evidence in memory; on disk there are at most
	// eight times as many. 0 means DefaultEvidenceBytes.
	EvidenceBytes int
	// Parallel is how many observations are judged at a time, 0 means one less
	// than there are processors, and one at least: the contract host's slots are
	// the decisions' too, and a report may cost ten times what a decision may.
	Parallel int
	Logger   *slog.Logger
}

// Ledger asks the contracts that are bound to a device; *ledger.Ledger is one.
type Ledger interface {
	Observe(ctx context.Context, w *ledger.Watch) (ledger.Judged, error)
}

func (c *Config) validate() error {
	if c.Ledger == nil || c.Submit == nil || c.Clock == nil || c.Logger == nil {
		return errors.New("behaviour: Ledger, Submit, Clock and Logger are required")
	}
	if c.Changed == nil {
		c.Changed = func(abi.Hash) {}
	}
	if c.WatchBytes <= 0 {
		c.WatchBytes = DefaultWatchBytes
	}
	if c.EvidenceBytes <= 0 {
		c.EvidenceBytes = DefaultEvidenceBytes
	}
	if c.Parallel <= 0 {
		c.Parallel = max(1, runtime.GOMAXPROCS(0)-1)
	}
	return nil
}
