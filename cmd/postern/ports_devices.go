package main

import (
	"context"
	"sync"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Standing is what the ledger says of a key, and whether this gateway isolates
// the device.
func (s service) Standing(public []byte) (abi.Standing, error) {
	standing, err := s.n.ledger.Standing(public)
	if err != nil || standing.Device == 0 {
		return standing, err
	}
	if until, reason, ok := s.n.behaviour.Isolated(standing.Account); ok {
		standing.Isolated = until.UnixMilli()
		if standing.Reason == "" {
			standing.Reason = reason
		}
	}
	return standing, nil
}

// Decide asks the ledger. What a device is denied may tell of how it behaves.
func (s service) Decide(ctx context.Context, caller abi.Caller, domain string, request []byte) abi.Answer {
	answer := s.n.ledger.Decide(ctx, caller, domain, request)
	if !answer.Permit && caller.Key != nil {
		s.denied(caller.Key, domain, answer.Code, request)
	}
	return answer
}

// denied tells the device's contracts of a denial that is the device's own
// doing. What the node could not do at the time says nothing of the device.
func (s service) denied(key []byte, domain string, code abi.Code, request []byte) {
	if code >= abi.CodeBusy && code <= abi.CodeLogUnavailable {
		return
	}
	standing, err := s.n.ledger.Standing(key)
	if err != nil || standing.Device == 0 {
		return
	}
	q, err := abi.ParseDecisionRequest(request)
	if err != nil {
		return
	}
	s.n.behaviour.Denied(standing.Account, domain, code, q.Action.Name, q.Resource.ID)
}

func (s service) Device(id abi.Hash) (chain.Device, error) { return s.n.ledger.Device(id) }

func (s service) ChainID() abi.Hash { return s.n.ledger.ChainID() }

func (s service) Height() uint64 { return s.n.ledger.Head().Height }

func (s service) Committed() <-chan struct{} { return s.n.ledger.Committed() }

func (s service) Events(after uint64, filter *abi.EventFilter) ([]abi.EventFrame, uint64, error) {
	return s.n.ledger.Events(after, filter)
}

// Report has a device judged. Where the device has signed what condemns it, the
// validators are asked to judge that, too. What a stolen device tells is kept for
// its owner, however it is judged.
func (s service) Report(ctx context.Context, o *abi.Observation, statement []byte) (abi.Judgement, error) {
	s.n.sealReport(o)
	j, err := s.n.behaviour.Report(ctx, o.Device, o)
	if err == nil && statement != nil && j.Level >= abi.LevelSuspectedStolen {
		s.n.bringEvidence(ctx, o.Device, statement)
	}
	return j, err
}

// evidenceEvery is how often at most a device's signed reports go to the
// validators: each costs them a contract's run.
const evidenceEvery = time.Minute

// maxEvidenceTimes is of how many devices the node remembers when that was last.
const maxEvidenceTimes = 1024

// evidenceTimes says when devices' signed reports last went to the validators.
type evidenceTimes struct {
	mu   sync.Mutex
	last map[abi.Hash]time.Time // guarded by mu
}

func newEvidenceTimes() *evidenceTimes { return &evidenceTimes{last: map[abi.Hash]time.Time{}} }

// due says whether a device's turn has come, and counts it as taken. With too
// many devices at once nobody's has.
func (t *evidenceTimes) due(device abi.Hash, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.last[device]) < evidenceEvery {
		return false
	}
	if len(t.last) >= maxEvidenceTimes {
		for id, at := range t.last {
			if now.Sub(at) >= evidenceEvery {
				delete(t.last, id)
			}
		}
		if len(t.last) >= maxEvidenceTimes {
			return false
		}
	}
	t.last[device] = now
	return true
}

// bringEvidence brings a device's signed report before the validators, for each
// contract that is bound to it, unless it is out of the network already.
func (n *node) bringEvidence(ctx context.Context, device abi.Hash, statement []byte) {
	d, err := n.ledger.Device(device)
	if err != nil || d.Status != abi.StatusActive && d.Status != abi.StatusSuspended || !n.evidence.due(device, time.Now()) {
		return
	}
	if err := n.isGateway("evidence of devices"); err != nil {
		n.log.Debug("a device's signed report was not brought before the validators", "device", device, "err", err)
		return
	}
	ctx = context.WithoutCancel(ctx) // the judgement ends the connection that the report came by
	for _, contract := range d.Contracts {
		args := chain.Evidence{Device: device, Contract: contract, Statement: statement}
		if _, err := n.verdicts.Put(ctx, chain.OpEvidence, args.Append(nil)); err != nil {
			n.log.Warn("a device's signed report was not brought before the validators", "device", device, "contract", contract, "err", err)
		}
	}
}
