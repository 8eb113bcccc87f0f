package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/contracts/access"
	"github.com/seed79541315/postern/storage"
)

// BenchmarkAgreement measures validators in one process, each a whole node with
// its own disk and UDP socket on loopback: what agreeing costs over all nodes,
// without clients. Transactions write an entity of the access contract; they
// are submitted to all nodes in turn, and every node checks every signature.
func BenchmarkAgreement(b *testing.B) {
	for _, validators := range []int{1, 4, 7, 16} {
		b.Run(fmt.Sprintf("validators=%d", validators), func(b *testing.B) {
			s := newSimulation(b, 1, validators, 0)
			s.tune = func(c *config) {
				c.listen, c.store = listenUDP, storage.Config{}
			}
			s.startAll()
			debug.SetMemoryLimit(int64(validators) * (leanMemory - outsideGo) << 20) // each node set it as if alone
			s.deployAccess()
			raws := s.entities(b.N)
			began, used := time.Now(), cpuTime()
			b.ResetTimer()
			s.submitAll(raws, 512)
			b.StopTimer()
			b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "tx/s")
			b.ReportMetric(float64((cpuTime()-used).Microseconds())/float64(b.N), "CPU-µs/tx")
			b.ReportMetric(float64(len(raws[0])), "tx-bytes")
			s.latency(b)
		})
	}
}

// latency measures one transaction after another.
func (s *simulation) latency(b *testing.B) {
	var took []time.Duration
	for _, raw := range s.entities(100) {
		began := time.Now()
		if _, err := s.nodes[0].submit(context.Background(), raw); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[50].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[99].Microseconds())/1000, "p99-ms")
}

// cpuTime is what this process has used, user and system.
func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sign makes a transaction of the operator.
func (s *simulation) sign(op chain.Op, args []byte, gas uint64) []byte {
	body := chain.Body{Chain: chain.ChainID(s.genesis), ValidUntil: time.Now().Add(9 * time.Minute).UnixMilli(), Gas: gas, Op: op, Args: args}
	raw, err := chain.SignTx(&body, s.operator)
	s.check(err)
	return raw
}

// must brings a transaction of the operator into a block; it must succeed.
func (s *simulation) must(op chain.Op, args []byte, gas uint64) {
	s.t.Helper()
	res, err := s.nodes[0].submit(context.Background(), s.sign(op, args, gas))
	s.check(err)
	o, err := chain.ParseOutcome(res.Outcome)
	if err != nil || o.Code != abi.OK {
		s.t.Fatalf("%s: %v %d %v", op, o.Code, o.Abort, err)
	}
}

// deployAccess deploys the access contract and activates an empty policy.
func (s *simulation) deployAccess() {
	s.t.Helper()
	code := contracts.Access().Wasm
	hash := abi.Hash(sha256.Sum256(code))
	upload := chain.Upload{Code: hash, Length: uint64(len(code))}
	s.must(chain.OpUpload, upload.Append(nil), 1_000_000)
	for i, part := range slices.Collect(slices.Chunk(code, abi.MaxChunk)) {
		chunk := chain.Chunk{Code: hash, Index: uint64(i), Data: part}
		s.must(chain.OpChunk, chunk.Append(nil), 5_000_000)
	}
	params := chain.DefaultParams()
	deploy := chain.Deploy{Name: devContract, Code: hash}
	s.must(chain.OpDeploy, deploy.Append(nil), params.TxGas)
	doc, err := access.ParseDocument([]byte(`{"title":"bench","entities":[],"rules":[]}`))
	s.check(err)
	for _, m := range doc.Messages(1, 0) {
		call := chain.Call{Contract: devContract, Message: m}
		s.must(chain.OpCall, call.Append(nil), 10_000_000)
	}
}

// entities are transactions that write an entity each.
func (s *simulation) entities(count int) [][]byte {
	raws := make([][]byte, count)
	for i := range raws {
		e := access.Entity{Ref: access.Ref{Type: "badge", ID: fmt.Sprintf("badge of the north gate, holder number %014d", s.rng.Uint32())}, Roles: []string{"staff"}}
		call := chain.Call{Contract: devContract, Message: access.PutEntity(1, &e)}
		raws[i] = s.sign(chain.OpCall, call.Append(nil), 2_000_000)
	}
	return raws
}

// submitAll brings transactions into blocks, so many at a time.
func (s *simulation) submitAll(raws [][]byte, atATime int) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for worker := range atATime {
		wg.Go(func() {
			n := s.nodes[worker%len(s.nodes)]
			for i := next.Add(1) - 1; i < int64(len(raws)); i = next.Add(1) - 1 {
				for {
					_, err := n.submit(context.Background(), raws[i])
					if err == nil {
						break
					}
					if !isCode(err, abi.CodeBusy) && !isCode(err, abi.CodeRateLimited) {
						s.t.Error(err)
						return
					}
					<-time.After(5 * time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
}
