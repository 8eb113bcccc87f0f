package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/certificate"
	"github.com/seed79541315/postern/abi/chain"
)

// PeerConfig is what PeerTLS goes by; the zero value is good.
type PeerConfig struct {
	// MaxStaleness is how old the gateway's proof may be that it is not cut off,
	// when a peer is looked up. 30 s; negative: any.
	MaxStaleness time.Duration
	// Remember is for how long a peer that was found active is admitted again
	// without asking. 10 s; negative: not at all.
	Remember time.Duration
	// Owner admits devices of this owner alone, where it is not zero.
	Owner abi.Hash
	// Protocols are for ALPN; empty: none.
	Protocols []string
}

// maxPeers is how many peers are remembered.
const maxPeers = 256

// PeerTLS is a configuration for TLS between two devices, good for both sides.
// Each shows its key, and admits the other only if the ledger proves that the key
// is the current one of an enrolled device whose status is active. The look-up
// goes over this client, takes as long as its Timeout at most, and fails closed:
// without a gateway no new peer is admitted.
//
// The handshake alone is guarded. Who keeps a connection for long asks PeerActive
// now and then, or follows the peer's status with Subscribe.
func (c *Client) PeerTLS(p PeerConfig) (*tls.Config, error) {
	own, err := c.config.Key.Certificate()
	if err != nil {
		return nil, err
	}
	admit := newPeers(c, p)
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             p.Protocols,
		Certificates:           []tls.Certificate{own},
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
		InsecureSkipVerify:     true, // the name in it means nothing; the ledger says whose the key is
		VerifyConnection: func(state tls.ConnectionState) error {
			public, err := certificate.Key(&state)
			if err != nil {
				return err
			}
			return admit.check(context.Background(), public)
		},
	}, nil
}

// PeerActive says, by proof, whether a key is the current one of an active
// device; nil is yes. It is what PeerTLS asks, without its memory.
func (c *Client) PeerActive(ctx context.Context, public []byte, p PeerConfig) error {
	return newPeers(c, p).look(ctx, public)
}

// peers are those that a PeerTLS admits.
type peers struct {
	client *Client
	config PeerConfig

	mu    sync.Mutex
	known map[string]time.Time // when a key was found active; guarded by mu
}

func newPeers(c *Client, p PeerConfig) *peers {
	if p.MaxStaleness == 0 {
		p.MaxStaleness = 30 * time.Second
	}
	if p.Remember == 0 {
		p.Remember = 10 * time.Second
	}
	return &peers{client: c, config: p, known: map[string]time.Time{}}
}

func (p *peers) check(ctx context.Context, public []byte) error {
	asked := time.Now()
	if p.remembered(public, asked) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.client.config.Timeout)
	defer cancel()
	if err := p.look(ctx, public); err != nil {
		return err
	}
	p.remember(public, asked)
	return nil
}

func (p *peers) remembered(public []byte, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.known[string(public)]
	return ok && now.Sub(at) < p.config.Remember
}

// remember keeps a key, and forgets all when there are too many: the ledger
// knows better.
func (p *peers) remember(public []byte, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.known) >= maxPeers {
		clear(p.known)
	}
	p.known[string(public)] = at
}

// look has the ledger prove that a key is an active device's.
func (p *peers) look(ctx context.Context, public []byte) error {
	id, err := p.account(ctx, public)
	if err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	raw, err := p.entry(ctx, chain.DeviceKey(id), abi.CodeUnknownDevice)
	if err != nil {
		return fmt.Errorf("peer %x: %w", id[:4], err)
	}
	d, err := chain.ParseDevice(raw)
	switch {
	case err != nil:
		return fmt.Errorf("peer %x: %w", id[:4], err)
	case d.Status != abi.StatusActive:
		return fmt.Errorf("peer %x: %w", id[:4], &InactiveError{Status: d.Status, Reason: printable(d.Reason)})
	case p.config.Owner != abi.Hash{} && d.Owner != p.config.Owner:
		return fmt.Errorf("peer %x has another owner: %w", id[:4], abi.CodeNotPermitted)
	}
	return nil
}

// account finds whose current key this is. The record of the account has to name
// it too: between two proofs it may have been replaced.
func (p *peers) account(ctx context.Context, public []byte) (id abi.Hash, err error) {
	raw, err := p.entry(ctx, chain.KeyIndexKey(public), abi.CodeUnknownKey)
	if err != nil {
		return id, err
	}
	if copy(id[:], raw) != len(raw) || len(raw) != len(id) {
		return id, fmt.Errorf("the entry of a key has %d bytes: %w", len(raw), abi.CodeMalformed)
	}
	if raw, err = p.entry(ctx, chain.AccountKey(id), abi.CodeUnknownAccount); err != nil {
		return id, err
	}
	a, err := chain.ParseAccount(raw)
	if err == nil && !bytes.Equal(a.Key, public) {
		err = abi.CodeKeyNotCurrent
	}
	return id, err
}

// entry is an entry of the state that has to be there, proved, by a gateway that
// is fresh enough.
func (p *peers) entry(ctx context.Context, key []byte, missing abi.Code) ([]byte, error) {
	if limit := p.config.MaxStaleness; limit > 0 {
		s, err := p.client.Status(ctx)
		if err != nil {
			return nil, err
		}
		if s.Staleness > uint64(limit.Milliseconds()) {
			return nil, fmt.Errorf("the gateway is %d ms behind, more than %v: %w", s.Staleness, limit, abi.CodeTooStale)
		}
	}
	e, err := p.client.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	if !e.Present {
		return nil, missing
	}
	return e.Value, nil
}
