package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/contracts/access"
	"github.com/seed79541315/postern/storage"
)

// joinKeys is how many keys the state has that BenchmarkJoin joins by.
const joinKeys = 1_000_000

// BenchmarkJoin measures how long a new node takes, from its start with nothing
// but a genesis until it is level with the chain, to join by a snapshot of a
// million keys over QUIC on loopback, with the disk's own syncs. It runs once,
// and takes minutes to make the state.
func BenchmarkJoin(b *testing.B) {
	params := chain.DefaultParams()
	params.GasQuota, params.StorageQuota, params.SnapshotBlocks = 1<<60, 1<<50, 64
	s := newSimulationWith(b, 1, 1, 1, params)
	s.tune = func(c *config) {
		c.listen, c.store, c.Join = listenUDP, storage.Config{}, "snapshot"
	}
	validator, joiner := s.nodes[0], s.nodes[1]
	validator.start()
	debug.SetMemoryLimit(256 << 20)
	s.deployAccess()
	s.fill(joinKeys)
	for validator.node.ledger.Head().Height%64 != 0 {
		s.must(chain.OpGrant, s.grantArgs(), 1_000_000)
	}
	s.must(chain.OpGrant, s.grantArgs(), 1_000_000)
	validator.end() // what the joiner takes from a node that has just started
	validator.start()
	began, used := time.Now(), cpuTime()
	joiner.start()
	s.await(validator.node.ledger.Head().Height, time.Minute)
	b.ReportMetric(time.Since(began).Seconds(), "join-s")
	b.ReportMetric((cpuTime() - used).Seconds(), "join-CPU-s")
	b.ReportMetric(float64(joiner.node.store.Stats().Keys), "keys")
	b.ReportMetric(0, "ns/op")
	if joiner.node.ledger.Base() == 1 {
		b.Error("the node did not join by a snapshot")
	}
}

func (s *simulation) grantArgs() []byte {
	args := chain.Grant{Key: s.makeKey().Public(), Roles: abi.RoleOwner}
	return args.Append(nil)
}

// fill writes a policy of as many entities, each a key of the state.
func (s *simulation) fill(keys int) {
	s.t.Helper()
	doc := access.Document{Title: "many"}
	for i := range keys {
		doc.Entities = append(doc.Entities, access.Entity{Ref: access.Ref{Type: "door", ID: fmt.Sprintf("door-%07d", i)}, Roles: []string{"outer"}})
	}
	began := time.Now()
	messages := doc.Messages(2, 1)
	for i, m := range messages {
		call := chain.Call{Contract: devContract, Message: m}
		raw := s.sign(chain.OpCall, call.Append(nil), chain.DefaultParams().TxGas)
		for {
			_, err := service{s.nodes[0].node}.Submit(context.Background(), raw, i == len(messages)-1)
			if err == nil {
				break
			}
			if !isCode(err, abi.CodeBusy) && !isCode(err, abi.CodeRateLimited) {
				s.t.Fatal(err)
			}
			<-time.After(5 * time.Millisecond)
		}
	}
	fmt.Fprintf(os.Stderr, "%d keys in %v\n", s.nodes[0].node.store.Stats().Keys, time.Since(began).Round(time.Second))
}
