package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// lastQueueDelay is the longest pause before Run tries again.
const lastQueueDelay = 30 * time.Second

// Run sends what waits until ctx ends, and tries for as long as it takes: over
// lost connections, and from gateway to gateway. What a gateway refuses for good
// leaves the queue, and Done is told.
//
// One transaction at a time is on its way to a block, since the lane admits none
// behind a later one. A gateway that is cut off from the others keeps several, in
// order; they stay here until one is seen in a block, and go to another gateway,
// from the oldest on, when the connection changes.
func (q *Queue) Run(ctx context.Context) error {
	for delay := firstDelay; ; {
		if q.at(0) == nil {
			delay = firstDelay
			select {
			case <-q.wake:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		before := q.Len()
		err := q.round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if q.Len() < before {
			delay = firstDelay
		}
		if err == nil {
			continue
		}
		if pause(ctx, delay) != nil {
			return nil
		}
		delay = min(2*delay, lastQueueDelay)
	}
}

// round sends on one connection what it can. Its error says why it ended before
// the queue was empty.
func (q *Queue) round(ctx context.Context) error {
	l, err := q.client.connect(ctx)
	if err != nil {
		return err
	}
	if l != q.on {
		q.on, q.handed = l, 0
	}
	if err := q.collect(ctx, l); err != nil {
		return err
	}
	for {
		e := q.at(q.handed)
		if e == nil {
			break
		}
		if err := q.send(ctx, l, e); err != nil {
			return err
		}
	}
	if q.handed > 0 {
		return ErrKept
	}
	return nil
}

// collect looks which of the transactions that the gateway keeps are in a block
// by now.
func (q *Queue) collect(ctx context.Context, l *link) error {
	for q.handed > 0 {
		e := q.at(0)
		result, err := q.lookUp(ctx, l, e)
		switch {
		case errors.Is(err, abi.CodeNotFound):
			q.handed = 0 // it refused it meanwhile, or lost it: it says so when it is asked again
			return nil
		case err != nil:
			return err
		case result.Height == 0:
			return nil // more may be handed over
		}
		q.handed--
		if err := q.finish(ctx, e, &result); err != nil {
			return err
		}
	}
	return nil
}

// send hands a transaction to the gateway of a connection and waits for its block,
// or until the gateway keeps it.
func (q *Queue) send(ctx context.Context, l *link, e *queued) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	result, err := submitOn(ctx, l, e)
	if errors.Is(err, abi.CodeOutOfSequence) || errors.Is(err, abi.CodeReplayed) {
		return q.overtaken(ctx, l, e, err)
	}
	switch code := CodeOf(err); {
	case err == nil && (result.Height == 0 || q.handed > 0): // those that the gateway keeps are first
		q.handed++
		return nil
	case err == nil:
		return q.finish(ctx, e, &result)
	case errors.Is(err, errLost):
		l.suspect(err)
		return err
	case ctx.Err() != nil:
		q.client.leave(l) // it is silent
		return err
	case code.Passing() || code == abi.CodeMalformed && !fromGateway(err):
		return err
	}
	q.done(e, nil, fmt.Errorf("transaction %x: %w", e.id[:4], err))
	return nil
}

// fromGateway says whether an error is a gateway's answer, and not about it.
func fromGateway(err error) bool {
	_, bare := err.(abi.Code)
	return bare
}

// overtaken is the end of a transaction whose lane is past it. As a rule its block
// came and the answer was lost. To sign it anew would risk that it runs twice.
func (q *Queue) overtaken(ctx context.Context, l *link, e *queued, refused error) error {
	result, err := q.lookUp(ctx, l, e)
	switch {
	case errors.Is(err, abi.CodeNotFound):
		q.done(e, nil, fmt.Errorf("transaction %x is in no block, and its lane is past it: %w", e.id[:4], refused))
		return nil
	case err != nil:
		return err
	case result.Height == 0:
		return abi.CodeTimeout
	}
	return q.finish(ctx, e, &result)
}

// finish takes a committed transaction out.
func (q *Queue) finish(ctx context.Context, e *queued, result *abi.TxResult) error {
	committed, err := q.client.committed(ctx, result)
	if committed == nil {
		return err // its outcome could not be read
	}
	q.done(e, committed, err)
	return nil
}

// lookUp asks for a transaction on a connection.
func (q *Queue) lookUp(ctx context.Context, l *link, e *queued) (abi.TxResult, error) {
	return e.ask(ctx, l, abi.OpTx, cbor.AppendBytes(cbor.AppendUint(cbor.AppendMap(nil, 1), 1), e.id[:]))
}

// submitOn submits on a connection, and on no other.
func submitOn(ctx context.Context, l *link, e *queued) (abi.TxResult, error) {
	return e.ask(ctx, l, abi.OpSubmit, submission(e.raw, true))
}

// ask sends a request about the transaction on a connection.
func (e *queued) ask(ctx context.Context, l *link, op abi.Operation, body []byte) (abi.TxResult, error) {
	raw, err := l.roundTrip(ctx, op, body)
	if err != nil {
		return abi.TxResult{}, err
	}
	result, err := abi.ParseTxResult(raw)
	if err == nil && result.ID != e.id {
		err = fmt.Errorf("the gateway answered for transaction %x: %w", result.ID[:4], abi.CodeMalformed)
	}
	return result, malformed(err)
}
