package ledger

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm"
)

// maxFailures bounds the failures of contracts that are kept for the log of
// one block. Later ones are counted only.
const maxFailures = 256

// failures are the failures of contracts in a block under execution, for this
// node's log. Nothing of them reaches outcomes. They are told when the block
// is committed: of several speculative executions only one is.
type failures struct {
	list []failure
	more int // beyond maxFailures
}

// failure is why a contract failed.
type failure struct {
	contract, parent string // parent is "" at the top level
	entry            abi.Entry
	tx               *abi.Hash
	err              error
	abort            uint16 // the contract's own code, with abi.CodeAborted
}

func (fs *failures) add(f failure) {
	if len(fs.list) == maxFailures {
		fs.more++
		return
	}
	fs.list = append(fs.list, f)
}

// tell writes the failures of the block of a height to the log.
func (fs *failures) tell(log *slog.Logger, height uint64) {
	for i := range fs.list {
		fs.list[i].tell(log, slog.Uint64("block", height))
	}
	if fs.more > 0 {
		log.Debug("contracts failed more often", "times", fs.more, "block", height)
	}
}

// failed notes that a call of an entry point failed: for the log of the block
// that is under execution, or for the log at once where there is none.
func (e *env) failed(entry abi.Entry, abort uint16, err error) {
	log := e.ledger.cfg.Logger
	if !log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	f := failure{e.contract, e.input.ParentContract, entry, e.input.Transaction, err, abort}
	if x := e.block(); x != nil {
		x.failures.add(f)
		return
	}
	f.tell(log)
}

// block is the execution that a call is part of, nil for queries and
// decisions. A query within a transaction may change nothing, but is part.
func (e *env) block() *execution {
	for ; e != nil; e = e.around {
		if e.run != nil {
			return e.run.x
		}
	}
	return nil
}

func (f *failure) tell(log *slog.Logger, more ...slog.Attr) {
	attrs := append(make([]slog.Attr, 0, 8), slog.String("name", f.contract), slog.String("entry", f.entry.String()))
	var code abi.Code
	if errors.As(f.err, &code) {
		attrs = append(attrs, slog.String("code", code.Name()))
	} else {
		attrs = append(attrs, slog.Any("err", f.err))
	}
	if code == abi.CodeAborted {
		attrs = append(attrs, slog.Uint64("own", uint64(f.abort)))
	}
	var trap *wasm.Trap
	if errors.As(f.err, &trap) {
		attrs = append(attrs, slog.String("function", strings.Trim(trap.Func, `"`)), slog.String("text", trap.Text))
	}
	if f.parent != "" {
		attrs = append(attrs, slog.String("called_by", f.parent))
	}
	if f.tx != nil {
		attrs = append(attrs, slog.String("transaction", hex.EncodeToString(f.tx[:])))
	}
	log.LogAttrs(context.Background(), slog.LevelDebug, "contract failed", append(attrs, more...)...)
}
