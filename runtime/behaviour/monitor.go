package behaviour

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/ledger"
)

// Monitor watches the devices of one gateway. All methods may be used at the
// same time.
type Monitor struct {
	cfg      Config
	start    time.Time
	turns    turns
	slots    chan struct{} // each observation that is being judged holds one
	watches  watches
	isolated isolations
	alarms   alarms
	denials  chan denial
	attacks  attacks
	outgoing outgoing
	evidence evidence
	files    files
	counts   counters
}

// moment is a time of the monotonic clock, since the Monitor was opened.
type moment = time.Duration

func (m *Monitor) now() moment { return time.Since(m.start) }

// Open makes a Monitor and reads what an earlier one kept. Damaged files cost
// what was in them, and a warning; ones that cannot be read are an error.
func Open(cfg Config) (*Monitor, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	m := &Monitor{cfg: cfg, start: time.Now(), slots: make(chan struct{}, cfg.Parallel), denials: make(chan denial, maxDenials)}
	m.turns.init()
	m.watches.init(cfg.WatchBytes, &m.alarms)
	m.isolated.init(&m.alarms)
	m.alarms.init()
	m.attacks.init()
	m.outgoing.init()
	m.evidence.init(cfg.EvidenceBytes)
	if err := m.openFiles(); err != nil {
		return nil, fmt.Errorf("opening the gateway's records of behaviour in %s: %w", cfg.Dir, err)
	}
	return m, nil
}

// Run hands on verdicts and alerts, watches for silence, and keeps the files,
// until ctx ends; it has written the files when it returns. None of what it
// meets ends the node: a gateway whose disk is full still has to judge.
func (m *Monitor) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	for _, part := range []func(context.Context){m.watchAlarms, m.judgeDenials, m.deliver, m.sumAttacks, m.keepFiles} {
		parts.Go(func() { part(ctx) })
	}
	parts.Wait()
	m.flush(true)
	return nil
}

// Report has a device's contracts judge what it, its owner or a network monitor
// reported of it. Only Kind and Payload of o count: the device is the one
// given, the time this gateway's. Errors have a code: CodeBadArgument and
// CodeMalformed for an observation that cannot be one, CodeTooLarge, CodeBusy
// where too many of the device's wait, CodeUnknownDevice, CodeTimeout,
// CodeInternal. Where no contract is bound to the device the judgement is fine,
// and its reason id is abi.CodeNotBound's name.
func (m *Monitor) Report(ctx context.Context, device abi.Hash, o *abi.Observation) (abi.Judgement, error) {
	if !o.Kind.Reported() {
		return abi.Judgement{}, abi.CodeBadArgument
	}
	s := m.sight(device, o.Kind, o.Payload)
	if _, err := abi.ParseObservation(s.encoded); err != nil {
		return abi.Judgement{}, err
	}
	judged, err := m.judge(ctx, &s, "")
	m.counts.report(&judged, err)
	return judged.Joined, err
}

// sight is an observation on its way to a device's contracts.
type sight struct {
	abi.Observation
	encoded []byte
}

// sight stamps an observation.
func (m *Monitor) sight(device abi.Hash, kind abi.ObservationKind, payload []byte) sight {
	ms, _ := m.cfg.Clock()
	s := sight{Observation: abi.Observation{Kind: kind, Device: device, Time: ms, Payload: payload}}
	s.encoded = abi.AppendObservation(make([]byte, 0, len(payload)+64), &s.Observation)
	return s
}

// judge asks the contracts, or only one, and does what follows from their
// answers. A device's observations are judged one after the other: each finds
// the local record that the one before left.
func (m *Monitor) judge(ctx context.Context, s *sight, only string) (ledger.Judged, error) {
	if err := m.turns.take(ctx, s.Device); err != nil {
		return ledger.Judged{}, err
	}
	defer m.turns.give(s.Device)
	select {
	case m.slots <- struct{}{}:
	case <-ctx.Done():
		return ledger.Judged{}, abi.CodeTimeout
	}
	defer func() { <-m.slots }()
	judged, err := m.cfg.Ledger.Observe(ctx, &ledger.Watch{
		Observation: &s.Observation, Encoded: s.encoded, Only: only,
		Local: func(contract string) ([]byte, bool) { return m.watches.local(s.Device, contract) },
	})
	told := m.watches.settle(s, &judged, m.now(), only == "" && err == nil)
	m.act(s, &judged, told)
	return judged, err
}

// act isolates the device and tells the ledger, where the opinions are such;
// those at told are due to be told.
func (m *Monitor) act(s *sight, judged *ledger.Judged, told []int) {
	for i := range judged.Opinions {
		if o := &judged.Opinions[i]; o.Judgement.Level >= abi.LevelSuspectedStolen {
			m.isolate(s.Device, o)
		}
	}
	if len(told) == 0 {
		return
	}
	hash := m.evidence.add(s.encoded)
	for _, i := range told {
		o := &judged.Opinions[i]
		v := chain.Verdict{
			Device: s.Device, Contract: o.Contract, Level: o.Judgement.Level, Score: o.Judgement.Score,
			ReasonID: o.Judgement.ReasonID, Evidence: hash,
		}
		m.send(message{op: chain.OpVerdict, args: v.Append(nil), grave: v.Level > abi.LevelAlert, since: m.now()})
	}
}
