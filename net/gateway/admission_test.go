package gateway

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seed79541315/postern/abi"
)

// TestAdmissionForgets: whatever connections of whatever keys come and go, each is
// found by its account while it is there, and nothing of it is kept afterwards.
func TestAdmissionForgets(t *testing.T) {
	s := newServer(Config{MaxConnections: 1000, MaxPerKey: 8, MaxLarge: 4, MaxWaiting: 4, MaxSubscriptions: 4, RequestRate: -1, HandshakeRate: 1})
	a := s.admission
	random := rand.New(rand.NewPCG(1, 2))
	var open []*conn
	count := map[abi.Hash]int{}
	for range 5000 {
		if len(open) > 0 && random.IntN(100) < 45 || len(open) == 200 {
			i := random.IntN(len(open))
			c := open[i]
			open[i] = open[len(open)-1]
			open = open[:len(open)-1]
			a.total++ // as open counts it
			a.addresses[c.peer.address]++
			a.release(c.peer, nil)
			count[c.peer.id]--
		} else {
			id := abi.Hash{byte(random.IntN(20))}
			key := fmt.Appendf(nil, "key %d of %d", random.IntN(2), id[0]) // of before and after a rotation
			c := &conn{server: s, peer: &peer{}, standing: abi.Standing{Known: random.IntN(4) > 0}}
			if a.claim(c, key, id) == nil {
				open = append(open, c)
				count[id]++
			}
		}
		id := abi.Hash{byte(random.IntN(20))}
		if got := len(a.connsOf(id)); got != count[id] || (len(a.connected([]abi.Hash{id})) > 0) != (got > 0) {
			t.Fatalf("%d connections of %d are found", got, count[id])
		}
	}
	for _, c := range open {
		a.total++
		a.addresses[c.peer.address]++
		a.release(c.peer, nil)
	}
	if len(a.live) != 0 || len(a.keys) != 0 || a.strangers != 0 || len(a.addresses) != 0 {
		t.Errorf("left: %d live, %d keys, %d strangers, %d addresses", len(a.live), len(a.keys), a.strangers, len(a.addresses))
	}
}
