package client_test

import (
	"context"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// What a test does not set is not there.

func (l *ledger) Device(abi.Hash) (chain.Device, error) { return chain.Device{}, abi.CodeUnknownDevice }

func (l *ledger) Report(context.Context, *abi.Observation, []byte) (abi.Judgement, error) {
	return abi.Judgement{}, abi.CodeNotFound
}

func (l *ledger) Receipt(context.Context, abi.Standing, uint64, bool) ([]byte, error) {
	return nil, abi.CodeNotFound
}

func (l *ledger) Events(after uint64, _ *abi.EventFilter) ([]abi.EventFrame, uint64, error) {
	return nil, max(after, l.Status().Height), nil
}

func (l *ledger) Committed() <-chan struct{} { return nil }
