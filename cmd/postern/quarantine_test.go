package main

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// connected are devices that are connected to a running node of a chain of one.
type connected struct {
	node  *node
	owner *client.Client
	conns map[abi.Hash]*quic.Conn
	stop  func()

	mu      sync.Mutex
	changed map[abi.Hash]time.Time // when the node had the last block that changed it; guarded by mu
}

func connectDevices(t testing.TB, count int) *connected {
	t.Helper()
	h := home(t.TempDir())
	if _, err := initHome(h, newHome{name: "test", clock: "trusted"}); err != nil {
		t.Fatal(err)
	}
	c := &connected{node: openTestNode(t, h), conns: map[abi.Hash]*quic.Conn{}, changed: map[abi.Hash]time.Time{}}
	c.node.ledger.OnAccounts(func(ids []abi.Hash) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, id := range ids {
			c.changed[id] = time.Now()
		}
	})
	c.stop = runTestNode(t, c.node)
	var err error
	if c.owner, err = dialHome(t.Context(), h, c.node.quicAddr, operatorKeyFile); err != nil {
		t.Fatal(err)
	}
	owner, err := key.Load(h.path(operatorKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	for i := range count {
		device, err := key.Generate()
		if err != nil {
			t.Fatal(err)
		}
		what := chain.Enrolment{Manufacturer: "Acme", Model: "Gauge", Serial: strconv.Itoa(i)}
		if _, err := enrol(t.Context(), c.owner, owner, device, what, nil); err != nil {
			t.Fatal(err)
		}
		c.conns[device.AccountID()] = c.connect(t, device)
	}
	return c
}

func (c *connected) connect(t testing.TB, device *key.Key) *quic.Conn {
	t.Helper()
	cert, err := device.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := quic.DialAddr(t.Context(), c.node.quicAddr, &tls.Config{
		Certificates: []tls.Certificate{cert}, NextProtos: []string{abi.ALPN}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// suspend has the owner suspend all devices, as many at a time as told, and tells
// how long after its block each lost its connection.
func (c *connected) suspend(t testing.TB, atOnce int) (times []time.Duration) {
	t.Helper()
	turns := make(chan struct{}, atOnce)
	ended := make(map[abi.Hash]time.Time)
	var mu sync.Mutex
	var all sync.WaitGroup
	for id, conn := range c.conns {
		all.Go(func() {
			<-conn.Context().Done()
			now := time.Now()
			mu.Lock()
			defer mu.Unlock()
			ended[id] = now
		})
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			if _, err := c.owner.Transact(t.Context(), chain.OpDeviceStatus, &chain.DeviceStatus{Device: id, Status: abi.StatusSuspended, Reason: "for a test"}, 0); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, at := range ended {
		times = append(times, at.Sub(c.changed[id]))
	}
	slices.Sort(times)
	return times
}

// TestBlockEndsConnections: the block that suspends a device ends its connection
// at the gateway, which tells the device why.
func TestBlockEndsConnections(t *testing.T) {
	c := connectDevices(t, 20)
	defer c.stop()
	defer c.owner.Close()
	times := c.suspend(t, 20)
	t.Logf("connections ended %v (median), %v (last) after their block", times[len(times)/2], times[len(times)-1])
	if median := times[len(times)/2]; median > 100*time.Millisecond {
		t.Errorf("half of the connections lived for more than %v after their block", median)
	}
	for _, conn := range c.conns {
		var e *quic.ApplicationError
		if why := context.Cause(conn.Context()); !errors.As(why, &e) || abi.Code(e.ErrorCode) != abi.CodeDeviceInactive || e.ErrorMessage != "suspended: for a test" {
			t.Errorf("a connection ended with %v", why)
		}
	}
}

// BenchmarkQuarantine is the time from a block that suspends a device to the end
// of its connection as the device sees it, with 200 connected: one block after
// another, and all in as few blocks as it takes. Node and devices are one process.
func BenchmarkQuarantine(b *testing.B) {
	const devices = 200
	for name, atOnce := range map[string]int{"one-by-one": 1, "all-at-once": devices} {
		b.Run(name, func(b *testing.B) {
			var times []time.Duration
			for range b.N {
				c := connectDevices(b, devices)
				times = append(times, c.suspend(b, atOnce)...)
				c.owner.Close()
				c.stop()
			}
			slices.Sort(times)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(times[len(times)/2].Microseconds())/1e3, "p50-ms")
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1e3, "p99-ms")
		})
	}
}
