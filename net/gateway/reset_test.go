package gateway_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/gateway"
)

// reborn is a client's socket to a gateway that dies without a word and comes
// back at the same address: from then on packets go to another process.
type reborn struct {
	net.PacketConn
	gateway atomic.Pointer[net.Addr] // where it really is
	address net.Addr                 // where the client sees it
}

func (r *reborn) WriteTo(b []byte, _ net.Addr) (int, error) {
	return r.PacketConn.WriteTo(b, *r.gateway.Load())
}

func (r *reborn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := r.PacketConn.ReadFrom(b)
	return n, r.address, err
}

// A client that asks a gateway which has been started anew learns at once that
// its connection is gone, by the smallest request there is as by any other.
func TestTheSmallestRequestIsAnsweredWithAReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sockets, key := simulated(t, 3), newKey(t)
		same := func(c *gateway.Config) { c.Key, c.ResetKey = key, [32]byte{1} }
		var before, after port
		before.run(t, sockets[0], newNode(), same)
		after.run(t, sockets[1], newNode(), same)
		client := &reborn{PacketConn: sockets[2], address: before.addr}
		client.gateway.Store(&before.addr)
		before.dial = func(testing.TB) net.PacketConn { return client }

		c := before.connect(t, newKey(t))
		<-time.After(time.Second) // nothing is left to be acknowledged, which would make the next packet larger
		client.gateway.Store(&after.addr)
		began := time.Now()
		open(t, c).send(request(1, abi.OpStatus, nil))
		<-c.Context().Done()
		if why := context.Cause(c.Context()); !errors.As(why, new(*quic.StatelessResetError)) || time.Since(began) > time.Second {
			t.Errorf("%v after %v", why, time.Since(began))
		}
	})
}
