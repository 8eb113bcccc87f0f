package peer

import (
	"net"
	"runtime"
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

// BenchmarkIdle connects 16 validators with each other, all in this process,
// and reports what one end of a connection takes: memory after a collection,
// before and after its streams are in use, and processor time over b.N seconds.
func BenchmarkIdle(b *testing.B) {
	const count = 16
	w := newWorld(b)
	var nodes []*node
	for host := range count {
		nodes = append(nodes, benchNode(b, w, host))
	}
	ends := float64(count * (count - 1))
	before := memory()
	for i, n := range nodes {
		for _, other := range nodes[:i] {
			n.book.hint(other.key, other.Addr().String(), n.key)
		}
		n.poke()
	}
	for _, n := range nodes {
		for {
			changed := n.Changed()
			if len(n.Connected()) == count-1 {
				break
			}
			<-changed
		}
	}
	<-time.After(time.Second) // what the handshakes held is given back
	connected := memory()
	for _, n := range nodes {
		for _, c := range n.all() {
			n.Send(c.key, make([]byte, 150))
			n.SendTransaction(c.key, make([]byte, 150))
		}
	}
	<-time.After(time.Second)
	start := cpu()
	b.ResetTimer()
	for range b.N {
		<-time.After(time.Second)
	}
	b.StopTimer()
	b.ReportMetric(float64((cpu()-start).Microseconds())/float64(b.N)/ends, "cpu-µs/s/end")
	b.ReportMetric(float64(connected-before)/ends/1024, "KiB/end")
	b.ReportMetric(float64(memory()-before)/ends/1024, "KiB/used-end")
}

// benchNode is a node on the loopback interface that dials whom it learns of.
func benchNode(b *testing.B, w *world, host int) *node {
	b.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	w.set(idOf(host), Validator)
	n := &node{host: host}
	n.run(b, Config{Conn: conn, Key: keyOf(host), Chain: testChain, Class: w.class, Handler: n, Learn: true})
	return n
}

// memory is what the heap and the stacks hold, in bytes.
func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
