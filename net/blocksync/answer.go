package blocksync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed79541315/postern/net/peer"
)

// errStalled ends a request whose peer sends nothing.
var errStalled = errors.New("the peer sends nothing")

// answer is the answer to one request, as it comes. A frame that does not come
// within the patience ends it.
type answer struct {
	ctx      context.Context
	stop     context.CancelCauseFunc
	stream   peer.Stream
	timer    *time.Timer
	patience time.Duration
}

// ask sends a request. The caller closes the answer.
func (s *Syncer) ask(ctx context.Context, to peer.Key, q *request, patience time.Duration) (*answer, error) {
	return ask(ctx, s.cfg.Peers, to, q, patience)
}

func ask(ctx context.Context, peers Peers, to peer.Key, q *request, patience time.Duration) (*answer, error) {
	a := &answer{patience: patience}
	a.ctx, a.stop = context.WithCancelCause(ctx)
	a.timer = time.AfterFunc(patience, func() { a.stop(errStalled) })
	var err error
	if a.stream, err = peers.Open(a.ctx, to, appendRequest(nil, q)); err != nil {
		err = a.cause(err)
		a.timer.Stop()
		a.stop(nil)
		return nil, fmt.Errorf("asking: %w", err)
	}
	context.AfterFunc(a.ctx, func() { _ = a.stream.Close() }) // wakes Receive; nothing is left to send
	return a, nil
}

// next is the next frame, or io.EOF after the last.
func (a *answer) next() ([]byte, error) {
	a.timer.Reset(a.patience)
	frame, err := a.stream.Receive()
	a.timer.Stop()
	if err != nil {
		return nil, a.cause(err)
	}
	return frame, nil
}

// cause is why the answer ended, where this side ended it.
func (a *answer) cause(err error) error {
	if a.ctx.Err() != nil {
		return context.Cause(a.ctx)
	}
	return err
}

// close gives up what has not come yet.
func (a *answer) close() {
	a.timer.Stop()
	a.stop(nil)
}
