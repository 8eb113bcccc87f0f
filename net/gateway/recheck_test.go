package gateway_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/net/gateway"
)

// told is the code and the reason with which the server closed a connection.
func told(t testing.TB, c *quic.Conn) (abi.Code, string) {
	t.Helper()
	select {
	case <-c.Context().Done():
	case <-time.After(5 * time.Second):
		t.Fatal("the connection stays open")
	}
	var e *quic.ApplicationError
	if why := context.Cause(c.Context()); !errors.As(why, &e) || !e.Remote {
		t.Fatalf("the connection ended with %v", why)
	}
	return abi.Code(e.ErrorCode), e.ErrorMessage
}

func isOpen(c *quic.Conn) bool { return c.Context().Err() == nil }

func device(status abi.Status) abi.Standing {
	return abi.Standing{Known: true, Account: abi.Hash{1}, Device: status}
}

// withinALook is how long a change may take to reach a connection on the
// simulated network, whose packets travel 10 ms to the other host.
const withinALook = 50 * time.Millisecond

// TestStatusEndsConnections: a change that Recheck is told of closes the
// connections that it concerns at once, with the reason, and no others.
func TestStatusEndsConnections(t *testing.T) {
	stolen := device(abi.StatusStolen)
	stolen.Reason = "left in a train"
	quarantined := device(abi.StatusQuarantined)
	isolated := device(abi.StatusActive)
	isolated.Isolated, isolated.Reason = 1, "quarantine: mud: port 23"
	prolonged := isolated
	prolonged.Isolated = 2
	wordy := device(abi.StatusSuspended)
	wordy.Reason = strings.Repeat("ü", 1000)
	for name, test := range map[string]struct {
		was, is abi.Standing
		code    abi.Code // OK: it stays
		reason  string
	}{
		"stolen":              {device(abi.StatusActive), stolen, abi.CodeDeviceInactive, "stolen: left in a train"},
		"without a reason":    {device(abi.StatusActive), quarantined, abi.CodeDeviceInactive, "quarantined"},
		"retired":             {device(abi.StatusActive), device(abi.StatusRetired), abi.CodeDeviceInactive, "retired"},
		"isolated here":       {device(abi.StatusActive), isolated, abi.CodeDeviceInactive, "isolated: quarantine: mud: port 23"},
		"from bad to worse":   {device(abi.StatusSuspended), stolen, abi.CodeDeviceInactive, "stolen: left in a train"},
		"with a long reason":  {device(abi.StatusActive), wordy, abi.CodeDeviceInactive, "suspended: " + strings.Repeat("ü", 250)},
		"its key replaced":    {device(abi.StatusActive), abi.Standing{}, abi.CodeUnknownKey, "the key is no account's"},
		"released":            {quarantined, device(abi.StatusActive), abi.OK, ""},
		"isolated for longer": {isolated, prolonged, abi.OK, ""},
		"as bad as before":    {quarantined, quarantined, abi.OK, ""},
		"with another role":   {device(abi.StatusActive), abi.Standing{Known: true, Account: abi.Hash{1}, Device: abi.StatusActive, Roles: abi.RoleAuditor}, abi.OK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode()
				sockets := simulated(t, 2)
				p := &port{}
				p.run(t, sockets[0], n, nil)
				transport := &quic.Transport{Conn: sockets[1]}
				defer transport.Close()
				dial := func(standing abi.Standing) *quic.Conn {
					key := newKey(t)
					n.set(public(key), standing)
					c, err := transport.Dial(t.Context(), p.addr, clientTLS(certificate(t, key)), nil)
					if err != nil {
						t.Fatal(err)
					}
					open(t, c).ask(1, abi.OpStatus, empty)
					if standing.Account == (abi.Hash{1}) {
						n.set(public(key), test.is)
					}
					return c
				}
				other := dial(abi.Standing{Known: true, Account: abi.Hash{2}, Device: abi.StatusActive})
				concerned := []*quic.Conn{dial(test.was), dial(test.was)}
				began := time.Now()
				p.Recheck(abi.Hash{3}, abi.Hash{1}, abi.Hash{1})
				for _, c := range concerned {
					if test.code == abi.OK {
						<-time.After(time.Second)
						if !isOpen(c) {
							t.Errorf("closed: %v", context.Cause(c.Context()))
						}
						continue
					}
					code, reason := told(t, c)
					if took := time.Since(began); code != test.code || !strings.HasPrefix(reason, test.reason) || took > withinALook {
						t.Errorf("closed with %v, %q after %v", code, reason, took)
					}
				}
				if !isOpen(other) || open(t, other).ask(1, abi.OpDecide, decideBody()).Code != abi.OK {
					t.Error("a connection of another account was closed")
				}
				p.stop()
			})
		})
	}
}

// TestWhatInactiveDevicesMay: it may come again, learn what it is, and report
// once a second, and its subscription is over.
func TestWhatInactiveDevicesMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.report = func(*abi.Observation, []byte) (abi.Judgement, error) { return abi.Judgement{}, nil }
		p := serveSim(t, n, nil)
		key := newKey(t)
		isolated := device(abi.StatusActive)
		isolated.Isolated, isolated.Reason = 1_800_000_000_000, "quarantine: mud"
		n.set(public(key), isolated)
		c := p.connect(t, key)
		w := open(t, c)
		status, err := abi.ParseNodeStatus(w.ask(1, abi.OpStatus, empty).Body)
		if err != nil || status.Device != abi.StatusActive || status.Isolated != isolated.Isolated || status.Reason != isolated.Reason {
			t.Errorf("status %+v, %v", status, err)
		}
		report := abi.AppendReport(nil, &abi.Report{Kind: abi.ObserveTelemetry, Payload: []byte{0x80}})
		taken := 0
		for id := range uint64(100) {
			switch got := w.ask(id+2, abi.OpReport, report); got.Code {
			case abi.OK:
				taken++
			case abi.CodeRateLimited:
			default:
				t.Fatal(got.Code)
			}
			<-time.After(100 * time.Millisecond)
		}
		if taken < 9 || taken > 12 {
			t.Errorf("%d reports were taken in ten seconds", taken)
		}
		for _, op := range []abi.Operation{abi.OpSubscribe, abi.OpReceipt, abi.OpEvidence, abi.OpDecide, abi.OpScan} {
			if got := w.ask(200, op, empty); got.Code != abi.CodeDeviceInactive {
				t.Errorf("operation %d: %v", op, got.Code)
			}
		}
		about := abi.AppendReport(nil, &abi.Report{Kind: abi.ObserveTelemetry, Payload: []byte{0x80}, Device: &abi.Hash{8}})
		<-time.After(2 * time.Second)
		if got := w.ask(201, abi.OpReport, about); got.Code != abi.CodeDeviceInactive {
			t.Errorf("a report of another: %v", got.Code)
		}
		p.stop()
	})
}

func TestSubscriptionEndsWithTheStatus(t *testing.T) {
	n := newNode()
	p := serve(t, n, nil)
	key := newKey(t)
	n.set(public(key), device(abi.StatusActive))
	c := p.connect(t, key)
	w := open(t, c)
	w.subscribe(1, &abi.Subscription{})
	n.set(public(key), device(abi.StatusQuarantined))
	p.Recheck(abi.Hash{1})
	if code, reason := told(t, c); code != abi.CodeDeviceInactive || reason != "quarantined" {
		t.Errorf("%v, %q", code, reason)
	}
	if _, err := w.Read(make([]byte, 1)); err == nil {
		t.Error("something was sent after the end")
	}
	eventually(t, func() bool { return p.Stats().Streams == 0 && p.Stats().Connections == 0 })
}

// hasty is a node that commits a block while a connection is being admitted:
// what it says of the key first is out of date when the connection is counted.
type hasty struct {
	*node
	asked  atomic.Int32
	commit func()
}

func (h *hasty) Standing(key []byte) (abi.Standing, error) {
	if h.asked.Add(1) == 1 {
		defer h.commit()
		return device(abi.StatusActive), nil
	}
	return device(abi.StatusStolen), nil
}

// TestBlockDuringAdmission: a change between the question and the answer to it
// is not missed.
func TestBlockDuringAdmission(t *testing.T) {
	h := &hasty{node: newNode()}
	var p *port
	h.commit = func() { p.Recheck(abi.Hash{1}) }
	p = serve(t, h, nil)
	if code, _ := told(t, p.connect(t, newKey(t))); code != abi.CodeDeviceInactive {
		t.Errorf("%v", code)
	}
}

// TestStrangerThatIsEnrolled: the account of a key that was unknown when it
// connected is found by what it has to be called.
func TestStrangerThatIsEnrolled(t *testing.T) {
	n := newNode()
	p := serve(t, n, nil)
	key := newKey(t)
	n.set(public(key), abi.Standing{})
	c := p.connect(t, key)
	open(t, c).ask(1, abi.OpStatus, empty)
	id := chain.AccountID(public(key))
	n.set(public(key), abi.Standing{Known: true, Account: id, Device: abi.StatusActive})
	p.Recheck(id)
	if got := open(t, c).ask(1, abi.OpDecide, decideBody()); got.Code != abi.OK {
		t.Errorf("enrolled: %v", got.Code)
	}
	n.set(public(key), abi.Standing{Known: true, Account: id, Device: abi.StatusStolen})
	p.Recheck(id)
	if code, _ := told(t, c); code != abi.CodeDeviceInactive {
		t.Errorf("%v", code)
	}
}

// BenchmarkRecheck measures how long it takes from Recheck to the end of a
// connection at the device, with 200 devices connected to one server, all of
// which a block quarantines at once, and where it concerns one of them.
func BenchmarkRecheck(b *testing.B) {
	const devices = 200
	for _, concerned := range []int{1, devices} {
		b.Run(fmt.Sprint(concerned, "of200"), func(b *testing.B) {
			var times []time.Duration
			var closed time.Duration
			for range b.N {
				some, all := quarantine(b, devices, concerned)
				times, closed = append(times, some...), closed+all
			}
			reportQuantiles(b, times)
			b.ReportMetric(float64(closed.Microseconds())/float64(b.N)/1e3, "server-ms")
		})
	}
}

// quarantine connects devices, quarantines some of them at once, and tells how
// long each of those stayed connected, and until when the server had done with
// all of them.
func quarantine(b *testing.B, devices, concerned int) (times []time.Duration, closed time.Duration) {
	n := newNode()
	p := serve(b, n, func(c *gateway.Config) { c.MaxPerAddress, c.MaxConnections = 1000, 1000 })
	defer p.stop()
	keys, ids, conns := make([]ed25519.PrivateKey, devices), make([]abi.Hash, devices), make([]*quic.Conn, devices)
	for i := range keys {
		keys[i] = newKey(b)
		ids[i] = chain.AccountID(public(keys[i]))
		n.set(public(keys[i]), abi.Standing{Known: true, Account: ids[i], Device: abi.StatusActive})
		conns[i] = p.connect(b, keys[i])
		open(b, conns[i]).ask(1, abi.OpStatus, empty)
	}
	for i := range concerned {
		n.set(public(keys[i]), abi.Standing{Known: true, Account: ids[i], Device: abi.StatusQuarantined})
	}
	times = make([]time.Duration, concerned)
	began := time.Now()
	var all sync.WaitGroup
	for i := range times {
		all.Go(func() {
			<-conns[i].Context().Done()
			times[i] = time.Since(began)
		})
	}
	p.Recheck(ids[:concerned]...)
	for p.Stats().Connections > devices-concerned {
		<-time.After(100 * time.Microsecond)
	}
	closed = time.Since(began)
	all.Wait()
	return times, closed
}

func reportQuantiles(b *testing.B, times []time.Duration) {
	slices.Sort(times)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1e3, "p50-ms")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1e3, "p99-ms")
}

// TestRecheckAmidChurn: devices come and go while their statuses change: none waits
// for an answer or an end that does not come, and nothing of them is left.
func TestRecheckAmidChurn(t *testing.T) {
	n := newNode()
	p := serve(t, n, nil)
	const devices = 8
	var all sync.WaitGroup
	stop := make(chan struct{})
	for i := range devices {
		key, id := newKey(t), abi.Hash{byte(i + 1)}
		n.set(public(key), abi.Standing{Known: true, Account: id, Device: abi.StatusActive})
		all.Go(func() {
			for range 15 {
				c := p.connect(t, key)
				if s, err := c.OpenStreamSync(t.Context()); err == nil {
					_, _ = s.Write(request(1, abi.OpDecide, decideBody()))
					_, _ = abi.ReadFrame(s, nil) // or the connection has ended
				}
				c.CloseWithError(0, "")
			}
		})
		go func() {
			for status := abi.StatusSuspended; ; status = status%4 + 1 {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					n.set(public(key), abi.Standing{Known: true, Account: id, Device: status})
					p.Recheck(id)
				}
			}
		}()
	}
	all.Wait()
	close(stop)
	eventually(t, func() bool { st := p.Stats(); return st.Connections == 0 && st.Streams == 0 })
}
