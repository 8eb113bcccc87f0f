package wasmtest

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed79541315/postern/abi"
)

// Bench measures a call that has to succeed, again and again on the same state:
// what it changes is undone. It reports the processor's time and gas of a call,
// and the state's bytes.
func (c *Chain) Bench(b *testing.B, entry abi.Entry, message []byte) {
	b.Helper()
	e := newEnv(c)
	call := c.call(entry, message, e)
	var gas uint64
	before := CPU(b)
	for b.Loop() {
		res, err := c.runtime.Call(context.Background(), call)
		if err != nil {
			b.Fatalf("%v %x: %v, code %d", entry, message, err, res.AbortCode)
		}
		gas = res.GasUsed
		e.end(false)
		c.state.log = true
	}
	c.state.log = false
	b.ReportMetric(float64(CPU(b)-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(gas), "gas/op")
	_, bytes := c.Size()
	b.ReportMetric(float64(bytes), "state-B")
}

// CPU is the processor's time that the process has used, in ns: wall time says
// little on a machine that others use as well.
func CPU(tb testing.TB) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
