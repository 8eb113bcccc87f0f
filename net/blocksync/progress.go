package blocksync

import (
	"context"
	"sync"
	"time"
)

// worthALine is how many blocks of catching up are worth a line in the log.
const worthALine = 16

// reportEvery is between two lines about catching up.
const reportEvery = 10 * time.Second

// Progress is how far a Syncer is.
type Progress struct {
	Height  uint64  // of the ledger
	Target  uint64  // the highest that a peer in use has told; a hint
	Rate    float64 // blocks a second that were fetched and committed, over the last seconds
	CatchUp bool    // blocks are fetched in bulk
	Live    bool    // blocks stream in as they are committed
	Pruned  bool    // no peer in reach keeps the blocks that are needed next
	Peers   int     // that take part
	Waiting int     // bytes of blocks that wait to be committed
	Fetched uint64  // blocks committed by this Syncer
	Serving int     // requests of peers that are being answered
}

// Progress tells how far this Syncer is.
func (s *Syncer) Progress() Progress {
	p := Progress{Height: s.cfg.Ledger.Head().Height, Pruned: s.pruned.Load(), Serving: s.serving.count()}
	p.Rate, p.Fetched = s.meter.rate(time.Now())
	if w := s.window.Load(); w != nil {
		p.CatchUp = true
		p.Target, p.Peers, p.Waiting = w.figures()
	} else if s.living.Load() {
		p.Live, p.Peers, p.Target = true, 1, s.told.Load()
	}
	p.Target = max(p.Target, p.Height)
	return p
}

// report logs progress now and then while a catch-up lasts.
func (s *Syncer) report(ctx context.Context, w *window) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(reportEvery):
		}
		target, peers, _ := w.figures()
		rate, _ := s.meter.rate(time.Now())
		height := s.cfg.Ledger.Head().Height
		s.cfg.Logger.Info("catching up", "height", height, "of", max(target, height), "peers", peers, "blocks/s", int(rate))
	}
}

// meter counts blocks over the last seconds.
type meter struct {
	mu    sync.Mutex // guards what follows
	total uint64
	marks [8]mark // the newest first
}

// mark is how many blocks there were at a time.
type mark struct {
	at    time.Time
	total uint64
}

func (m *meter) add(n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if now.Sub(m.marks[0].at) >= time.Second {
		copy(m.marks[1:], m.marks[:])
		m.marks[0] = mark{now, m.total}
	}
	m.total += n
}

// rate is blocks a second since the oldest mark of the last ten seconds, and
// their number since ever.
func (m *meter) rate(now time.Time) (float64, uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var oldest mark
	for _, k := range m.marks {
		if !k.at.IsZero() && now.Sub(k.at) < 10*time.Second {
			oldest = k
		}
	}
	span := now.Sub(oldest.at).Seconds()
	if oldest.at.IsZero() || span <= 0 {
		return 0, m.total
	}
	return float64(m.total-oldest.total) / span, m.total
}
