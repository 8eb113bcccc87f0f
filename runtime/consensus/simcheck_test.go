package consensus

import (
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// committed compares a block with what others hold at its height.
func (s *simulation) committed(v *validator, b *chain.Block) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, hash := b.Header.Height, b.Header.Hash()
	if other, ok := s.chain[h]; ok {
		if other != hash {
			s.t.Errorf("validator %d holds block %x at height %d, another holds %x", v.id, hash[:4], h, other[:4])
		}
		return
	}
	s.chain[h] = hash
	if h > s.top {
		s.top, s.topAt = h, time.Now()
	}
	for _, raw := range b.Txs {
		if tx, err := chain.ParseTx(raw); err == nil && tx.Tick == 0 {
			if _, ok := s.placed[tx.ID]; !ok {
				s.placed[tx.ID] = h
			}
		}
	}
}

// settle ends all faults, and then requires progress within a time, that all
// nodes come to hold the same, and that every transaction counts once.
func (s *simulation) settle(within time.Duration) {
	s.t.Helper()
	s.mend()
	for _, v := range s.nodes {
		v.back = time.Time{}
	}
	s.revive()
	begin := time.Now()
	last := s.newClient()
	for s.height(last.id) == 0 {
		if time.Since(begin) > within {
			s.report()
			s.t.Fatalf("no progress within %v of the end of all faults", within)
		}
		s.send()
		s.revive()
		elapse(50 * time.Millisecond)
	}
	s.t.Logf("%v after the end of all faults: height %d", time.Since(begin), s.height(last.id))
	for begin := time.Now(); ; elapse(100 * time.Millisecond) {
		s.send()
		s.revive()
		if s.level() {
			break
		}
		if time.Since(begin) > 2*time.Minute {
			s.report()
			s.t.Fatal("the nodes do not become level")
		}
	}
	s.audit()
}

// level tells whether all nodes hold all blocks, and all transactions are in
// one.
func (s *simulation) level() bool {
	for _, c := range s.clients {
		if s.height(c.id) == 0 {
			return false
		}
	}
	s.mu.Lock()
	top := s.top
	s.mu.Unlock()
	all := true
	for _, v := range s.nodes {
		p := v.alive()
		if p != nil {
			p.engine.Behind(top) // as signed heads would tell it
		}
		if (p == nil || p.ledger.Head().Height < top) && v.liar == nil {
			all = false
		}
	}
	return all
}

func (s *simulation) report() {
	for _, v := range s.nodes {
		p := v.alive()
		if p == nil {
			s.t.Logf("validator %d is down", v.id)
			continue
		}
		s.t.Logf("validator %d: height %d, %+v", v.id, p.ledger.Head().Height, p.engine.Stats())
	}
	for _, c := range s.clients {
		if s.height(c.id) == 0 {
			s.t.Logf("a transaction of sender %d is in no block", c.sender)
		}
	}
}

// audit reads every block of every node, less those that lie.
func (s *simulation) audit() {
	s.t.Helper()
	for _, v := range s.nodes {
		p := v.alive()
		if p == nil || v.liar != nil {
			continue
		}
		good := map[abi.Hash]int{}
		for h := uint64(1); h <= p.ledger.Head().Height; h++ {
			rawBlock, _, rawOutcomes, err := p.ledger.Block(h)
			if err != nil {
				s.t.Fatal(err)
			}
			b, err := chain.ParseBlock(rawBlock)
			if err != nil {
				s.t.Fatal(err)
			}
			if b.Header.Hash() != s.chain[h] {
				s.t.Errorf("validator %d ends with another block at height %d", v.id, h)
			}
			s.count(good, rawOutcomes)
		}
		for _, c := range s.clients {
			if good[c.id] != 1 {
				s.t.Errorf("validator %d: a transaction counts %d times", v.id, good[c.id])
			}
		}
	}
}

func (s *simulation) count(good map[abi.Hash]int, raw []byte) {
	list, err := chain.ParseOutcomes(raw)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, raw := range list {
		o, err := chain.ParseOutcome(raw)
		if err != nil {
			s.t.Fatal(err)
		}
		if o.Code == abi.OK {
			good[o.ID]++
		}
	}
}
