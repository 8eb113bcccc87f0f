package client

import (
	"bytes"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
)

// gateway checks the answer to hello: that the ledger names the key of the
// TLS connection as the current key of an account with the gateway role.
func (l *LightClient) gateway(hello *abi.Hello, tlsKey []byte, floor uint64) error {
	account := hello.Account
	raw, err := proof.ParseEntry(hello.Entry)
	if err != nil {
		return malformed(err)
	}
	if raw.Header.Height == 0 && raw.Header.Chain == l.chain && floor == 0 {
		return l.genesisGateway(account, tlsKey)
	}
	e, err := l.entry(hello.Entry, &raw, chain.AccountKey(account), floor)
	if err != nil {
		return err
	}
	if !e.Present {
		return fmt.Errorf("its account %x is not on the ledger: %w", account[:4], abi.CodeUnknownAccount)
	}
	record, err := chain.ParseAccount(e.Value)
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
func (l *LightClient) genesisGateway(account abi.Hash, tlsKey []byte) error {
	for i := range l.genesis.Accounts {
		if g := &l.genesis.Accounts[i]; bytes.Equal(g.Key, tlsKey) && chain.AccountID(g.Key) == account {
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
