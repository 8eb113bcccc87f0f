package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/schema"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/sdk/client"
)

// speaker speaks to a contract in the words of the standard one that it is made
// of.
type speaker struct {
	cl       *client.Client
	contract string
	schema   *schema.Schema
}

// fields are those of an operation, by name.
type fields map[string]any

func speakerOf(cl *client.Client, standard, contract string) (*speaker, error) {
	c, ok := contracts.Named(standard)
	if !ok || c.Schema == nil {
		return nil, fmt.Errorf("BUG: no standard contract %s", standard)
	}
	return &speaker{cl, contract, c.Schema}, nil
}

// message makes a message of an operation and its fields.
func (s *speaker) message(encode func([]byte, time.Time) ([]byte, error), op string, f fields) ([]byte, error) {
	src, err := json.Marshal(map[string]fields{op: f})
	if err != nil {
		return nil, err
	}
	b, err := encode(src, time.Now())
	if err != nil {
		return nil, usagef("%v", err)
	}
	return b, nil
}

// call runs an operation by a transaction.
func (s *speaker) call(ctx context.Context, op string, f fields) (txOutput, error) {
	m, err := s.message(s.schema.Call, op, f)
	if err != nil {
		return txOutput{}, err
	}
	res, err := transact(ctx, s.cl, chain.OpCall, &chain.Call{Contract: s.contract, Message: m})
	return res, nameRefusal(s.schema, err)
}

// ask answers a question; what comes is one node's word.
func (s *speaker) ask(ctx context.Context, op string, f fields, into any) (json.RawMessage, error) {
	m, err := s.message(s.schema.Ask, op, f)
	if err != nil {
		return nil, err
	}
	res, err := s.cl.Query(ctx, s.contract, m)
	if err != nil {
		return nil, nameRefusal(s.schema, err)
	}
	return decoded(s.schema.Query[op].Result, res.Unproven, into)
}

// proved reads an entry of the contract's state with its proof.
func (s *speaker) proved(ctx context.Context, key []byte, what, of string, into any) (uint64, error) {
	raw, height, err := getProved(ctx, s.cl, chain.StateKey(s.contract, key), what)
	if err != nil {
		return 0, err
	}
	t, err := s.schema.Type(of)
	if err != nil {
		return 0, err
	}
	_, err = decoded(t, raw, into)
	return height, err
}

func decoded(t *schema.Type, raw []byte, into any) (json.RawMessage, error) {
	text, err := t.JSON(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: what the contract holds is not of its schema: %w", abi.CodeMalformed, err)
	}
	return text, json.Unmarshal(text, into)
}
