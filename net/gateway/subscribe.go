package gateway

import (
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// subscription is what a stream follows after its last request.
type subscription struct {
	request uint64 // id that all frames bear
	filter  abi.EventFilter
	after   uint64 // everything up to this height was sent
	live    bool   // waits for each new block, rather than reads old ones
	close   func() // gives its slots back
}

// subscribe makes the request the last of its stream: loop goes on with follow.
func (st *stream) subscribe(body []byte, _ abi.Standing) ([]byte, abi.Code) {
	s, err := abi.ParseSubscription(body)
	if err != nil {
		return nil, codeOf(err)
	}
	own, all := st.conn.account.subscriptions, st.conn.server.subscriptions
	if !own.try() {
		return nil, abi.CodeBusy
	}
	if !all.try() {
		own.release()
		return nil, abi.CodeBusy
	}
	sub := &subscription{filter: s.Filter, close: func() { all.release(); own.release() }}
	if s.After != nil {
		sub.after = *s.After
	} else {
		sub.after = st.conn.server.config.Node.Status().Height
	}
	st.following = sub
	st.body = cbor.AppendUint(cbor.AppendUint(cbor.AppendMap(st.body[:0], 1), 1), sub.after)
	return st.body, abi.OK
}

// follow sends events until the client or the server ends it. What the client
// still sends is not read. Between blocks the stream holds no buffers.
func (st *stream) follow(sub *subscription) error {
	defer sub.close()
	if err := st.flush(); err != nil { // the answer; a large slot goes back with it
		return err
	}
	beat := time.NewTimer(abi.EventHeartbeat * time.Millisecond)
	defer beat.Stop()
	for {
		committed := st.conn.server.config.Node.Committed()
		before := sub.after
		if code := st.sendEvents(sub); code != abi.OK {
			return st.unsubscribe(sub, code)
		}
		if err := st.flush(); err != nil {
			return err
		}
		if sub.after != before {
			continue // there may be more
		}
		st.shrink()
		select {
		case <-committed:
		case <-beat.C:
			st.buffers = bufferPool.Get().(*buffers)
			st.sendFrame(sub, &abi.EventFrame{Height: sub.after})
			beat.Reset(abi.EventHeartbeat * time.Millisecond)
		case <-st.quic.Context().Done():
			return refusal(abi.OK) // the client reads no more
		case <-st.conn.run.Done():
			return st.unsubscribe(sub, abi.CodeShuttingDown)
		}
	}
}

// sendEvents sends the events of the next blocks, as many as are read in one
// step, with a mark behind them. Each block takes a token: reading history is
// no way around the bucket.
func (st *stream) sendEvents(sub *subscription) abi.Code {
	standing, err := st.conn.server.config.Node.Standing(st.conn.account.key)
	if err != nil {
		return codeOf(err)
	}
	if code := permitted(abi.OpSubscribe, standing); code != abi.OK {
		return code
	}
	before := sub.after
	if code := st.sendNext(sub); code != abi.OK {
		return code
	}
	if !st.conn.account.wait(st.conn.ctx, int(sub.after-before)) {
		return abi.CodeUnavailable
	}
	return abi.OK
}

// sendNext sends the events of one step.
func (st *stream) sendNext(sub *subscription) abi.Code {
	if !sub.live {
		if !st.holdHistory() {
			return abi.CodeUnavailable
		}
		defer st.releaseHistory()
	}
	events, upTo, err := st.conn.server.config.Node.Events(sub.after, &sub.filter)
	if err != nil {
		return st.failed("subscribe", err)
	}
	if st.buffers == nil {
		st.buffers = bufferPool.Get().(*buffers)
	}
	for i := range events {
		if !st.sendFrame(sub, &events[i]) {
			return abi.CodeUnavailable
		}
	}
	if len(events) > 0 {
		st.sendFrame(sub, &abi.EventFrame{Height: upTo})
	}
	sub.live = upTo <= sub.after+1
	sub.after = upTo
	return abi.OK
}

// holdHistory waits for a large slot, since what is read may be several blocks'
// events: those of the newest are shared by all who follow, those of older ones
// are the reader's own. It is false if the connection ends first.
func (st *stream) holdHistory() bool {
	if !st.conn.account.large.acquire(st.conn.ctx) {
		return false
	}
	if !st.conn.server.large.acquire(st.conn.ctx) {
		st.conn.account.large.release()
		return false
	}
	return true
}

func (st *stream) releaseHistory() {
	st.conn.server.large.release()
	st.conn.account.large.release()
}

// sendFrame appends an event or a mark to the answers and writes them when they
// are many. It is false once the client takes nothing in any more.
func (st *stream) sendFrame(sub *subscription, e *abi.EventFrame) bool {
	st.body = abi.AppendEventFrame(st.body[:0], e)
	st.respond(&abi.Response{ID: sub.request, Body: st.body})
	return len(st.out) < flushAt || st.flush() == nil
}

// unsubscribe ends a subscription with a last frame that says why.
func (st *stream) unsubscribe(sub *subscription, code abi.Code) error {
	if st.buffers == nil {
		st.buffers = bufferPool.Get().(*buffers)
	}
	st.respond(&abi.Response{ID: sub.request, Code: code})
	return refusal(code)
}
