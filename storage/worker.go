package storage

import (
	"errors"
	"fmt"
	"sync"
)

// run does something that pebble may never return from, as its goroutine
// stays in Fatalf or waits for one that does: it then returns when the store
// fails. Pebble also panics, on some damaged logs and where it cannot begin a
// new one; that becomes an error.
func (h *health) run(do func() error) error {
	w := h.workers.take()
	if w == nil {
		w = &worker{jobs: make(chan func() error, 1), done: make(chan error, 1)}
		go w.work(h)
	}
	w.jobs <- do
	select {
	case err := <-w.done:
		h.workers.put(w)
		return errors.Join(err, h.err())
	case <-h.done:
		return h.err()
	}
}

// worker is a goroutine that may be lost to pebble. It is kept for the next
// job: a new one's stack would have to grow for each record that is read.
type worker struct {
	jobs chan func() error // closed to end it
	done chan error        // capacity one, so that nobody need wait for a lost worker
}

func (w *worker) work(h *health) {
	for {
		select {
		case do, ok := <-w.jobs:
			if !ok {
				return
			}
			w.done <- guarded(do)
		case <-h.done:
			return
		}
	}
}

// guarded calls do and makes an error of its panic.
func guarded(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanicked, p)
		}
	}()
	return do()
}

// maxIdleWorkers is how many workers wait for jobs: as many as readers are
// usually at work at a time. Each holds a stack of some KiB.
const maxIdleWorkers = 16

// workers are those that have nothing to do, the last one in front.
type workers struct {
	mu     sync.Mutex
	idle   []*worker // guarded by mu
	closed bool      // guarded by mu
}

// take returns an idle worker, or nil.
func (s *workers) take() *worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle) == 0 {
		return nil
	}
	w := s.idle[len(s.idle)-1]
	s.idle = s.idle[:len(s.idle)-1]
	return w
}

// put gives a worker back.
func (s *workers) put(w *worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.idle) == maxIdleWorkers {
		close(w.jobs)
		return
	}
	s.idle = append(s.idle, w)
}

// close ends the idle workers, and each other one when its job is done.
func (s *workers) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, w := range s.idle {
		close(w.jobs)
	}
	s.idle = nil
}
