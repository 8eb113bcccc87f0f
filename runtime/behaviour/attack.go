package behaviour

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// The kinds of attacks that a gateway knows. Others may be counted, too.
const (
	AttackHandshakeFlood   = "handshake-flood"   // more connections than an address may open
	AttackBadSignatures    = "bad-signatures"    // envelopes that their key did not sign
	AttackUnknownContracts = "unknown-contracts" // probing for contracts and domains that are not there
	AttackMalformedFrames  = "malformed-frames"  // what no client of this protocol sends
)

const (
	// alertEvery is how often at most the ledger is told of one kind.
	alertEvery = time.Minute
	// alertFrom is how many within that time are an attack. Fewer come from
	// clients with a fault, or the scanners of the internet.
	alertFrom = 10
	// maxSources bounds the origins that are kept for a kind. A flood from more
	// of them keeps those that came most.
	maxSources = 16
	// maxFrom cuts the text of an origin, in bytes.
	maxFrom = 64
)

// attacks counts attacks by kind.
type attacks struct {
	mu    sync.Mutex
	kinds map[string]*attack // at most chain.MaxAlertKinds; guarded by mu
}

// attack is one kind.
type attack struct {
	total   uint64            // since the Monitor was opened
	count   uint64            // since told
	since   int64             // ms of the gateway's clock: the first of count
	sources map[string]uint64 // by origin, by the rule of Misra and Gries: each is at most count/(maxSources+1) too low
}

func (t *attacks) init() {
	t.kinds = make(map[string]*attack)
	for _, kind := range []string{AttackHandshakeFlood, AttackBadSignatures, AttackUnknownContracts, AttackMalformedFrames} {
		t.kinds[kind] = newAttack()
	}
}

func newAttack() *attack { return &attack{sources: make(map[string]uint64, maxSources)} }

// Attack counts an attack on this gateway: one of the kinds above, or another
// name (abi.ValidName), as long as they are few. from is where it came from, an
// address or a key, "" where that is not known. It costs a fraction of a
// microsecond, as it must: it is called as often as attackers like.
func (m *Monitor) Attack(kind, from string) {
	m.attacks.mu.Lock()
	defer m.attacks.mu.Unlock()
	a := m.attacks.kinds[kind]
	if a == nil {
		if len(m.attacks.kinds) >= chain.MaxAlertKinds || !abi.ValidName(kind) {
			return
		}
		a = newAttack()
		m.attacks.kinds[kind] = a
	}
	if a.count == 0 {
		a.since, _ = m.cfg.Clock()
	}
	a.total++
	a.count++
	a.add(from[:min(len(from), maxFrom)])
}

// add counts an origin.
func (a *attack) add(from string) {
	if n, ok := a.sources[from]; ok {
		a.sources[from] = n + 1
		return
	}
	if len(a.sources) < maxSources {
		a.sources[strings.Clone(from)] = 1
		return
	}
	for other, n := range a.sources {
		if n == 1 {
			delete(a.sources, other)
		} else {
			a.sources[other] = n - 1
		}
	}
}

// sumAttacks tells the ledger of attacks, each kind at most once in alertEvery.
func (m *Monitor) sumAttacks(ctx context.Context) {
	tick := time.NewTicker(alertEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, kind := range m.attacks.names() {
				m.alert(kind)
			}
		}
	}
}

func (t *attacks) names() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Keys(t.kinds))
}

// alert tells the ledger of one kind, if it came often enough to be an attack.
func (m *Monitor) alert(kind string) {
	until, _ := m.cfg.Clock()
	count, account := m.attacks.end(kind, until)
	if account == nil {
		return
	}
	m.cfg.Logger.Warn("this gateway was attacked", "kind", kind, "times", count)
	a := chain.Alert{Kind: kind, Count: count, Evidence: m.evidence.add(account)}
	m.send(message{op: chain.OpAlert, args: a.Append(nil), since: m.now()})
}

// end ends the count of a kind and gives the account of it, nil if it was no
// attack.
func (t *attacks) end(kind string, until int64) (count uint64, account []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.kinds[kind]
	count = a.count
	if count >= alertFrom {
		account = a.account(kind, until).Append(nil)
	}
	a.count = 0
	clear(a.sources)
	return count, account
}

func (a *attack) account(kind string, until int64) *AttackAccount {
	x := &AttackAccount{Kind: kind, Count: a.count, Since: a.since, Until: until}
	for from, n := range a.sources {
		x.Sources = append(x.Sources, AttackSource{validText(from), n})
	}
	slices.SortFunc(x.Sources, func(x, y AttackSource) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.From, y.From))
	})
	return x
}
