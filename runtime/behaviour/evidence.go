package behaviour

import (
	"crypto/sha256"
	"sync"
	"unicode/utf8"

	"github.com/seed79541315/postern/abi"
)

// evidence is what verdicts and alerts named, the newest within a budget of
// bytes in memory, and older ones in files.
type evidence struct {
	budget int

	mu     sync.Mutex
	byHash map[abi.Hash][]byte // guarded by mu
	ring   []abi.Hash          // oldest first; guarded by mu
	fresh  int                 // of the newest in ring that are in no file; guarded by mu
	bytes  int                 // guarded by mu
}

// exhibitBytes is what an exhibit takes beside its bytes: slots in the map and
// the ring, the slice's header, and what the allocator rounds up.
const exhibitBytes = 160

func (e *evidence) init(budget int) { e.budget, e.byHash = budget, make(map[abi.Hash][]byte) }

// add keeps an exhibit, which must not be changed afterwards, and gives its hash.
func (e *evidence) add(exhibit []byte) abi.Hash {
	hash := abi.Hash(sha256.Sum256(exhibit))
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, known := e.byHash[hash]; known {
		return hash
	}
	e.byHash[hash] = exhibit
	e.ring = append(e.ring, hash)
	e.fresh++
	e.bytes += len(exhibit) + exhibitBytes
	for e.bytes > e.budget && len(e.ring) > 1 {
		oldest := e.ring[0]
		e.bytes -= len(e.byHash[oldest]) + exhibitBytes
		delete(e.byHash, oldest)
		e.ring = e.ring[1:]
		e.fresh = min(e.fresh, len(e.ring))
	}
	return hash
}

func (e *evidence) get(hash abi.Hash) ([]byte, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, ok := e.byHash[hash]
	return b, ok
}

// unwritten gives the exhibits that are in no file, oldest first; written says
// that so many of them are now.
func (e *evidence) unwritten() (list [][]byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, hash := range e.ring[len(e.ring)-e.fresh:] {
		list = append(list, e.byHash[hash])
	}
	return list
}

func (e *evidence) written(list [][]byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(list) == 0 {
		return
	}
	// Since then newer ones may have come, and old ones gone.
	last := abi.Hash(sha256.Sum256(list[len(list)-1]))
	for i := len(e.ring) - 1; i >= len(e.ring)-e.fresh; i-- {
		if e.ring[i] == last {
			e.fresh = len(e.ring) - 1 - i
			return
		}
	}
}

// Evidence is the encoded abi.Observation, or the account of an attack, of which
// a verdict or an alert of this gateway named the hash; false once it made room
// for newer ones, or a crash lost it.
func (m *Monitor) Evidence(hash abi.Hash) (encoded []byte, ok bool) {
	if b, ok := m.evidence.get(hash); ok {
		return b, true
	}
	return m.files.exhibit(hash)
}

// validText makes a text that CBOR can hold of what came from outside.
func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	b := make([]rune, 0, len(s))
	for _, c := range s {
		b = append(b, c)
	}
	return string(b)
}
