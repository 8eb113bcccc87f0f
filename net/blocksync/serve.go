package blocksync

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/peer"
)

// Limits of serving.
const (
	framePack     = 64 << 10        // bytes of blocks that are put into one frame, so that a frame comes soon on a slow link
	streamsOfPeer = 16              // requests of one peer that are served at a time
	heartbeat     = 5 * time.Second // between frames of a live answer while no blocks come
)

// Serve answers one request of a peer. It has the shape that peer.Handler
// wants: the error's abi.Code goes to the peer.
func (s *Syncer) Serve(ctx context.Context, from peer.Key, raw []byte, st peer.Stream) error {
	q, err := parseRequest(raw)
	if err != nil {
		return err
	}
	if !s.serving.enter(from) {
		return abi.CodeBusy
	}
	defer s.serving.leave(from)
	switch q.kind {
	case kindBlocks:
		return s.serveBlocks(&q, st)
	case kindLive:
		return s.serveLive(ctx, q.height, st)
	}
	if s.cfg.Snapshots == nil {
		return abi.CodeNotFound
	}
	return serveSnapshot(s.cfg.Snapshots, &q, st)
}

func (s *Syncer) standing() standing {
	return standing{base: s.cfg.Ledger.Base(), height: s.cfg.Ledger.Head().Height}
}

func (s *Syncer) serveBlocks(q *request, st peer.Stream) error {
	at := s.standing()
	if err := st.Send(appendStanding(nil, at)); err != nil {
		return err
	}
	count := min(q.count, maxCount)
	if count == 0 || q.height == 0 || q.height < at.base || q.height > at.height {
		return nil
	}
	end := min(at.height, q.height+count-1) // no overflow: the height is one of ours
	_, err := s.sendBlocks(q.height, end, min(q.bytes, partBytes), st)
	return err
}

// sendBlocks sends blocks until end or until bytes are full, one at least, and
// returns the height after the last.
func (s *Syncer) sendBlocks(from, end, bytes uint64, st peer.Stream) (next uint64, err error) {
	var pairs []pair
	total, packed := uint64(0), 0
	for next = from; next <= end && (next == from || total < bytes); next++ {
		block, certificate, _, err := s.cfg.Ledger.Block(next)
		if err != nil {
			return next, fmt.Errorf("reading block %d: %w", next, err)
		}
		size := len(block) + len(certificate)
		if packed > 0 && packed+size > framePack || len(pairs) == maxCount {
			if err := st.Send(appendBlocks(nil, pairs)); err != nil {
				return next, err
			}
			pairs, packed = pairs[:0], 0
		}
		pairs = append(pairs, pair{block, certificate})
		packed += size
		total += uint64(size)
	}
	if packed == 0 {
		return next, nil
	}
	return next, st.Send(appendBlocks(nil, pairs))
}

// serveLive sends blocks as they are committed, until the stream fails.
func (s *Syncer) serveLive(ctx context.Context, from uint64, st peer.Stream) error {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for tell := true; ; {
		committed, at := s.cfg.Ledger.Committed(), s.standing()
		if from < max(at.base, 1) {
			return abi.CodeNotFound
		}
		if tell {
			if err := st.Send(appendStanding(nil, at)); err != nil {
				return err
			}
		}
		for from <= at.height {
			next, err := s.sendBlocks(from, at.height, partBytes, st)
			if err != nil {
				return err
			}
			from = next
		}
		select {
		case <-ctx.Done():
			return abi.CodeShuttingDown
		case <-committed:
			tell = false
		case <-beat.C:
			tell = true
		}
	}
}

// serving counts the requests that are being served.
type serving struct {
	most int

	mu  sync.Mutex // guards what follows
	all int
	of  map[peer.Key]int // no zeros
}

// enter takes a place. It says false when there is none.
func (s *serving) enter(from peer.Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= s.most || s.of[from] >= streamsOfPeer {
		return false
	}
	s.all++
	s.of[from]++
	return true
}

func (s *serving) leave(from peer.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.of[from]--; s.of[from] == 0 {
		delete(s.of, from)
	}
}

func (s *serving) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}
