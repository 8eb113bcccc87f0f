package web

import (
	"net"
	"sync"
)

// listener closes connections on arrival while max are open. Refusing beats
// queueing: a client behind a full queue would only time out, and whoever
// holds the places is thrown out by the header and idle timeouts.
type listener struct {
	net.Listener
	max     int
	metrics *metrics

	mu   sync.Mutex
	open map[*conn]struct{} // guarded by mu
}

func newListener(l net.Listener, max int, m *metrics) *listener {
	return &listener{Listener: l, max: max, metrics: m, open: map[*conn]struct{}{}}
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{inner, l}
		if l.admit(c) {
			return c, nil
		}
		l.metrics.refused.Inc()
		inner.Close()
	}
}

func (l *listener) admit(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) >= l.max {
		return false
	}
	l.open[c] = struct{}{}
	l.metrics.connections.Set(float64(len(l.open)))
	return true
}

func (l *listener) release(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
	l.metrics.connections.Set(float64(len(l.open)))
}

// cut closes every connection below TLS: closing above it would first wait
// seconds for each peer that does not read its farewell.
func (l *listener) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.Conn.Close()
	}
}

type conn struct {
	net.Conn
	listener *listener
}

func (c *conn) Close() error {
	c.listener.release(c)
	return c.Conn.Close()
}
