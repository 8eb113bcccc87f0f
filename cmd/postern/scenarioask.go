package main

import (
	"context"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/scratch"
	"github.com/seed79541315/postern/sdk/client"
)

func (w *nodeWorld) Query(ctx context.Context, name string, message []byte) (*scratch.Came, error) {
	cl, err := w.abreast(ctx, scratch.Operator)
	if err != nil {
		return nil, err
	}
	res, err := cl.Query(ctx, w.Unique(name), message)
	got, err := cameBy(err)
	if got != nil {
		got.Result = res.Unproven
	}
	return got, err
}

func (w *nodeWorld) Decide(ctx context.Context, who, name string, q *abi.DecisionRequest) (*scratch.Came, error) {
	cl, err := w.abreast(ctx, who)
	var a abi.Answer
	if err == nil {
		a, err = cl.Decide(ctx, w.Unique(name), q)
	}
	if err != nil && a.Code == abi.OK {
		got, err := cameBy(err)
		if got != nil {
			got.Verdict = "deny"
		}
		return got, err
	}
	return scratch.CameOf(&a), nil
}

func (w *nodeWorld) Report(ctx context.Context, s *scratch.Sight) (*scratch.Came, error) {
	cl, err := w.abreast(ctx, s.By)
	if err != nil {
		return cameBy(err)
	}
	r, err := w.told(cl, s)
	if err != nil {
		return nil, err
	}
	j, err := cl.Report(ctx, r)
	if isCode(err, abi.CodeDeviceInactive) { // its isolation overtook the answer
		if s.Signed {
			return &scratch.Came{}, nil
		}
		j, err = cl.Report(ctx, r)
		if status, lost := cl.Status(ctx); isCode(err, abi.CodeDeviceInactive) && lost == nil && status.Device == abi.StatusQuarantined {
			return &scratch.Came{Level: abi.LevelQuarantine.String()}, nil // its quarantine did
		}
	}
	got, err := cameBy(err)
	if got != nil && got.Code == abi.OK && !s.Signed {
		got.Level, got.Reason, got.ReasonID = j.Level.String(), j.Reason, j.ReasonID
	}
	return got, err
}

// told is a report as the client sends it.
func (w *nodeWorld) told(cl *client.Client, s *scratch.Sight) (*abi.Report, error) {
	if s.Signed {
		return cl.SignReport(s.Kind, s.Payload)
	}
	r := &abi.Report{Kind: s.Kind, Payload: s.Payload}
	if s.By == s.Device {
		return r, nil
	}
	k, err := w.key(s.Device)
	if err == nil {
		id := k.AccountID()
		r.Device = &id
	}
	return r, err
}

// What a step waits for that another node, or a device's gateway, brings about.
const (
	awaitTimeout = 10 * time.Second
	pollEvery    = 20 * time.Millisecond
)

// Await reads entries with their proofs.
func (w *nodeWorld) Await(ctx context.Context, key []byte, right func([]byte, bool) bool) ([]byte, bool, error) {
	cl, err := w.abreast(ctx, scratch.Operator)
	if err != nil {
		return nil, false, err
	}
	for began := time.Now(); ; {
		e, err := cl.Get(ctx, key)
		if err != nil {
			return nil, false, err
		}
		if right(e.Value, e.Present) || time.Since(began) > awaitTimeout {
			w.height = max(w.height, e.Height)
			return e.Value, e.Present, nil
		}
		if err := pauseFor(ctx, pollEvery); err != nil {
			return nil, false, err
		}
	}
}

func (w *nodeWorld) Wait(ctx context.Context, ms int64) (*scratch.Came, error) {
	cl, err := w.abreast(ctx, scratch.Operator)
	if err != nil {
		return nil, err
	}
	return w.since(ctx, cl, func() error { return pauseFor(ctx, time.Duration(ms)*time.Millisecond) })
}
