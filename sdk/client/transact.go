package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// txWindow is how long a transaction of Transact may take to get into a
// block. Clocks may differ by the rest of abi.MaxWindow.
const txWindow = 2 * time.Minute

// commitTimeout is how long SubmitWait waits when its context has no
// deadline; the gateway's own limit is 30 s.
const commitTimeout = 35 * time.Second

// Args are the arguments of an operation, such as *chain.Call.
type Args interface{ Append(b []byte) []byte }

// Committed is a transaction that stands in a block, with its outcome.
type Committed struct {
	ID      abi.Hash
	Height  uint64
	Index   uint64 // of its outcome in the block
	Outcome chain.Outcome
}

// Submit hands in a signed transaction and does not wait for its commit. The
// result holds its id.
func (c *Client) Submit(ctx context.Context, raw []byte) (abi.TxResult, error) {
	return c.submit(ctx, raw, false)
}

func (c *Client) submit(ctx context.Context, raw []byte, wait bool) (abi.TxResult, error) {
	answer, err := c.do(ctx, abi.OpSubmit, submission(raw, wait))
	if err != nil {
		return abi.TxResult{}, err
	}
	result, err := abi.ParseTxResult(answer)
	return result, malformed(err)
}

// submission is the body of a submit.
func submission(raw []byte, wait bool) []byte {
	body := cbor.AppendBytes(cbor.AppendUint(cbor.AppendMap(nil, 2), 1), raw)
	return cbor.AppendBool(cbor.AppendUint(body, 2), wait)
}

// ErrKept says that the gateway is cut off from the validators and keeps the
// transaction, which stands in a lane, until it is not. It wraps abi.CodeTimeout:
// to hand it in again, here or elsewhere, does no harm.
var ErrKept = fmt.Errorf("the gateway keeps it for later: %w", abi.CodeTimeout)

// SubmitWait hands in a signed transaction and waits until it is committed.
// Its error is nil only if the outcome's code is abi.OK; if the transaction
// stands in a block with another, it is an *OutcomeError, and ErrKept if the gateway
// cannot bring it into one at the moment. A transaction that is committed already counts as just
// committed, so after abi.CodeTimeout or abi.CodeUnavailable a caller may ask
// again with the same bytes.
func (c *Client) SubmitWait(ctx context.Context, raw []byte) (*Committed, error) {
	tx, err := chain.ParseTx(raw)
	if err != nil {
		return nil, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, commitTimeout)
		defer cancel()
	}
	result, err := c.submit(ctx, raw, true)
	if errors.Is(err, abi.CodeReplayed) {
		result, err = c.Tx(ctx, tx.ID)
	}
	if err == nil && result.Height == 0 && tx.Sequence != 0 {
		err = ErrKept
	}
	if err != nil {
		return nil, fmt.Errorf("transaction %x: %w", tx.ID[:4], err)
	}
	if result.ID != tx.ID {
		return nil, fmt.Errorf("the gateway answered for transaction %x: %w", result.ID[:4], abi.CodeMalformed)
	}
	return c.committed(ctx, &result)
}

// committed reads the outcome, from the block if it was too large to be sent.
func (c *Client) committed(ctx context.Context, t *abi.TxResult) (*Committed, error) {
	if t.Height == 0 {
		return nil, fmt.Errorf("transaction %x is not committed yet: %w", t.ID[:4], abi.CodeTimeout)
	}
	outcome, err := c.outcome(ctx, t)
	if err != nil {
		return nil, err
	}
	if outcome.ID != t.ID {
		return nil, fmt.Errorf("the outcome is of transaction %x: %w", outcome.ID[:4], abi.CodeMalformed)
	}
	done := &Committed{ID: t.ID, Height: t.Height, Index: t.Index, Outcome: outcome}
	if outcome.Code != abi.OK {
		return done, &OutcomeError{*done}
	}
	return done, nil
}

func (c *Client) outcome(ctx context.Context, t *abi.TxResult) (chain.Outcome, error) {
	if t.Outcome != nil {
		return chain.ParseOutcome(t.Outcome)
	}
	block, err := c.Block(ctx, t.Height)
	if err != nil {
		return chain.Outcome{}, err
	}
	if t.Index >= uint64(len(block.Outcomes)) {
		return chain.Outcome{}, fmt.Errorf("block %d has no outcome %d: %w", t.Height, t.Index, abi.CodeMalformed)
	}
	return block.Outcomes[t.Index], nil
}

// OutcomeError says that a transaction was committed, but did nothing. It
// wraps the outcome's code.
type OutcomeError struct{ Committed }

func (e *OutcomeError) Error() string {
	return fmt.Sprintf("transaction %x: %v", e.ID[:4], e.Unwrap())
}

// Unwrap returns the outcome's code, as an abi.Aborted if that is a contract's own.
func (e *OutcomeError) Unwrap() error { return failedAs(e.Outcome.Code, e.Outcome.Abort) }

// Transact signs an operation with the client's key, submits it and waits for
// its commit (SubmitWait tells how it ends). A gas cap of 0 is what
// chain.Params.GasFor gives.
func (c *Client) Transact(ctx context.Context, op chain.Op, args Args, gas uint64) (*Committed, error) {
	done, err := c.transact(ctx, op, args, gas)
	if gas != 0 || !errors.Is(err, abi.CodeGasCap) {
		return done, err
	}
	if changed, perr := c.refreshParams(ctx); perr != nil || !changed {
		return done, errors.Join(err, perr)
	}
	return c.transact(ctx, op, args, gas)
}

func (c *Client) transact(ctx context.Context, op chain.Op, args Args, gas uint64) (*Committed, error) {
	raw, err := c.Sign(op, args, gas)
	if err != nil {
		return nil, err
	}
	return c.SubmitWait(ctx, raw)
}

// refreshParams reads the chain's parameters, which governance may have changed
// since its genesis or since they were last read, and says whether it has.
func (c *Client) refreshParams(ctx context.Context) (changed bool, err error) {
	p, err := c.Params(ctx)
	if err != nil {
		return false, err
	}
	old := c.params.Swap(&p)
	return old == nil && p != c.light.genesis.Params || old != nil && p != *old, nil
}

// gasFor is the gas to declare for an operation, by the newest parameters that
// are known.
func (c *Client) gasFor(op chain.Op) uint64 {
	if p := c.params.Load(); p != nil {
		return p.GasFor(op)
	}
	return c.light.genesis.Params.GasFor(op)
}

// Sign makes the transaction that Transact submits: valid for two minutes,
// and unlike any other that this client signed.
func (c *Client) Sign(op chain.Op, args Args, gas uint64) ([]byte, error) {
	if gas == 0 {
		gas = c.gasFor(op)
	}
	return chain.SignTx(&chain.Body{
		Chain: c.Chain(), ValidUntil: c.validUntil(time.Now().Add(txWindow).UnixMilli()),
		Gas: gas, Op: op, Args: args.Append(nil),
	}, c.config.Key)
}

// validUntil makes times differ: two transactions that are alike in all else
// would be one.
func (c *Client) validUntil(want int64) int64 {
	for {
		last := c.window.Load()
		next := max(want, last+1)
		if c.window.CompareAndSwap(last, next) {
			return next
		}
	}
}
