package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/runtime/ledger"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/storage"
)

// bygone is the ledger as it was at some height: built anew beside the home's, from
// a snapshot or the genesis, by executing the blocks. Decisions are made in it as
// the gateway made them, with the clock and the staleness of then.
type bygone struct {
	source  *homeLedger
	dir     string // removed in the end
	store   *storage.Store
	runtime *wasm.Runtime
	ledger  *ledger.Ledger
	at      proof.Record // when and how stale decisions are made
}

// openBygone begins at the newest state of the home's that is not above a height.
func openBygone(ctx context.Context, source *homeLedger, height uint64) (*bygone, error) {
	p := &bygone{source: source}
	if err := p.open(ctx, height); err != nil {
		return nil, errors.Join(fmt.Errorf("building the ledger of height %d anew: %w", height, err), p.close())
	}
	return p, nil
}

func (p *bygone) open(ctx context.Context, height uint64) (err error) {
	h := p.source.home
	raw, genesis, err := h.genesis()
	if err != nil {
		return err
	}
	if p.dir, err = os.MkdirTemp(string(h), "past-"); err != nil {
		return err
	}
	data := filepath.Join(p.dir, "data")
	snapshot, err := snapshotBelow(h.path("snapshots"), height)
	if err != nil {
		return err
	}
	if snapshot != "" {
		if err := copyTree(snapshot, data); err != nil {
			return err
		}
	}
	quiet := slog.New(slog.DiscardHandler)
	if p.store, err = storage.Open(storage.Config{Dir: data, Logger: quiet}); err != nil {
		return err
	}
	if p.store.Head().Empty {
		if _, err := ledger.Init(p.store, raw); err != nil {
			return err
		}
	}
	if p.runtime, err = wasm.New(ctx, wasm.Config{Profile: genesis.Params.Profile, Logger: quiet}); err != nil {
		return err
	}
	p.ledger, err = ledger.Open(ctx, ledger.Config{
		Store: p.store, Runtime: p.runtime, Logger: quiet,
		Clock:     func() (int64, bool) { return p.at.Now, p.at.Trusted },
		Staleness: func() uint64 { return p.at.Staleness },
		Submit:    func(context.Context, []byte) error { return nil }, // it was done then
	})
	return err
}

// snapshotBelow is the newest snapshot in a folder that is not above a height,
// empty if there is none.
func snapshotBelow(dir string, height uint64) (path string, err error) {
	list, err := os.ReadDir(dir) // in ascending order of names
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	for _, entry := range list {
		at, err := strconv.ParseUint(entry.Name(), 10, 64)
		if err == nil && at <= height && storage.SnapshotPath(dir, at) == filepath.Join(dir, entry.Name()) {
			path = storage.SnapshotPath(dir, at)
		}
	}
	return path, err
}

func (p *bygone) close() error {
	var errs []error
	if p.runtime != nil {
		errs = append(errs, p.runtime.Close(context.Background()))
	}
	if p.store != nil {
		errs = append(errs, p.store.Close())
	}
	if p.dir != "" {
		errs = append(errs, os.RemoveAll(p.dir))
	}
	return errors.Join(errs...)
}

// blocksBetweenNews is after how many blocks the progress is told.
const blocksBetweenNews = 1000

// advance executes the blocks up to a height.
func (p *bygone) advance(ctx context.Context, height uint64, progress func(height uint64)) error {
	for next := p.ledger.Head().Height + 1; next <= height; next++ {
		k, certificate, err := p.source.block(ctx, next)
		if err != nil {
			if isCode(err, abi.CodeNotFound) || errors.Is(err, storage.ErrNotFound) {
				err = fmt.Errorf("%w; where blocks were pruned, take the home of a node that keeps them (keep_blocks)", err)
			}
			return fmt.Errorf("block %d: %w", next, err)
		}
		if err := p.ledger.Commit(ctx, k, certificate); err != nil {
			return err
		}
		if next%blocksBetweenNews == 0 || next == height {
			progress(next)
		}
	}
	return nil
}

// again makes the decision of a record again; the ledger is at its height.
func (p *bygone) again(ctx context.Context, r *proof.Record) (*proof.Record, error) {
	if h := p.ledger.Head().Height; h != r.Height {
		return nil, fmt.Errorf("the ledger is at height %d, the decision was made at %d: %w", h, r.Height, abi.CodeBadArgument)
	}
	p.at = *r
	a := p.ledger.Decide(ctx, abi.Caller{Account: r.Caller}, r.Domain, r.Request)
	return answered(r, &a), nil
}

// answered is a record as it would have been with another answer.
func answered(r *proof.Record, a *abi.Answer) *proof.Record {
	again := *r
	again.Contract, again.CodeHash, again.Permit, again.Code = a.Contract, a.CodeHash, a.Permit, a.Code
	again.Reason, again.ReasonID, again.TTL, again.Obligations = a.Reason, a.ReasonID, a.TTL, ledger.HashObligations(a.Obligations)
	return &again
}

// ofTheMoment says whether a denial came from how busy or well the gateway was,
// so that nothing can be concluded from making the decision again.
func ofTheMoment(c abi.Code) bool {
	switch c {
	case abi.CodeBusy, abi.CodeTimeout, abi.CodeInternal, abi.CodeUnavailable, abi.CodeShuttingDown, abi.CodeLogUnavailable:
		return true
	}
	return false
}
