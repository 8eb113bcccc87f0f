package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

var floodFor = flag.Duration("flood", 2*time.Second, "how long a network of processes is flooded, and measured without")

const (
	honestPause  = 50 * time.Millisecond // between two transactions of an honest sender
	floodSenders = 4                     // requests of the flood on their way at each node
	floodPause   = 3 * time.Millisecond  // between two of each: more leaves no processor for the nodes where all share one machine
	floodTimes   = 10                    // what comes, at least, of what the flooding owner gets in
	floodBurst   = 2000                  // of an owner at each node: ledger.Config
	floodRate    = 200                   // the same, a second
	floodJudged  = 20 * time.Second      // shorter ones are decided by what else the machine does
	floodNoise   = 400 * time.Millisecond
	floodMemory  = 96 << 10 // KiB resident: what systemd leaves a node of a lean chain
)

// TestFloodOfProcesses has the owner of one account send through every node as
// fast as these answer, while others send a transaction now and then. These
// must not wait twice as long as without, nobody may complain about the leader,
// and no node may take more memory than its unit allows.
func TestFloodOfProcesses(t *testing.T) {
	f := startFleet(t, t.TempDir(), "--direct")
	f.honest(time.Second) // whatever is slow the first time
	quiet := f.honest(*floodFor)
	began, before := time.Now(), f.complaints()
	ctx, stop := context.WithCancel(t.Context())
	flood := &flood{fleet: f}
	flooding := make(chan error)
	go func() { flooding <- flood.run(ctx) }()
	loud := f.honest(*floodFor)
	stop()
	if err := <-flooding; err != nil {
		t.Fatal(err)
	}
	t.Logf("of %d transactions of the flood %d were let in", flood.sent.Load(), flood.taken.Load())
	t.Logf("honest senders wait %s at the median and %s at p99, %s and %s without the flood",
		part(loud, 50), part(loud, 99), part(quiet, 50), part(quiet, 99))
	complaints := f.complaints() - before
	t.Logf("%d transactions made a validator complain about the leader", complaints)
	if *floodFor >= floodJudged && complaints > 0 {
		t.Error("the flood makes validators depose leaders")
	}
	if most := int64(len(f.nodes)) * (floodBurst + floodRate*int64(1+time.Since(began)/time.Second)); flood.taken.Load() > most {
		t.Errorf("the flood's owner may send %d", most)
	}
	if *floodFor >= floodJudged && part(loud, 99) > 2*part(quiet, 99)+floodNoise {
		t.Error("the flood holds up the others")
	}
	if *floodFor >= floodJudged && flood.sent.Load() < floodTimes*flood.taken.Load() {
		t.Error("that is no flood")
	}
	for i, n := range f.nodes {
		if peak := peakMemory(t, n.PID); peak > slower*floodMemory {
			t.Errorf("%s took %d KiB", n.Name, peak)
		} else {
			t.Logf("%s took %d MiB at most", memberName(i), peak>>10)
		}
	}
}

// complaints is how often a node has said in its log that the leader left out a
// transaction.
func (f *fleet) complaints() (count int) {
	f.t.Helper()
	for _, n := range f.nodes {
		text, err := os.ReadFile(home(n.Home).path(nodeLog))
		if err != nil {
			f.t.Fatal(err)
		}
		count += strings.Count(string(text), "leader-forwarding timeout expired")
	}
	return count
}

// honest has the operator of each node but the last send now and then, and
// tells how long each transaction took, ascending.
func (f *fleet) honest(during time.Duration) []time.Duration {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), goOnWithin+during)
	defer cancel()
	end := time.Now().Add(during)
	var mu sync.Mutex
	var all []time.Duration
	var group errgroup.Group
	for _, n := range f.nodes[:len(f.nodes)-1] {
		group.Go(func() error {
			cl, err := dialHome(ctx, home(n.Home), n.Quic, operatorKeyFile)
			if err != nil {
				return err
			}
			defer cl.Close()
			tick := time.NewTicker(honestPause)
			defer tick.Stop()
			for time.Now().Before(end) {
				began := time.Now()
				if _, err := f.write(ctx, cl); err != nil {
					return fmt.Errorf("%s refuses an honest sender: %w", n.Name, err)
				}
				mu.Lock()
				all = append(all, time.Since(began))
				mu.Unlock()
				<-tick.C
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		f.t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// part is the duration below which so many percent of an ascending list are.
func part(list []time.Duration, percent int) time.Duration {
	return list[min(len(list)*percent/100, len(list)-1)].Round(time.Millisecond)
}

// flood is one owner that sends what it can.
type flood struct {
	*fleet
	sent, taken atomic.Int64
}

func (f *flood) run(ctx context.Context) error {
	owner := home(f.nodes[len(f.nodes)-1].Home)
	var group errgroup.Group
	for _, n := range f.nodes {
		cl, err := dialHome(ctx, owner, n.Quic, operatorKeyFile)
		if err != nil {
			return err
		}
		defer cl.Close()
		for range floodSenders {
			group.Go(func() error { return f.send(ctx, cl) })
		}
	}
	return group.Wait()
}

// send signs and submits until ctx ends, and waits for no block.
func (f *flood) send(ctx context.Context, cl *client.Client) error {
	k, err := key.Generate()
	if err != nil {
		return err
	}
	tick := time.NewTicker(floodPause)
	defer tick.Stop()
	for ; ctx.Err() == nil; <-tick.C {
		raw, err := cl.Sign(chain.OpGrant, &chain.Grant{Key: k.Public(), Roles: abi.RoleAuditor}, 0)
		if err != nil {
			return err
		}
		_, err = cl.Submit(ctx, raw)
		f.sent.Add(1)
		if err == nil {
			f.taken.Add(1)
		} else if ctx.Err() == nil && !isCode(err, abi.CodeRateLimited) && !isCode(err, abi.CodeBusy) {
			return err
		}
	}
	return nil
}

// peakMemory is the most that a process had resident, in KiB.
func peakMemory(t *testing.T, pid int) (peak int64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &peak); n == 1 {
			return peak
		}
	}
	t.Fatalf("process %d has no memory", pid)
	return 0
}
