package client

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Deployment is a contract to be made.
type Deployment struct {
	Name string
	Code []byte // Wasm
	Init []byte // message for the contract's init
	Note string // for people: a version, a commit
	// Progress, if not nil, is told how many bytes of the code are committed.
	Progress func(done, total int)
}

// activationPoll is how often a deployment asks whether its contract answers.
const activationPoll = 100 * time.Millisecond

// Deploy uploads the code, unless the ledger has it, deploys the contract and
// waits until it is active. An upload that broke off (InterruptedError) goes on
// where it stopped. It is abi.CodeContractFailed if the contract's init failed, with
// init's own code beside it (AbortOf); ctx bounds the wait for the activation time.
func (c *Client) Deploy(ctx context.Context, d Deployment) error {
	code := abi.Hash(sha256.Sum256(d.Code))
	if err := c.upload(ctx, code, d.Code, d.Progress); err != nil {
		return fmt.Errorf("uploading code %x: %w", code[:4], err)
	}
	args := &chain.Deploy{Name: d.Name, Code: code, Init: d.Init, Note: d.Note}
	done, err := c.Transact(ctx, chain.OpDeploy, args, 0)
	if err != nil {
		return fmt.Errorf("deploying %s: %w", d.Name, err)
	}
	return c.awaitActive(ctx, d.Name, code, done.Height)
}

// upload brings a code onto the ledger. progress may be nil.
func (c *Client) upload(ctx context.Context, code abi.Hash, blob []byte, progress func(done, total int)) error {
	if progress == nil {
		progress = func(int, int) {}
	}
	if _, err := c.refreshParams(ctx); err != nil && !errors.Is(err, abi.CodeNotReady) {
		return fmt.Errorf("reading the chain's parameters: %w", err)
	}
	chunks := (len(blob) + abi.MaxChunk - 1) / abi.MaxChunk
	arrived, complete, err := c.declare(ctx, code, len(blob))
	if err != nil {
		return err
	}
	for i := 0; i < chunks && !complete; i++ {
		if i/8 < len(arrived) && arrived[i/8]>>(i%8)&1 == 1 {
			continue
		}
		data := blob[i*abi.MaxChunk : min((i+1)*abi.MaxChunk, len(blob))]
		if _, err := c.Transact(ctx, chain.OpChunk, &chain.Chunk{Code: code, Index: uint64(i), Data: data}, 0); err != nil {
			err = fmt.Errorf("chunk %d of %d: %w", i+1, chunks, err)
			if ctx.Err() != nil || !refusal(CodeOf(err)) {
				err = &InterruptedError{Done: i * abi.MaxChunk, Total: len(blob), Err: err}
			}
			return err
		}
		progress(i*abi.MaxChunk+len(data), len(blob))
	}
	if complete {
		progress(len(blob), len(blob))
	}
	return nil
}

// InterruptedError says that an upload broke off, with nothing wrong with it:
// its context ended, or no gateway answered. What arrived stays on the ledger
// for a while; deploying the same code again goes on from there.
type InterruptedError struct {
	Done, Total int // bytes of the code
	Err         error
}

// Error tells how far it got.
func (e *InterruptedError) Error() string {
	return fmt.Sprintf("interrupted after %d of %d bytes; the same command goes on where it stopped: %v", e.Done, e.Total, e.Err)
}

// Unwrap returns why it broke off.
func (e *InterruptedError) Unwrap() error { return e.Err }

// declare begins the upload, or goes on with one that broke off: arrived has a
// bit for each chunk that is there, and complete says that the code is.
func (c *Client) declare(ctx context.Context, code abi.Hash, length int) (arrived []byte, complete bool, err error) {
	_, err = c.Transact(ctx, chain.OpUpload, &chain.Upload{Code: code, Length: uint64(length)}, 0)
	if errors.Is(err, abi.CodeCodeExists) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	status, err := c.Status(ctx)
	if err != nil || status.Account == nil {
		return nil, false, err
	}
	entry, err := c.Get(ctx, chain.UploadKey(*status.Account, code))
	if err != nil || !entry.Present {
		return nil, false, err
	}
	pending, err := chain.ParsePendingUpload(entry.Value)
	return pending.Arrived, false, err
}

// awaitActive waits until the contract, deployed at a height, answers.
func (c *Client) awaitActive(ctx context.Context, name string, code abi.Hash, height uint64) error {
	for {
		entry, err := c.Get(ctx, chain.ContractKey(name))
		if err != nil {
			return err
		}
		if active, err := activated(entry, code, height); active || err != nil {
			return err
		}
		if err := pause(ctx, activationPoll); err != nil {
			return fmt.Errorf("waiting until %s is active: %w", name, err)
		}
	}
}

// activated says whether a contract's record shows the deployment as active,
// or why it never will.
func activated(entry *Entry, code abi.Hash, height uint64) (bool, error) {
	if !entry.Present || entry.Height < height {
		return false, nil
	}
	record, err := chain.ParseContract(entry.Value)
	switch {
	case err != nil:
		return false, err
	case record.Code != code && record.Height > height:
		return false, fmt.Errorf("another code was deployed under the name at height %d: %w", record.Height, abi.CodeContractExists)
	case record.Code != code:
		return false, nil // the earlier deployment answers until this one does
	case record.Status == chain.ContractFailed:
		return false, fmt.Errorf("init: %w: %w", abi.CodeContractFailed, failedAs(record.Failure, record.FailureCode))
	}
	return record.Status == chain.ContractActive, nil
}
