package peer

import (
	"net"
	"slices"
	"syscall"
	"testing"
	"time"
)

// pair is two connected nodes on the loopback interface.
func pair(b *testing.B, set func(n *node)) (from, to *node) {
	b.Helper()
	w := newWorld(b)
	var nodes [2]*node
	for i := range nodes {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		w.set(idOf(i), Validator)
		n := &node{host: i}
		if i == 1 {
			set(n)
		}
		c := Config{Conn: conn, Key: keyOf(i), Chain: testChain, Class: w.class, Handler: quiet{n}}
		if i == 1 {
			c.Peers = []string{nodes[0].Addr().String()}
		}
		n.run(b, c)
		nodes[i] = n
	}
	for {
		a, b := nodes[0].Changed(), nodes[1].Changed()
		if nodes[0].lookup(nodes[1].key) != nil && nodes[1].lookup(nodes[0].key) != nil {
			return nodes[0], nodes[1]
		}
		select {
		case <-a:
		case <-b:
		}
	}
}

// quiet keeps nothing of what arrives.
type quiet struct{ *node }

func (q quiet) Consensus(Key, []byte) {
	if q.onConsensus != nil {
		q.onConsensus()
	}
}

func (q quiet) Transaction(_ Key, raw []byte) error { return q.onTransaction(raw) }

// cpu is the processor time of this process.
func cpu() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkMessages sends consensus messages one way as fast as they are taken
// in, over loopback UDP. CPU is that of both nodes.
func BenchmarkMessages(b *testing.B) {
	for _, size := range []int{150, 2 << 10, 64 << 10, 256 << 10} {
		b.Run(bytesName(size), func(b *testing.B) {
			places := make(chan struct{}, min(1024, 8<<20/size)) // messages under way
			from, to := pair(b, func(n *node) { n.onConsensus = func() { <-places } })
			message := make([]byte, size)
			b.SetBytes(int64(size))
			start := cpu()
			b.ResetTimer()
			for range b.N {
				places <- struct{}{}
				from.Send(to.key, message)
			}
			for range cap(places) {
				places <- struct{}{} // the last has arrived
			}
			b.StopTimer()
			b.ReportMetric(float64((cpu()-start).Microseconds())/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

// BenchmarkLatency sends one message at a time and waits for one back.
func BenchmarkLatency(b *testing.B) {
	back := make(chan struct{}, 1)
	var from, to *node
	ready := make(chan struct{})
	from, to = pair(b, func(n *node) {
		n.onConsensus = func() { <-ready; to.Send(from.key, make([]byte, 150)) }
	})
	from.onConsensus = func() { back <- struct{}{} }
	close(ready)
	took := make([]time.Duration, 0, b.N)
	message := make([]byte, 150)
	start := cpu()
	b.ResetTimer()
	for range b.N {
		t := time.Now()
		from.Send(to.key, message)
		<-back
		took = append(took, time.Since(t))
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64((cpu()-start).Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

func bytesName(n int) string {
	switch n {
	case 150:
		return "vote150B"
	case 2 << 10:
		return "2KiB"
	case 64 << 10:
		return "64KiB"
	}
	return "block256KiB"
}
