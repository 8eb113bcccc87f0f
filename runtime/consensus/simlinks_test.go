package consensus

import (
	"math/rand/v2"
	"sync"
	"time"
)

// links are the ways between nodes.
type links struct {
	mu    sync.Mutex
	rng   []*rand.Rand // by link
	side  []int        // by node: nodes on different sides do not hear each other
	hold  bool         // what is sent across is kept for later, not lost
	kept  []func()
	lines []chan func() // by link
	n     int
	wait  sync.WaitGroup

	loss, twice, late float64       // parts of the messages
	delay             time.Duration // most
	slow              int           // node whose messages take a second; 0 none
}

const lineLength = 4096 // messages on one way; more are lost

func (l *links) init(seed uint64, n int) {
	l.n, l.side, l.delay = n, make([]int, n), 3*time.Millisecond
	for i := range n * n {
		l.rng = append(l.rng, rand.New(rand.NewPCG(seed, uint64(i+1))))
		line := make(chan func(), lineLength)
		l.lines = append(l.lines, line)
		l.wait.Go(func() {
			for f := range line {
				f()
			}
		})
	}
}

func (l *links) stop() {
	for _, line := range l.lines {
		close(line)
	}
	l.wait.Wait()
}

// carry delivers in order and after some time, or as the faults of the moment
// have it.
func (l *links) carry(from, to uint64, deliver func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := int(from-1)*l.n + int(to-1)
	rng := l.rng[i]
	again := func() { l.carry(from, to, deliver) }
	switch {
	case l.side[from-1] != l.side[to-1]:
		if l.hold && len(l.kept) < lineLength {
			l.kept = append(l.kept, again)
		}
		return
	case rng.Float64() < l.loss:
		return
	}
	at := time.Now().Add(time.Duration(rng.Int64N(int64(l.delay))))
	if l.slow == int(from) || l.slow == int(to) {
		at = at.Add(time.Second)
	}
	put := func() { elapse(time.Until(at)); deliver() }
	if rng.Float64() < l.late {
		lag := time.Duration(rng.IntN(3)+1) * time.Second
		put = func() { l.wait.Go(func() { elapse(lag); deliver() }) }
	}
	for range 1 + btoi(rng.Float64() < l.twice) {
		select {
		case l.lines[i] <- put:
		default:
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (l *links) cut(a, b uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.side[a-1] != l.side[b-1]
}

// split divides the nodes.
func (l *links) split(side []int, hold bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.side, l.hold = side, hold
}

// heal joins them again; what was held arrives.
func (l *links) heal() {
	l.mu.Lock()
	l.side = make([]int, l.n)
	kept := l.kept
	l.kept, l.loss, l.twice, l.late, l.delay, l.slow = nil, 0, 0, 0, 3*time.Millisecond, 0
	l.mu.Unlock()
	for _, f := range kept {
		f()
	}
}

// disturb makes the links bad.
func (l *links) disturb(loss, twice, late float64, delay time.Duration, slow int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loss, l.twice, l.late, l.delay, l.slow = loss, twice, late, delay, slow
}
