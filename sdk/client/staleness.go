package client

import (
	"context"
	"fmt"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// staleFor is how long no gateway is asked again after all were found stale.
const staleFor = time.Second

var errAllStale = fmt.Errorf("all gateways were found stale a moment ago: %w", abi.CodeTooStale)

// fresh says whether the connection may be used: whether its gateway is known
// not to be stale, by an answer of not long ago or because it says so when
// asked. One that is stale is left.
func (c *Client) fresh(ctx context.Context, l *link) bool {
	limit := c.config.MaxStaleness
	if limit <= 0 || time.Since(time.UnixMilli(l.checked.Load())) < limit/2 {
		return true
	}
	if err := c.checkStaleness(ctx, l); err != nil {
		l.left.Store(true)
		l.broken.Store(true) // also where there is no other: it is asked again on connecting
		return false
	}
	return true
}

// checkStaleness asks a gateway how stale it is.
func (c *Client) checkStaleness(ctx context.Context, l *link) error {
	raw, err := l.roundTrip(ctx, abi.OpStatus, cbor.AppendMap(nil, 0))
	if err != nil {
		return err
	}
	s, err := abi.ParseNodeStatus(raw)
	if err != nil {
		return malformed(err)
	}
	return c.allow(l, s.Staleness)
}

// allow takes in a staleness in ms that a gateway tells of itself.
func (c *Client) allow(l *link, staleness uint64) error {
	limit := c.config.MaxStaleness
	if limit <= 0 {
		return nil
	}
	if staleness > uint64(limit.Milliseconds()) {
		return fmt.Errorf("the gateway is %d ms behind, more than %v: %w", staleness, limit, abi.CodeTooStale)
	}
	l.checked.Store(time.Now().UnixMilli())
	return nil
}
