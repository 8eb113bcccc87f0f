package heads

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/seed79541315/postern/abi/chain"
)

// verdict is whether a head's block is in this node's chain.
type verdict uint8

const (
	ahead    verdict = iota // not known yet
	ours                    // it counts
	gone                    // its block is pruned: it tells nothing that the last block does not
	disputed                // this node holds another block
)

// standing is what Staleness needs, made anew with every block and head.
type standing struct {
	height uint64
	time   int64     // ms, of the head block
	seen   time.Time // when this node first knew it
	own    bool      // this node alone is a quorum

	quorum   bool // whether enough validators' heads count
	heads    int64
	received time.Time

	claimed uint64 // height that at least one honest validator claims
}

// Staleness is for how long (ms) this node may have missed blocks at now (ms
// since 1970, by its clock): the age of the newest quorum of heads that are not
// ahead of its chain, or of the last block where that is younger. Setting the
// clock back does not shrink it below what has passed since they came.
func (t *Tracker) Staleness(now int64) uint64 {
	s := t.standing()
	if s.own {
		return 0
	}
	age := ageOf(now, s.time, s.seen)
	if s.quorum {
		age = min(age, ageOf(now, s.heads, s.received))
	}
	return age
}

func ageOf(now, then int64, at time.Time) uint64 {
	return uint64(max(now-then, time.Since(at).Milliseconds(), 0))
}

// Behind returns the height that the chain has by the word of more validators
// than may lie, if that is above this node's. It is a hint: blocks prove
// themselves.
func (t *Tracker) Behind() (height uint64, ok bool) {
	s := t.standing()
	return s.claimed, s.claimed > s.height
}

// standing is that of the chain as it is now.
func (t *Tracker) standing() *standing {
	if s := t.now.Load(); s.height == t.cfg.Ledger.Head().Height {
		return s
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.now.Load(); s.height == t.cfg.Ledger.Head().Height {
		return s // another's doing
	}
	return t.renew()
}

// renew makes the standing. It needs mu.
func (t *Tracker) renew() *standing {
	head, set := t.cfg.Ledger.Head(), t.cfg.Ledger.ValidatorSet()
	s := &standing{height: head.Height, time: head.Time, seen: time.Now()}
	if old := t.now.Load(); old != nil && old.height == s.height {
		s.seen = old.seen
	}
	t.forget(set)
	need := set.Quorum()
	if t.id(set) != 0 {
		need-- // this node's own head is where it stands now
	}
	s.own = need == 0 && len(set) > 0
	t.count(s, &head, need)
	t.claim(s, set.Faults())
	t.now.Store(s)
	return s
}

// forget drops what validators said who are gone or have another key.
func (t *Tracker) forget(set chain.ValidatorSet) {
	for id, v := range t.list {
		if key, ok := set.Key(id); !ok || !bytes.Equal(key, v.key) {
			delete(t.list, id)
		}
	}
}

// count finds the youngest quorum among the heads that are not ahead.
func (t *Tracker) count(s *standing, head *chain.Header, need int) {
	var counted []said
	for _, v := range t.list {
		if v.newest.verdict == ahead && v.newest.head.Height <= head.Height {
			v.newest.verdict = t.judge(head, &v.newest.head)
		}
		if v.newest.verdict == ours {
			v.counted = v.newest
		}
		if v.counted.verdict == ours {
			counted = append(counted, v.counted)
		}
	}
	if need <= 0 || len(counted) < need {
		return
	}
	slices.SortFunc(counted, func(a, b said) int { return cmp.Compare(b.head.Time, a.head.Time) })
	s.quorum, s.heads = true, counted[need-1].head.Time
	slices.SortFunc(counted, func(a, b said) int { return b.at.Compare(a.at) })
	s.received = counted[need-1].at
}

// claim finds the height that f of the validators cannot have made up.
func (t *Tracker) claim(s *standing, faults int) {
	var heights []uint64
	for _, v := range t.list {
		heights = append(heights, v.newest.head.Height)
	}
	if len(heights) > faults {
		slices.Sort(heights)
		s.claimed = heights[len(heights)-1-faults]
	}
}

// judge compares a head, which is not ahead, with this node's chain.
func (t *Tracker) judge(head *chain.Header, h *chain.SignedHead) verdict {
	hash := head.Hash()
	if h.Height < head.Height {
		raw, _, _, err := t.cfg.Ledger.Block(h.Height)
		if err != nil {
			return gone
		}
		k, err := chain.ParseBlock(raw)
		if err != nil {
			return gone
		}
		hash = k.Header.Hash()
	}
	if h.Block != hash {
		return disputed
	}
	return ours
}
