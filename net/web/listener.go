package web

import (
	"net"
	"sync"
	"sync/atomic"
)

// listener closes connections on arrival while max are open. Refusing beats
// queueing: a client behind a full queue would only time out, and whoever
// holds the places is thrown out by the header and idle timeouts.
type listener struct {
	net.Listener
	max     int64
	open    atomic.Int64
	metrics *metrics
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.max {
			l.metrics.connections.Inc()
			return &conn{Conn: c, release: sync.OnceFunc(l.release)}, nil
		}
		l.open.Add(-1)
		l.metrics.refused.Inc()
		c.Close()
	}
}

func (l *listener) release() {
	l.open.Add(-1)
	l.metrics.connections.Dec()
}

type conn struct {
	net.Conn
	release func()
}

func (c *conn) Close() error {
	c.release()
	return c.Conn.Close()
}
