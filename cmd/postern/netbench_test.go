package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/contracts/access"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// The load of the network's benchmark.
const (
	netTxs    = 6_000            // transactions at saturation, few enough that none expires meanwhile
	netSingle = 200              // transactions one after another
	netIdle   = 60 * time.Second // for what an idle network takes
)

// BenchmarkNetwork measures networks of whole nodes, a process each, over real
// QUIC on loopback: committed transactions that write an entity of the access
// contract, every signature checked. It runs once, however long -benchtime is.
func BenchmarkNetwork(b *testing.B) {
	for _, validators := range []int{1, 4, 7} {
		b.Run(fmt.Sprintf("validators=%d", validators), func(b *testing.B) { benchNetwork(b, validators) })
	}
}

func benchNetwork(b *testing.B, validators int) {
	n := startBenchNetwork(b, validators, 1)
	n.idle(b)
	n.single(b)
	live := n.saturate(b)
	n.catchUp(b, live)
	b.ReportMetric(0, "ns/op")
}

// benchedNetwork is a network of processes with a client to each.
type benchedNetwork struct {
	dir     string
	cmd     *exec.Cmd
	nodes   []benchNode
	clients []*client.Client
	numbers int // entities written
}

func startBenchNetwork(b *testing.B, validators, followers int) *benchedNetwork {
	n := &benchedNetwork{dir: filepath.Join(b.TempDir(), "net")}
	args := []string{"testnet", "--json", "--direct", "--home", n.dir, "--validators", strconv.Itoa(validators), "--followers", strconv.Itoa(followers)}
	n.start(b, args)
	n.stop()
	homes, err := filepath.Glob(filepath.Join(n.dir, "n*"))
	must(b, err)
	for _, h := range homes {
		unlimited(b, home(h))
	}
	ready := n.start(b, args)
	b.Cleanup(n.stop)
	for _, m := range ready.Nodes {
		node := benchNode{process: process{cmd: &exec.Cmd{Process: processOf(b, m.PID)}, addr: m.Quic}, home: home(m.Home)}
		n.nodes = append(n.nodes, node)
		n.clients = append(n.clients, n.dial(b, &node))
	}
	_, err = loadPolicy(context.Background(), n.clients[0], devContract, benchPolicy(), nil)
	must(b, err)
	return n
}

func (n *benchedNetwork) start(b *testing.B, args []string) (ready testnetOutput) {
	n.cmd = command(b, "postern", args...)
	must(b, json.Unmarshal(firstLine(b, n.cmd), &ready))
	return ready
}

func (n *benchedNetwork) stop() {
	n.cmd.Process.Signal(syscall.SIGTERM)
	n.cmd.Wait()
}

func (n *benchedNetwork) dial(b *testing.B, node *benchNode) *client.Client {
	bundle, err := readBundle(n.nodes[0].home.path("bundle.json"))
	must(b, err)
	owner, err := key.Load(n.nodes[0].home.path(operatorKeyFile))
	must(b, err)
	cl, err := client.Dial(context.Background(), client.Config{Bundle: bundle, Key: owner, Addr: node.addr, Timeout: time.Minute})
	must(b, err)
	b.Cleanup(func() { cl.Close() })
	return cl
}

// total adds up what each node is asked for.
func (n *benchedNetwork) total(value func(*benchNode) float64) (sum float64) {
	for i := range n.nodes {
		sum += value(&n.nodes[i])
	}
	return sum
}

func (n *benchedNetwork) cpu(b *testing.B) float64 {
	return n.total(func(node *benchNode) float64 { return float64(node.cpuTime(b).Microseconds()) })
}

func (n *benchedNetwork) written() float64 {
	return n.total(func(node *benchNode) float64 { return node.written() })
}

func (n *benchedNetwork) rss() float64 {
	return n.total(func(node *benchNode) float64 { return node.rss() }) / float64(len(n.nodes))
}

// idle measures a network that nobody asks anything.
func (n *benchedNetwork) idle(b *testing.B) {
	<-time.After(5 * time.Second) // what starting began
	count := float64(len(n.nodes))
	used, written := n.cpu(b), n.written()
	<-time.After(netIdle)
	b.ReportMetric(100*(n.cpu(b)-used)/count/float64(netIdle.Microseconds()), "idle-CPU-%/node")
	b.ReportMetric((n.written()-written)/count, "idle-bytes/node")
	b.ReportMetric(n.rss(), "idle-MiB/node")
}

// next signs transactions by way of a client.
func (n *benchedNetwork) next(b *testing.B, cl *client.Client, count int) [][]byte {
	raws := make([][]byte, count)
	for i := range raws {
		n.numbers++
		raws[i] = netTx(b, cl, n.numbers)
	}
	return raws
}

// netTx is a transaction of 250 bytes, the size that others measure with.
func netTx(b *testing.B, cl *client.Client, i int) []byte {
	e := &access.Entity{Ref: access.Ref{Type: "badge", ID: fmt.Sprintf("badge of the north gate, holder number %014d", i)}, Roles: []string{"staff"}}
	raw, err := cl.Sign(chain.OpCall, &chain.Call{Contract: devContract, Message: access.PutEntity(1, e)}, 2_000_000)
	must(b, err)
	return raw
}

// single measures one transaction after another.
func (n *benchedNetwork) single(b *testing.B) {
	raws := n.next(b, n.clients[0], netSingle)
	written := n.written()
	var latency []time.Duration
	for _, raw := range raws {
		began := time.Now()
		_, err := n.clients[0].SubmitWait(context.Background(), raw)
		must(b, err)
		latency = append(latency, time.Since(began))
	}
	slices.Sort(latency)
	b.ReportMetric(float64(latency[len(latency)/2].Microseconds())/1000, "single-p50-ms")
	b.ReportMetric(float64(latency[len(latency)*99/100].Microseconds())/1000, "single-p99-ms")
	b.ReportMetric((n.written()-written)/netSingle/float64(len(n.nodes)), "single-bytes/node")
	b.ReportMetric(float64(len(raws[0])), "tx-bytes")
}

// saturate hands in transactions to all nodes as fast as they take them, and
// returns the rate.
func (n *benchedNetwork) saturate(b *testing.B) float64 {
	share := netTxs / len(n.clients)
	var raws [][][]byte
	for _, cl := range n.clients {
		raws = append(raws, n.next(b, cl, share))
	}
	began, used, written := time.Now(), n.cpu(b), n.written()
	var wg sync.WaitGroup
	for i, cl := range n.clients {
		wg.Go(func() {
			if err := submitAll(context.Background(), cl, raws[i]); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	count := float64(share * len(n.clients))
	rate := count / time.Since(began).Seconds()
	b.ReportMetric(rate, "tx/s")
	b.ReportMetric((n.cpu(b)-used)/count, "tx-CPU-µs")
	b.ReportMetric((n.written()-written)/count/float64(len(n.nodes)), "tx-bytes/node")
	b.ReportMetric(n.rss(), "loaded-MiB/node")
	return rate
}

// catchUp stops the follower, makes blocks, and measures how fast it fetches
// and executes them.
func (n *benchedNetwork) catchUp(b *testing.B, live float64) {
	last := len(n.nodes) - 1
	name := strconv.Itoa(last + 1)
	control := func(do ...string) {
		must(b, command(b, "postern", append([]string{"testnet", do[0], "--home", n.dir}, do[1:]...)...).Run())
	}
	control("kill", name)
	must(b, submitAll(context.Background(), n.clients[0], n.next(b, n.clients[0], netTxs)))
	s, err := n.clients[0].Status(context.Background())
	must(b, err)
	began := time.Now()
	control("heal", name)
	for {
		f, err := n.clients[last].Status(context.Background())
		if err == nil && f.Height >= s.Height {
			break
		}
		<-time.After(20 * time.Millisecond)
	}
	rate := netTxs / time.Since(began).Seconds()
	b.ReportMetric(rate, "catch-up-tx/s")
	b.ReportMetric(rate/live, "catch-up-of-live")
}

// processOf is a running process, to be looked at.
func processOf(b *testing.B, pid int) *os.Process {
	p, err := os.FindProcess(pid)
	must(b, err)
	return p
}
