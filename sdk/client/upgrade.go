package client

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// Upgrade is another code for a contract of the caller's.
type Upgrade struct {
	Name    string
	Code    []byte   // Wasm; nil takes Hash
	Hash    abi.Hash // of a code that is on the ledger already, without Code
	Migrate []byte   // message for the new code's migrate
	Note    string   // why, for people
	// Progress, if not nil, is told how many bytes of the code are committed.
	Progress func(done, total int)
}

// Version is one deployment or upgrade of a contract, proved.
type Version struct {
	Number uint64 // from 1
	chain.ContractVersion
}

// BeginUpgrade uploads the code, unless the ledger has it, and commits the upgrade.
// The contract answers with its present code until the new one is activated:
// AwaitVersion waits for that. It returns the new version's number.
func (c *Client) BeginUpgrade(ctx context.Context, u Upgrade) (version uint64, err error) {
	if u.Code != nil {
		u.Hash = sha256.Sum256(u.Code)
		if err := c.upload(ctx, u.Hash, u.Code, u.Progress); err != nil {
			return 0, fmt.Errorf("uploading code %x: %w", u.Hash[:4], err)
		}
	}
	args := &chain.Upgrade{Name: u.Name, Code: u.Hash, Migrate: u.Migrate, Note: u.Note}
	done, err := c.Transact(ctx, chain.OpUpgrade, args, 0)
	if err != nil {
		return 0, fmt.Errorf("upgrading %s: %w", u.Name, err)
	}
	r := cbor.NewReader(done.Outcome.Result)
	version = r.Uint()
	return version, malformed(r.Done())
}

// Upgrade begins an upgrade and waits until it is active. It is
// abi.CodeUpgradeFailed if the code's migrate failed, with migrate's own code
// beside it: then the contract goes on as it was. ctx bounds the wait for the
// activation time.
func (c *Client) Upgrade(ctx context.Context, u Upgrade) (*Version, error) {
	number, err := c.BeginUpgrade(ctx, u)
	if err != nil {
		return nil, err
	}
	return c.AwaitVersion(ctx, u.Name, number)
}

// AwaitVersion waits until a version of a contract is pending no more. Its
// error is abi.CodeUpgradeFailed if the version failed.
func (c *Client) AwaitVersion(ctx context.Context, contract string, number uint64) (*Version, error) {
	for {
		v, err := c.Version(ctx, contract, number)
		if err != nil {
			return nil, err
		}
		switch v.Status {
		case chain.VersionFailed:
			return v, fmt.Errorf("migrate: %w: %w", abi.CodeUpgradeFailed, failedAs(v.Failure, v.FailureCode))
		case chain.VersionActive, chain.VersionSuperseded:
			return v, nil
		}
		if err := pause(ctx, activationPoll); err != nil {
			return v, fmt.Errorf("waiting until version %d of %s is active: %w", number, contract, err)
		}
	}
}

// Version reads a version of a contract, proved. It is abi.CodeNotFound if
// the contract has none of that number.
func (c *Client) Version(ctx context.Context, contract string, number uint64) (*Version, error) {
	e, err := c.Get(ctx, chain.VersionKey(contract, number))
	if err != nil {
		return nil, err
	}
	if !e.Present {
		return nil, fmt.Errorf("version %d of contract %s: %w", number, contract, abi.CodeNotFound)
	}
	record, err := chain.ParseContractVersion(e.Value)
	return &Version{number, record}, err
}

// Contract reads a contract's record, proved. It is abi.CodeUnknownContract if
// there is none of that name.
func (c *Client) Contract(ctx context.Context, name string) (chain.Contract, error) {
	e, err := c.Get(ctx, chain.ContractKey(name))
	if err != nil {
		return chain.Contract{}, err
	}
	if !e.Present {
		return chain.Contract{}, fmt.Errorf("contract %s: %w", name, abi.CodeUnknownContract)
	}
	return chain.ParseContract(e.Value)
}

// History reads a contract's newest versions, at most limit, newest first.
// Each is proved, one after another: an upgrade that is activated meanwhile
// shows in some of them.
func (c *Client) History(ctx context.Context, contract string, limit int) ([]Version, error) {
	record, err := c.Contract(ctx, contract)
	if err != nil {
		return nil, err
	}
	list := []Version{}
	for number := record.Versions; number > 0 && len(list) < limit; number-- {
		v, err := c.Version(ctx, contract, number)
		if err != nil {
			return nil, err
		}
		list = append(list, *v)
	}
	return list, nil
}
