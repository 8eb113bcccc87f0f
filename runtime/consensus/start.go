package consensus

import (
	"errors"
	"time"

	"github.com/hyperledger-labs/SmartBFT/pkg/consensus"
	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"

	"github.com/seed79541315/postern/abi"
)

// start gives SmartBFT what it needs and starts it.
func (r *replica) start(log *logger) error {
	latest, sequence, err := lastDecision(r.cfg.App)
	if err != nil {
		return err
	}
	metadata, err := parseMetadata(latest.Proposal.Metadata)
	if err != nil {
		return err
	}
	r.set, r.sequence, r.decidedIn = r.cfg.App.ValidatorSet(), sequence, metadata.ViewId
	r.recovery.entries, r.recovery.inFlight = r.journal.restore(r.cfg.App.Head().Height)
	for i := range r.tickers {
		r.tickers[i] = time.NewTicker(tickPeriod(len(r.set)))
	}
	r.bft = &consensus.Consensus{
		Config:            smartConfig(r.cfg.ID),
		Application:       r,
		Assembler:         r,
		WAL:               r,
		WALInitialContent: r.recovery.entries,
		Comm:              r,
		Signer:            r,
		Verifier:          r,
		RequestInspector:  r,
		Synchronizer:      r,
		Logger:            log,
		Metadata:          r.journal.resume(metadata),
		LastProposal:      latest.Proposal,
		LastSignatures:    latest.Signatures,
		Scheduler:         r.tickers[0].C,
		ViewChangerTicker: r.ticks,
	}
	if err := guard(r.bft.Start); err != nil {
		return err
	}
	r.resend()
	return nil
}

// resend broadcasts the proposal that this node made before it crashed: on
// recovery SmartBFT broadcasts only its own prepare for it, and the others,
// who may never have seen the proposal, would wait.
func (r *replica) resend() {
	p := r.journal.last
	if r.journal.phase != phaseProposed || p.GetSeq() != r.cfg.App.Head().Height+1 || r.bft.GetLeaderID() != r.cfg.ID {
		return
	}
	m := &smartbftprotos.Message{Content: &smartbftprotos.Message_PrePrepare{PrePrepare: p}}
	for _, id := range r.Nodes() {
		if id != r.cfg.ID {
			r.SendConsensus(id, m)
		}
	}
}

// guard calls f in a goroutine, for SmartBFT ends the calling one when it
// panics.
func guard(f func() error) error {
	done := make(chan error, 1)
	go func() {
		err := errors.New("SmartBFT gave up")
		defer func() { done <- err }()
		err = f()
	}()
	return <-done
}

// smartConfig is SmartBFT's configuration. Batches are made here and not by
// it: a count of one lets the leader begin a block at the first request,
// and AssembleProposal takes everything that is in the pool.
func smartConfig(id uint64) types.Configuration {
	return types.Configuration{
		SelfID:                        id,
		RequestBatchMaxCount:          1,
		RequestBatchMaxBytes:          maxBatchBytes,
		RequestBatchMaxInterval:       time.Second, // how often an idle leader looks into an empty pool
		RequestMaxBytes:               abi.MaxTransaction + uint64(len(abi.Hash{})),
		RequestPoolSize:               2 * maxPooled,
		RequestPoolSubmitTimeout:      50 * time.Millisecond,
		RequestForwardTimeout:         300 * time.Millisecond,
		RequestComplainTimeout:        3 * time.Second,
		RequestAutoRemoveTimeout:      24 * time.Hour, // the queue decides
		IncomingMessageBufferSize:     200,
		LeaderHeartbeatTimeout:        3 * time.Second,
		LeaderHeartbeatCount:          10,
		NumOfTicksBehindBeforeSyncing: 10,
		ViewChangeResendInterval:      400 * time.Millisecond,
		ViewChangeTimeout:             time.Second,
		CollectTimeout:                300 * time.Millisecond,
	}
}

// tickPeriod is how often SmartBFT's two clocks tick. One validator has no
// leader to watch and no view to change; worse, a view change that it began
// after refusing its own proposal would never end and would stop it for good.
func tickPeriod(validators int) time.Duration {
	if validators == 1 {
		return 365 * 24 * time.Hour
	}
	return 100 * time.Millisecond
}
