package gateway

import (
	"sync/atomic"

	"github.com/seed79541315/postern/abi"
)

// Stats is a snapshot of a Server's counters, which begin at zero with it.
type Stats struct {
	Connections      int    // open now
	Accepted         uint64 // handshakes completed
	HandshakesFailed uint64 // begun, never completed: bad certificate, wrong protocol, gone
	RefusedAddress   uint64 // packets that began a connection above those in all or of one address
	RefusedKey       uint64 // above the connections of one key, or of unknown keys
	Retries          uint64 // addresses made to prove themselves
	Streams          int    // open now
	Requests         []RequestCount
}

// RequestCount is how many requests of an operation got a code. For a
// decision it is the answer's own code, 0 being a permit. Op 0 stands for
// frames that were no request and for unknown operations.
type RequestCount struct {
	Op    abi.Operation
	Code  abi.Code
	Count uint64
}

// opCount is one above the highest operation.
const opCount = abi.OpSearch + 1

type counters struct {
	connections, streams                atomic.Int64
	accepted, handshakesFailed          atomic.Uint64
	refusedAddress, refusedKey, retries atomic.Uint64
	requests                            [opCount][]atomic.Uint64 // by code
}

func newCounters() *counters {
	c := &counters{}
	codes := abi.Codes()
	for op := range c.requests {
		c.requests[op] = make([]atomic.Uint64, codes[len(codes)-1]+1)
	}
	return c
}

func (c *counters) request(op abi.Operation, code abi.Code) {
	if op >= opCount {
		op = 0
	}
	if int(code) >= len(c.requests[op]) {
		code = abi.CodeInternal // a code that the table does not have
	}
	c.requests[op][code].Add(1)
}

// Stats returns the counters as they are now.
func (s *Server) Stats() Stats {
	c := s.stats
	st := Stats{
		Connections: int(c.connections.Load()), Streams: int(c.streams.Load()),
		Accepted: c.accepted.Load(), HandshakesFailed: c.handshakesFailed.Load(),
		RefusedAddress: c.refusedAddress.Load(), RefusedKey: c.refusedKey.Load(), Retries: c.retries.Load(),
	}
	for op := range c.requests {
		for code := range c.requests[op] {
			if n := c.requests[op][code].Load(); n > 0 {
				st.Requests = append(st.Requests, RequestCount{Op: abi.Operation(op), Code: abi.Code(code), Count: n})
			}
		}
	}
	return st
}
