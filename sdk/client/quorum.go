package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed79541315/postern/abi"
)

// ErrDisagree is what DecideQuorum returns, wrapped, when gateways answer
// differently: one of them lies, or has not heard of a change yet.
var ErrDisagree = errors.New("the gateways disagree")

// nextGateway is how long a quorum decision waits for the gateways that were
// asked before it asks one more.
const nextGateway = time.Second

// GatewayAnswer is what one gateway said.
type GatewayAnswer struct {
	Account abi.Hash // as its hello proved
	Answer  abi.Answer
}

// DecideQuorum asks k different gateways the same, for doors that one of them
// must not open alone. It permits only if the first k that answer say the same,
// and one of them is no staler than the bound. Which gateway answers is proved:
// two addresses of one count once. There may be more clients than k; one more is
// asked for each that fails, answers as another did, or is slow.
//
// Each client leads to one gateway: its Config names an Addr. Whatever goes
// wrong, the answer is a denial, and the error says why: ErrDisagree,
// abi.CodeTooStale, or abi.CodeUnavailable when fewer than k answer. Denials that
// agree are no error. The answer's time to live is the shortest, its staleness
// the least; all are the answers that counted.
func DecideQuorum(ctx context.Context, gateways []*Client, k int, domain string, q *abi.DecisionRequest, bound time.Duration) (answer abi.Answer, all []GatewayAnswer, err error) {
	if k < 1 || len(gateways) < k {
		answer, err = denied(fmt.Errorf("%d gateways cannot be a quorum of %d: %w", len(gateways), k, abi.CodeBadArgument))
		return answer, nil, err
	}
	if all, err = firstAnswers(ctx, gateways, k, domain, q); err == nil {
		answer, err = agreed(all, bound)
	}
	if err != nil {
		answer, err = denied(err)
	}
	return answer, all, err
}

// outcome is what came of asking one gateway.
type outcome struct {
	GatewayAnswer
	err error
}

// firstAnswers collects the answers of the first k gateways that give one.
func firstAnswers(ctx context.Context, gateways []*Client, k int, domain string, q *abi.DecisionRequest) (all []GatewayAnswer, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan outcome, len(gateways))
	asked, waiting := 0, 0
	ask := func() {
		if asked == len(gateways) {
			return
		}
		c := gateways[asked]
		asked++
		waiting++
		go func() { done <- c.askOne(ctx, domain, q) }()
	}
	for range k {
		ask()
	}
	slow := time.NewTicker(nextGateway)
	defer slow.Stop()
	var failed []error
	for len(all) < k && waiting > 0 {
		select {
		case <-slow.C:
			ask()
		case o := <-done:
			waiting--
			if o.err == nil && !answered(all, o.Account) {
				all = append(all, o.GatewayAnswer)
				continue
			}
			failed = append(failed, o.err)
			ask()
		}
	}
	cancel()
	for ; waiting > 0; waiting-- {
		<-done
	}
	if len(all) < k {
		return all, errors.Join(append([]error{fmt.Errorf("%d of %d different gateways answered: %w", len(all), k, abi.CodeUnavailable)}, failed...)...)
	}
	return all, nil
}

func answered(all []GatewayAnswer, account abi.Hash) bool {
	for i := range all {
		if all[i].Account == account {
			return true
		}
	}
	return false
}

// askOne asks a client's gateway and tells which it is.
func (c *Client) askOne(ctx context.Context, domain string, q *abi.DecisionRequest) outcome {
	a, l, err := c.decide(ctx, domain, q)
	if err != nil {
		return outcome{err: err}
	}
	return outcome{GatewayAnswer: GatewayAnswer{Account: l.account, Answer: a}}
}

// agreed is the one answer of several, which may be of different heights.
func agreed(all []GatewayAnswer, bound time.Duration) (abi.Answer, error) {
	one := all[0].Answer
	for i := range all[1:] {
		a := &all[1+i].Answer
		if !sameAnswer(&one, a) {
			return abi.Answer{}, fmt.Errorf("gateways %x and %x: %w: %w", all[0].Account[:4], all[1+i].Account[:4], ErrDisagree, abi.CodeDenied)
		}
		if a.Staleness < one.Staleness {
			ttl := one.TTL
			one = *a
			one.TTL = ttl
		}
		one.TTL = min(one.TTL, a.TTL)
	}
	if one.Staleness > uint64(bound.Milliseconds()) {
		return abi.Answer{}, fmt.Errorf("the freshest of %d gateways is %d ms behind, more than %v: %w", len(all), one.Staleness, bound, abi.CodeTooStale)
	}
	return one, nil
}

// sameAnswer says whether two answers are one: the same decision, for the same
// reason, by the same code of the same contract, with the same obligations.
func sameAnswer(a, b *abi.Answer) bool {
	return a.Permit == b.Permit && a.Code == b.Code && a.Reason == b.Reason && a.ReasonID == b.ReasonID &&
		a.Contract == b.Contract && a.CodeHash == b.CodeHash && bytes.Equal(a.Obligations, b.Obligations)
}
