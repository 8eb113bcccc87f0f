package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// assembly carries changes of a simulated chain through while everything
// fails: the operator proposes, and whoever votes at the time approves.
type assembly struct {
	crowd *crowd
	rng   *rand.Rand
	keys  []*key.Key // of all nodes, of now and to come
}

// change is something that an assembly decides.
type change struct {
	kind chain.ProposalKind
	args interface{ Append([]byte) []byte }
}

// assembly reads the nodes' keys and makes the next key of one of them.
func (c *crowd) assembly(rotating *simulatedNode) *assembly {
	a := &assembly{crowd: c, rng: rand.New(rand.NewPCG(c.sim.rng.Uint64(), 0))}
	for _, n := range c.sim.nodes {
		a.keys = append(a.keys, n.loadKey(nodeKeyFile))
	}
	next := c.sim.makeKey()
	c.sim.check(next.Save(rotating.home.path(nextKeyFile)))
	a.keys = append(a.keys, next)
	return a
}

func (n *simulatedNode) loadKey(file string) *key.Key {
	n.sim.t.Helper()
	k, err := key.Load(n.home.path(file))
	n.sim.check(err)
	return k
}

// consents is a key's word that it will vote as that of an account.
func (n *simulatedNode) consents(file string) []byte {
	n.sim.t.Helper()
	account := chain.AccountID(n.loadKey(nodeKeyFile).Public())
	raw, err := client.Consent(chain.ChainID(n.sim.genesis), chain.StatementValidator, account, n.loadKey(file), time.Hour)
	n.sim.check(err)
	return raw
}

// carry decides one change after another.
func (a *assembly) carry(ctx context.Context, changes []change) error {
	for _, c := range changes {
		if err := a.decide(ctx, c); err != nil {
			return fmt.Errorf("%v: %w", c.kind, err)
		}
	}
	return nil
}

func (a *assembly) decide(ctx context.Context, c change) error {
	args := chain.Propose{Kind: c.kind, Args: c.args.Append(nil), Reason: "simulated"}
	result, err := a.transact(ctx, a.crowd.sim.operator, chain.OpPropose, args.Append(nil))
	if err != nil {
		return err
	}
	r := cbor.NewReader(result)
	vote := chain.Vote{Proposal: r.Uint()}
	if err := r.Done(); err != nil {
		return err
	}
	for ctx.Err() == nil {
		for _, k := range a.voters() {
			// Whether it counts shows below: the key may be none any more.
			_, _ = a.transact(ctx, k, chain.OpApprove, vote.Append(nil))
		}
		if p, err := proposalOn(a.furthest(), vote.Proposal); err == nil && p.Status.Final() {
			if p.Status != chain.ProposalExecuted {
				err = fmt.Errorf("proposal %d is %v: %v", vote.Proposal, p.Status, p.Code)
			}
			return err
		}
		wait(ctx, 200*time.Millisecond) // the node may be closing, or not be level
	}
	return ctx.Err()
}

// voters are the keys of the present set, in some order.
func (a *assembly) voters() (list []*key.Key) {
	set := a.furthest().ledger.ValidatorSet()
	for _, i := range a.rng.Perm(len(a.keys)) {
		if _, votes := set.ID(a.keys[i].Public()); votes {
			list = append(list, a.keys[i])
		}
	}
	return list
}

// furthest is the running node that has most blocks.
func (a *assembly) furthest() (best *node) {
	for best == nil {
		for _, n := range a.crowd.sim.nodes {
			if running := n.live(); running != nil && (best == nil || running.ledger.Head().Height > best.ledger.Head().Height) {
				best = running
			}
		}
		if best == nil {
			wait(context.Background(), time.Second)
		}
	}
	return best
}

func proposalOn(n *node, number uint64) (chain.Proposal, error) {
	v, err := n.store.HeadView()
	if err != nil {
		return chain.Proposal{}, err
	}
	defer v.Release()
	raw, ok, err := v.Get(chain.ProposalKey(number))
	if err == nil && !ok {
		err = abi.CodeUnknownProposal
	}
	if err != nil {
		return chain.Proposal{}, err
	}
	return chain.ParseProposal(raw)
}

// transact brings a transaction into a block, by any node and however long it
// takes, and returns its result or the code that it ended with. It gives up
// when a node does not know the key.
func (a *assembly) transact(ctx context.Context, by *key.Key, op chain.Op, args []byte) ([]byte, error) {
	s := a.crowd.sim
	body := chain.Body{Chain: chain.ChainID(s.genesis), ValidUntil: time.Now().Add(9 * time.Minute).UnixMilli(), Gas: 1_000_000, Op: op, Args: args}
	raw, err := chain.SignTx(&body, by)
	if err != nil {
		return nil, err
	}
	tx, err := chain.ParseTx(raw)
	if err != nil {
		return nil, err
	}
	for ctx.Err() == nil {
		n := s.nodes[a.rng.IntN(len(s.nodes))]
		res, err := a.crowd.submit(ctx, n, raw)
		if errors.Is(err, abi.CodeReplayed) {
			res, err = a.furthest().ledger.Tx(tx.ID)
		}
		if err == nil {
			return resultOf(res.Outcome)
		}
		if isCode(err, abi.CodeUnknownKey) || isCode(err, abi.CodeKeyNotCurrent) {
			return nil, err
		}
		wait(ctx, 200*time.Millisecond)
	}
	return nil, ctx.Err()
}

func resultOf(outcome []byte) ([]byte, error) {
	o, err := chain.ParseOutcome(outcome)
	if err == nil && o.Code != abi.OK {
		err = o.Code
	}
	return o.Result, err
}

// TestRotatedWhileDown: a validator gets its next key while it is down. The
// others know its former key no more, and it learns from them all the same
// what it is called now.
func TestRotatedWhileDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSimulation(t, *simSeed, 4, 0)
		s.startAll()
		c := s.crowd(1, time.Second)
		rotated := s.nodes[1]
		members := c.assembly(rotated)
		next := rotated.loadKey(nextKeyFile).Public()
		rotation := []change{{chain.ProposeRotateValidator, &chain.ReplaceValidator{ID: 2, Statement: rotated.consents(nextKeyFile)}}}
		rotated.end()
		s.check(members.carry(t.Context(), rotation))
		rotated.begin()
		for end := time.Now().Add(time.Minute); string(rotated.node.key.Public()) != string(next); elapse(time.Second) {
			if s.reopen(); time.Now().After(end) {
				t.Fatal("the node does not find its new key")
			}
		}
		<-rotated.node.role.ready
		c.stop()
		s.await(s.nodes[0].node.ledger.Head().Height, time.Minute)
		c.settle()
		s.nodes[0].end()
		rotated.mustCommit(1, time.Minute) // its vote is needed
	})
}
