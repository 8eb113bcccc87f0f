package behaviour

import (
	"sync/atomic"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/ledger"
)

// counters are what happened since the Monitor was opened.
type counters struct {
	levels                        [abi.LevelQuarantine + 1]atomic.Uint64
	unjudged, failed              atomic.Uint64
	silences                      atomic.Uint64
	denials, denialsPassedOver    atomic.Uint64
	isolations, isolationsRefused atomic.Uint64
	submitted, lost               atomic.Uint64
}

// report counts a report by what came of it.
func (c *counters) report(judged *ledger.Judged, err error) {
	switch {
	case err != nil:
		c.failed.Add(1)
	case len(judged.Opinions) == 0:
		c.unjudged.Add(1)
	default:
		c.levels[judged.Joined.Level].Add(1)
	}
}

// AttackCount is how often a kind of attack was met.
type AttackCount struct {
	Kind  string
	Count uint64
}

// Stats are a Monitor's figures; what counts events counts since Open.
type Stats struct {
	Reports                       [abi.LevelQuarantine + 1]uint64 // by level
	Unjudged, Failed              uint64                          // reports: no contract is bound; an error
	Silences                      uint64                          // told to contracts
	Denials, DenialsPassedOver    uint64                          // judged; not judged, as there were too many
	Isolations, IsolationsRefused uint64                          // begun; not begun, as there are too many
	Submitted, Lost               uint64                          // verdicts and alerts
	Isolated, Watched             int                             // devices now
	WatchBytes                    int
	Forgotten                     uint64        // devices, for want of room
	Alarms, Waiting               int           // timers that run; verdicts and alerts in line
	EvidenceBytes                 int           // in memory
	WrittenBytes                  uint64        // to the files
	Attacks                       []AttackCount // sorted by kind
}

// Stats returns the Monitor's figures.
func (m *Monitor) Stats() Stats {
	c := &m.counts
	s := Stats{
		Unjudged: c.unjudged.Load(), Failed: c.failed.Load(), Silences: c.silences.Load(),
		Denials: c.denials.Load(), DenialsPassedOver: c.denialsPassedOver.Load(),
		Isolations: c.isolations.Load(), IsolationsRefused: c.isolationsRefused.Load(),
		Submitted: c.submitted.Load(), Lost: c.lost.Load(),
		Isolated: int(m.isolated.count.Load()), Alarms: m.alarms.len(), Waiting: m.outgoing.len(),
	}
	for level := range s.Reports {
		s.Reports[level] = c.levels[level].Load()
	}
	s.Watched, s.WatchBytes, s.Forgotten = m.watches.figures()
	s.EvidenceBytes = m.evidence.figure()
	s.WrittenBytes = m.files.figure()
	for _, kind := range m.attacks.names() {
		s.Attacks = append(s.Attacks, AttackCount{kind, m.attacks.total(kind)})
	}
	return s
}

func (t *watches) figures() (devices, bytes int, forgotten uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.table), t.bytes, t.forgotten
}

func (e *evidence) figure() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.bytes
}

func (f *files) figure() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.written
}

func (t *attacks) total(kind string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.kinds[kind].total
}
