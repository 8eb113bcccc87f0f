package peer

import (
	"context"
	"sync"
)

// queue is what waits to be sent on one stream. When it is full the oldest
// gives way: to a peer that was slow the newest says most.
type queue struct {
	maxCount, maxBytes int
	wake               chan struct{} // holds one token while there may be something

	mu    sync.Mutex // guards what follows
	items [][]byte   // those before head are sent
	head  int
	bytes int
}

func newQueue(maxCount, maxBytes int) *queue {
	return &queue{maxCount: maxCount, maxBytes: maxBytes, wake: make(chan struct{}, 1)}
}

// push adds a message, which must not change any more, and returns how many
// were dropped for it, or 1 if it alone is too large.
func (q *queue) push(m []byte) (dropped int) {
	if len(m) > q.maxBytes {
		return 1
	}
	q.mu.Lock()
	for len(q.items)-q.head >= q.maxCount || q.bytes+len(m) > q.maxBytes {
		q.pop()
		dropped++
	}
	q.items = append(q.items, m)
	q.bytes += len(m)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return dropped
}

// pop takes the oldest; q.mu is held and there is one.
func (q *queue) pop() []byte {
	m := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	q.bytes -= len(m)
	switch {
	case q.head == len(q.items):
		q.items, q.head = q.items[:0], 0
		if cap(q.items) > 1024 {
			q.items = nil // a burst is over
		}
	case q.head >= 64 && q.head >= len(q.items)/2:
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return m
}

// take waits until there is something and appends to batch the oldest message
// and those behind it that together have at most room bytes.
func (q *queue) take(ctx context.Context, batch [][]byte, room int) ([][]byte, error) {
	for {
		q.mu.Lock()
		for q.head < len(q.items) && (len(batch) == 0 || len(q.items[q.head]) <= room) {
			m := q.pop()
			room -= len(m)
			batch = append(batch, m)
		}
		q.mu.Unlock()
		if len(batch) > 0 {
			return batch, nil
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// size is how many messages wait, and their bytes.
func (q *queue) size() (count, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) - q.head, q.bytes
}
