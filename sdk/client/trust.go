package client

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"sync"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/sdk/key"
)

// trust is what the client knows of the chain, and how it grows.
type trust struct {
	genesis *chain.Genesis
	anchor  proof.Trusted

	mu     sync.Mutex // guards what follows
	height uint64     // newest height that was proved
	block  abi.Hash   // its header's hash; zero when only the bundle names the height
}

func newTrust(b *Bundle) (*trust, error) {
	genesis, err := chain.ParseGenesis(b.Genesis)
	if err != nil {
		return nil, fmt.Errorf("trust bundle: %w", err)
	}
	return &trust{
		genesis: genesis,
		anchor:  proof.Trusted{Chain: b.Chain(), Validators: genesis.Validators},
		height:  b.Height,
	}, nil
}

// floor is the height below which a proof is stale that is asked for now.
func (t *trust) floor() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.height
}

// header accepts the header of an entry if the validators certified it, if it
// is not below floor, and if no other header was certified for its height.
func (t *trust) header(e *proof.Entry, floor uint64) error {
	if err := e.VerifyHeader(&t.anchor); err != nil {
		return err
	}
	h := &e.Header
	if h.Height < floor {
		return fmt.Errorf("proof of height %d, but height %d was seen: %w", h.Height, floor, abi.CodeTooStale)
	}
	hash := h.Hash()
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case h.Height > t.height || h.Height == t.height && t.block == abi.Hash{}:
		t.height, t.block = h.Height, hash
	case h.Height == t.height && t.block != hash:
		return fmt.Errorf("two certified headers of height %d: %w", h.Height, abi.CodeBadProof)
	}
	return nil
}

// entry checks the whole proof of a state key.
func (t *trust) entry(e *proof.Entry, key []byte, floor uint64) (value []byte, present bool, err error) {
	if e.Header.Chain != t.anchor.Chain {
		return nil, false, fmt.Errorf("proof of chain %x: %w", e.Header.Chain[:4], abi.CodeWrongChain)
	}
	if e.Header.Height == 0 && floor == 0 {
		return nil, false, fmt.Errorf("the chain has no certified block yet: %w", abi.CodeNotReady)
	}
	if err := t.header(e, floor); err != nil {
		return nil, false, err
	}
	return e.State.Verify(e.Header.State, key)
}

// gateway checks the answer to hello: that the ledger names the key of the
// TLS connection as the current key of an account with the gateway role.
func (t *trust) gateway(hello, tlsKey []byte, floor uint64) error {
	account, e, err := parseHello(hello)
	if err != nil {
		return err
	}
	if e.Header.Height == 0 && e.Header.Chain == t.anchor.Chain && floor == 0 {
		return t.genesisGateway(account, tlsKey)
	}
	value, present, err := t.entry(&e, chain.AccountKey(account), floor)
	if err != nil {
		return err
	}
	if !present {
		return fmt.Errorf("its account %x is not on the ledger: %w", account[:4], abi.CodeUnknownAccount)
	}
	record, err := chain.ParseAccount(value)
	if err != nil {
		return err
	}
	if !bytes.Equal(record.Key, tlsKey) {
		return fmt.Errorf("its key is not the account's: %w", abi.CodeKeyNotCurrent)
	}
	return requireGateway(record.Roles)
}

// genesisGateway stands in for a proof while there is no block but the
// genesis: its state root cannot be had without executing it, but the grants
// in it are the state.
func (t *trust) genesisGateway(account abi.Hash, tlsKey []byte) error {
	for i := range t.genesis.Accounts {
		if g := &t.genesis.Accounts[i]; bytes.Equal(g.Key, tlsKey) && chain.AccountID(g.Key) == account {
			return requireGateway(g.Roles)
		}
	}
	return fmt.Errorf("the genesis does not grant its key anything: %w", abi.CodeUnknownAccount)
}

func requireGateway(roles abi.Role) error {
	if roles&abi.RoleGateway == 0 {
		return fmt.Errorf("its account is no gateway: %w", abi.CodeMissingRole)
	}
	return nil
}

func parseHello(body []byte) (account abi.Hash, e proof.Entry, err error) {
	r := cbor.NewReader(body)
	var raw []byte
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			copy(account[:], r.BytesN(len(account)))
		case 2:
			raw = r.Raw()
		default:
			r.Skip()
		}
	}
	if err := r.Done(); err != nil {
		return account, e, malformed(err)
	}
	e, err = proof.ParseEntry(raw)
	return account, e, malformed(err)
}

// serverKey is the raw key of the one certificate that the gateway sent.
func serverKey(state *tls.ConnectionState) ([]byte, error) {
	if len(state.PeerCertificates) != 1 {
		return nil, fmt.Errorf("%d certificates, want one: %w", len(state.PeerCertificates), abi.CodeNotAuthenticated)
	}
	return key.RawPublic(state.PeerCertificates[0].PublicKey)
}
