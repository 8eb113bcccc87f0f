// Package scratch is a chain that lives in memory for as long as it is
// needed: one ledger with its contract host, people who are their names, and
// blocks made on demand. Contracts are tried on it as they will run on a real
// chain: it is the same ledger, host, gas and quotas, without consensus,
// network and disk.
//
// Scripts tell what is to be tried: a [Script] is parsed, a [Player] plays it on a
// [World], which is a chain in memory ([Trial]) or nodes that run. The player
// knows the language and the contracts' schemas, the world only does what it is
// told and says what came.
//
// A caller opens a Chain, makes accounts, deploys, calls, and closes it. A
// Chain is used by one goroutine at a time. Everything is a function of what
// was asked: the clock stands still but for Advance, and keys are made of names.
package scratch

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/ledger"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/storage"
)

// Operator is the name of the account that exists from the start and makes
// the others.
const Operator = "operator"

// gateway signs the transactions that decisions ask for.
const gateway = "gateway"

// DefaultStart is the time of the genesis unless a Config says otherwise:
// Monday, 5 January 2026, 08:00 UTC, in ms since 1970.
const DefaultStart = 1_767_600_000_000

// Config says how a Chain works. The zero value is useful.
type Config struct {
	Engine  wasm.Engine
	Profile abi.Profile // abi.ProfileLean if zero
	Start   int64       // time of the genesis in ms; 0 means DefaultStart
	// Protocol is the protocol version of the chain; 0 means chain.Protocol.
	Protocol uint64
	// Trace sees every call of a contract, see wasm.Config.
	Trace func(*wasm.Call, *wasm.Result, error)
	// Logger gets contracts' log lines at debug level; nil discards them.
	Logger *slog.Logger
}

// Chain is a chain in memory.
type Chain struct {
	store   *storage.Store
	runtime *wasm.Runtime
	ledger  *ledger.Ledger
	params  chain.Params
	now     int64
	lanes   map[string]uint64 // last sequence by name
	pending [][]byte          // calls that decisions asked for, encoded chain.Call
}

// Open makes a chain.
func Open(ctx context.Context, cfg Config) (*Chain, error) {
	if cfg.Profile == 0 {
		cfg.Profile = abi.ProfileLean
	}
	if cfg.Start == 0 {
		cfg.Start = DefaultStart
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Chain{now: cfg.Start, params: chain.ParamsOf(cfg.Profile), lanes: make(map[string]uint64)}
	if err := c.open(ctx, &cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("opening a scratch chain: %w", err), c.Close())
	}
	return c, nil
}

func (c *Chain) open(ctx context.Context, cfg *Config) (err error) {
	c.params.GasQuota = 1 << 60 // so that a benchmark is not cut off
	c.params.Protocol = cmp.Or(cfg.Protocol, c.params.Protocol)
	if c.store, err = storage.Open(storage.Config{Dir: "scratch", Memory: true, Logger: cfg.Logger}); err != nil {
		return err
	}
	if _, err = ledger.Init(c.store, c.genesis()); err != nil {
		return err
	}
	c.runtime, err = wasm.New(ctx, wasm.Config{
		Engine: cfg.Engine, Profile: cfg.Profile, Trace: cfg.Trace, Logger: cfg.Logger,
	})
	if err != nil {
		return err
	}
	c.ledger, err = ledger.Open(ctx, ledger.Config{
		Store: c.store, Runtime: c.runtime, Logger: cfg.Logger,
		Clock:  func() (int64, bool) { return c.now, true },
		Submit: func(_ context.Context, call []byte) error { c.pending = append(c.pending, call); return nil },
	})
	return err
}

func (c *Chain) genesis() []byte {
	validator := keyOf("validator")
	g := chain.Genesis{
		Name: "scratch", Time: c.now, Params: c.params,
		Validators: chain.ValidatorSet{{ID: 1, Key: validator.Public()}},
		Accounts: []chain.Grant{
			{Key: keyOf(Operator).Public(), Roles: abi.RoleOperator | abi.RoleDeveloper | abi.RoleOwner},
			{Key: keyOf(gateway).Public(), Roles: abi.RoleGateway},
			{Key: validator.Public(), Roles: abi.RoleValidator},
		},
	}
	return g.Append(nil)
}

// Close frees everything.
func (c *Chain) Close() error {
	var errs []error
	if c.runtime != nil {
		errs = append(errs, c.runtime.Close(context.Background()))
	}
	if c.store != nil {
		errs = append(errs, c.store.Close())
	}
	return errors.Join(errs...)
}

// signer signs as the person of a name.
type signer struct{ ed25519.PrivateKey }

func (s signer) Public() []byte { return s.PrivateKey.Public().(ed25519.PublicKey) }

func (s signer) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.PrivateKey, msg), nil }

func keyOf(name string) signer {
	seed := sha256.Sum256([]byte("postern scratch " + name))
	return signer{ed25519.NewKeyFromSeed(seed[:])}
}

// ID is the account id of a name.
func ID(name string) abi.Hash { return chain.AccountID(keyOf(name).Public()) }

func codeHash(code []byte) abi.Hash { return sha256.Sum256(code) }

// Now is the chain's clock in ms since 1970.
func (c *Chain) Now() int64 { return c.now }

// Height is the height of the newest block.
func (c *Chain) Height() uint64 { return c.ledger.Head().Height }

// Grant makes an account, or sets its roles.
func (c *Chain) Grant(ctx context.Context, who string, roles abi.Role) error {
	return c.must(ctx, Operator, chain.OpGrant, &chain.Grant{Key: keyOf(who).Public(), Roles: roles})
}

// Enrol enrols a device of an owner's.
func (c *Chain) Enrol(ctx context.Context, device, owner string, labels chain.Labels) error {
	body := chain.Enrolment{Owner: ID(owner), Manufacturer: "scratch", Model: "device", Serial: device}
	s, err := chain.SignStatement(&chain.Statement{
		Chain: c.ledger.ChainID(), Kind: chain.StatementEnrol, Expiry: c.now + time.Hour.Milliseconds(), Body: body.Append(nil),
	}, keyOf(device))
	if err != nil {
		return err
	}
	return c.must(ctx, owner, chain.OpEnrol, &chain.Enrol{Statement: s, Labels: labels})
}

// Deploy uploads a code and makes a contract of it under a name, which is a
// policy domain as well. The outcome is that of init.
func (c *Chain) Deploy(ctx context.Context, by, name string, code, init []byte) (chain.Outcome, error) {
	hash, err := c.upload(ctx, by, code)
	if err != nil {
		return chain.Outcome{}, err
	}
	out, err := c.activated(ctx, by, chain.OpDeploy, &chain.Deploy{Name: name, Code: hash, Init: init})
	if err != nil || out.Code != abi.OK {
		return out, err
	}
	return out, c.must(ctx, by, chain.OpBind, &chain.Bind{Domain: name, Contract: name})
}

// Upgrade uploads a code and puts it in the place of a contract's. The
// outcome is that of migrate.
func (c *Chain) Upgrade(ctx context.Context, by, name string, code, migrate []byte) (chain.Outcome, error) {
	hash, err := c.upload(ctx, by, code)
	if err != nil {
		return chain.Outcome{}, err
	}
	return c.activated(ctx, by, chain.OpUpgrade, &chain.Upgrade{Name: name, Code: hash, Migrate: migrate})
}

// upload brings a code onto the ledger, unless it is there.
func (c *Chain) upload(ctx context.Context, by string, code []byte) (abi.Hash, error) {
	hash := codeHash(code)
	out, err := c.transact(ctx, by, chain.OpUpload, &chain.Upload{Code: hash, Length: uint64(len(code))})
	if err != nil || out.Code == abi.CodeCodeExists {
		return hash, err
	}
	if out.Code != abi.OK {
		return hash, out.Code
	}
	for i := 0; i*abi.MaxChunk < len(code); i++ {
		part := code[i*abi.MaxChunk : min(len(code), (i+1)*abi.MaxChunk)]
		if err := c.must(ctx, by, chain.OpChunk, &chain.Chunk{Code: hash, Index: uint64(i), Data: part}); err != nil {
			return hash, err
		}
	}
	return hash, nil
}

// activated runs a deployment or an upgrade and then the timer that it set,
// whose outcome is the contract's own.
func (c *Chain) activated(ctx context.Context, by string, op chain.Op, a Args) (chain.Outcome, error) {
	out, err := c.transact(ctx, by, op, a)
	if err != nil || out.Code != abi.OK {
		return out, err
	}
	outcomes, err := c.Advance(ctx, time.Duration(c.params.ActivationDelay+1)*time.Millisecond)
	if err != nil || len(outcomes) == 0 {
		return out, errors.Join(err, errorUnless(len(outcomes) > 0, "the activation did not run"))
	}
	return outcomes[len(outcomes)-1], nil
}

// Call runs a contract's execute by a transaction.
func (c *Chain) Call(ctx context.Context, by, contract string, msg []byte) (chain.Outcome, error) {
	return c.transact(ctx, by, chain.OpCall, &chain.Call{Contract: contract, Message: msg})
}

// Query asks a contract's query. What the contract answers with an error
// carries an abi.Code.
func (c *Chain) Query(ctx context.Context, contract string, msg []byte) ([]byte, error) {
	out, _, err := c.ledger.Query(ctx, contract, msg)
	return out, err
}

// Decide asks a contract for a decision as an account or device, and submits
// what the contract wants submitted. The request is an encoded
// abi.DecisionRequest.
func (c *Chain) Decide(ctx context.Context, who, contract string, request []byte) (abi.Answer, error) {
	a := c.ledger.Decide(ctx, abi.Caller{Key: keyOf(who).Public()}, contract, request)
	for len(c.pending) > 0 {
		args := c.pending[0]
		c.pending = c.pending[1:]
		if _, err := c.sign(ctx, gateway, chain.OpCall, args); err != nil {
			return a, err
		}
	}
	return a, nil
}

// Advance moves the clock and runs the timers that are due by then, which may
// set others. The outcomes are the timers', in order.
func (c *Chain) Advance(ctx context.Context, d time.Duration) (outcomes []chain.Outcome, err error) {
	until := c.now + d.Milliseconds()
	for {
		due, ok := c.ledger.NextTimer()
		if !ok || due > until {
			break
		}
		c.now = max(c.now, due)
		list, err := c.block(ctx, chain.AppendTick(nil, due))
		if err != nil {
			return outcomes, err
		}
		outcomes = append(outcomes, list[:len(list)-1]...) // the tick's own comes last
	}
	c.now = max(c.now, until)
	return outcomes, nil
}

// Get reads an entry of a contract's state.
func (c *Chain) Get(contract string, key []byte) (value []byte, ok bool, err error) {
	return c.entry(chain.StateKey(contract, key))
}

// entry reads an entry of the whole state.
func (c *Chain) entry(key []byte) (value []byte, ok bool, err error) {
	pairs, _, _, err := c.ledger.Scan(key, nil, 1)
	if err != nil || len(pairs) == 0 || string(pairs[0][0]) != string(key) {
		return nil, false, err
	}
	return pairs[0][1], true, nil
}

// must is transact for what a caller expects to succeed.
func (c *Chain) must(ctx context.Context, by string, op chain.Op, a Args) error {
	out, err := c.transact(ctx, by, op, a)
	if err == nil && out.Code != abi.OK {
		err = out.Code
	}
	return err
}

// transact runs a transaction in a block of its own.
func (c *Chain) transact(ctx context.Context, by string, op chain.Op, a Args) (chain.Outcome, error) {
	return c.sign(ctx, by, op, a.Append(nil))
}

func (c *Chain) sign(ctx context.Context, by string, op chain.Op, args []byte) (chain.Outcome, error) {
	raw, err := chain.SignTx(&chain.Body{
		Chain: c.ledger.ChainID(), Sequence: c.lanes[by] + 1, Gas: c.params.TxGas, Op: op, Args: args,
	}, keyOf(by))
	if err != nil {
		return chain.Outcome{}, err
	}
	list, err := c.block(ctx, raw)
	if err != nil {
		return chain.Outcome{}, err
	}
	out := list[len(list)-1]
	if out.Code != abi.CodeUnknownAccount {
		c.lanes[by]++
	}
	return out, nil
}

// block commits a block of one transaction and gives its outcomes, timers'
// first. An error is a fault of the chain itself.
func (c *Chain) block(ctx context.Context, raw []byte) ([]chain.Outcome, error) {
	k, err := c.ledger.Propose(ctx, c.now, [][]byte{raw})
	if err != nil {
		return nil, err
	}
	if err := c.ledger.Commit(ctx, k, nil); err != nil {
		return nil, err
	}
	c.now = max(c.now, k.Header.Time)
	return c.outcomes(k.Header.Height)
}

func (c *Chain) outcomes(height uint64) ([]chain.Outcome, error) {
	_, _, raw, err := c.ledger.Block(height)
	if err != nil {
		return nil, err
	}
	encoded, err := chain.ParseOutcomes(raw)
	if err != nil {
		return nil, err
	}
	list := make([]chain.Outcome, len(encoded))
	for i, b := range encoded {
		if list[i], err = chain.ParseOutcome(b); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func errorUnless(ok bool, text string) error {
	if ok {
		return nil
	}
	return errors.New(text)
}
