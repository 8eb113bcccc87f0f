package client

import (
	"context"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Decide asks a policy domain for a decision; an empty domain is the default
// one. Whatever goes wrong, the answer is a denial: Permit is false and Code
// says why, as the error does. A denial by policy is no error.
func (c *Client) Decide(ctx context.Context, domain string, q *abi.DecisionRequest) (abi.Answer, error) {
	answer, _, err := c.decide(ctx, domain, q)
	return answer, err
}

// decide is Decide that also tells which connection the answer came on; nil when
// there is none.
func (c *Client) decide(ctx context.Context, domain string, q *abi.DecisionRequest) (answer abi.Answer, from *link, err error) {
	body := cbor.AppendText(cbor.AppendUint(cbor.AppendMap(nil, 2), 1), domain)
	body = abi.AppendDecisionRequest(cbor.AppendUint(body, 2), q)
	err = c.ask(ctx, abi.OpDecide, body, func(_ context.Context, l *link, raw []byte) (err error) {
		from = l
		if answer, err = abi.ParseAnswer(raw); err != nil {
			return malformed(err)
		}
		return c.allow(l, answer.Staleness)
	})
	if err != nil {
		answer, err = denied(err)
		return answer, nil, err
	}
	return answer, from, nil
}

// denied is the answer when there is none.
func denied(err error) (abi.Answer, error) { return abi.Answer{Code: CodeOf(err)}, err }

// DecideBatch asks for up to abi.MaxBatch decisions at once. It returns one
// answer for each request; where the semantics stopped early, those that were
// not reached have no answer and the list is shorter.
func (c *Client) DecideBatch(ctx context.Context, domain string, list []abi.DecisionRequest, s abi.Semantics) ([]abi.Answer, error) {
	body := cbor.AppendText(cbor.AppendUint(cbor.AppendMap(nil, 3), 1), domain)
	body = cbor.AppendArray(cbor.AppendUint(body, 2), len(list))
	for i := range list {
		body = abi.AppendDecisionRequest(body, &list[i])
	}
	body = cbor.AppendUint(cbor.AppendUint(body, 3), uint64(s))
	var answers []abi.Answer
	err := c.ask(ctx, abi.OpBatch, body, func(_ context.Context, l *link, raw []byte) (err error) {
		if answers, err = abi.ParseAnswers(raw); err != nil {
			return malformed(err)
		}
		if n := len(answers); n > len(list) || n < len(list) && s == abi.ExecuteAll {
			return fmt.Errorf("%d answers to %d requests: %w", n, len(list), abi.CodeMalformed)
		}
		for i := range answers {
			if err := c.allow(l, answers[i].Staleness); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return answers, nil
}
