package access_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/runtime/wasm"
)

// largePolicy has entities and 200 rules, perList of which concern
// one action on one type. The last rule of each list
// permits what the benchmark asks.
func largePolicy(entities, perList int) string {
	var b strings.Builder
	b.WriteString(`{"entities":[`)
	for i := range entities {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"type":"device","id":"%064x","roles":["reader","staff"],"properties":{"site":"vienna","floor":%d,"labels":{"role":"technician"}}}`, i, i%40)
	}
	b.WriteString(`],"rules":[`)
	for i := range 200 {
		if i > 0 {
			b.WriteByte(',')
		}
		role := "nobody"
		if i%perList == perList-1 {
			role = "staff"
		}
		fmt.Fprintf(&b, `{"id":"rule-%d","effect":"permit","actions":["act-%d"],"resource":{"type":"lock"},"subject":{"types":["device"],"roles":["%s"]},
			"when":[{"eq":["subject.properties.labels.role","technician"]},{"ge":["subject.properties.floor",0]},{"eq":["context.mode","normal"]}]}`,
			i, i/perList, role)
	}
	b.WriteString(`]}`)
	return b.String()
}

func BenchmarkDecide(b *testing.B) {
	for _, engine := range []wasm.Engine{wasm.EngineCompiler, wasm.EngineInterpreter} {
		for _, perList := range []int{1, 4, 20} {
			b.Run(fmt.Sprintf("%v/%d-rules-concern-it", engine, perList), func(b *testing.B) {
				benchmarkDecide(b, engine, perList)
			})
		}
	}
}

func benchmarkDecide(b *testing.B, engine wasm.Engine, perList int) {
	c := newChain(b, engine)
	c.load(parse(b, largePolicy(10_000, perList)), 0)
	in := c.input
	in.Domain = "default"
	in.Message = abi.AppendDecisionRequest(nil, &abi.DecisionRequest{
		Subject:  &abi.Entity{Type: "device", ID: fmt.Sprintf("%064x", 4711), Properties: properties(b, `{"model":"b2"}`)},
		Action:   abi.Action{Name: "act-3"},
		Resource: abi.Entity{Type: "lock", ID: "front-door"},
		Context:  properties(b, `{"mode":"normal"}`),
	})
	c.env.entry = abi.EntryDecide
	call := wasm.Call{
		Code: contracts.Access().Hash, Entry: abi.EntryDecide,
		Load:  func() ([]byte, error) { return contracts.Access().Wasm, nil },
		Input: abi.AppendInput(nil, &in), Gas: 1 << 40, Env: &c.env,
	}
	var gas uint64
	start := cpuTime(b)
	for b.Loop() {
		res, err := c.runtime.Call(context.Background(), call)
		if err != nil {
			b.Fatal(err)
		}
		gas = res.GasUsed
	}
	b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(gas), "gas/op")
}

// cpuTime is the process's CPU time in ns: wall time says little on a machine
// that others use as well.
func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
