package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/contracts/access"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// The load of the benchmark, as the targets name it.
const (
	benchConns    = 16
	benchInFlight = 4
	benchRules    = 200
	benchEntities = 10_000
	benchTime     = 4 * time.Second
	benchRounds   = 3
	benchTxs      = 10_000
)

// BenchmarkRatios holds a whole node, a process of its own, against a bare
// quic-go echo of the same frames in the same run, and prints what the targets
// ask for. It runs once, however long -benchtime is.
func BenchmarkRatios(b *testing.B) {
	n := startBenchNode(b)
	devices := n.furnish(b)
	n.restart(b)
	idle := n.rss()
	b.ReportMetric(idle, "idle-MiB")

	request, answer := n.sampleFrames(b, devices[0])
	echo := startEcho(b, len(answer))
	n.against(b, echo, devices, request, benchInFlight, "streams")
	n.against(b, echo, devices, request, 1, "pipelined")
	b.ReportMetric(n.rss(), "loaded-MiB")
	n.transactions(b)
	b.ReportMetric(0, "ns/op")
}

// against loads node and echo in turn, so that a drift of the machine meets
// both. Requests in flight stand on as many streams, or on one, pipelined:
// then several share a packet and a system call, and both cost less.
func (n *benchNode) against(b *testing.B, echo *process, devices []*key.Key, request []byte, streams int, name string) {
	var ours, bare []loadResult
	for range benchRounds {
		bare = append(bare, echo.load(b, devices, request, streams))
		ours = append(ours, n.load(b, devices, request, streams))
	}
	ourCPU, bareCPU := medianOf(ours, loadResult.cpu), medianOf(bare, loadResult.cpu)
	ourRate, bareRate := medianOf(ours, loadResult.rate), medianOf(bare, loadResult.rate)
	b.ReportMetric(ourCPU, name+"-decision-µs")
	b.ReportMetric(bareCPU, name+"-echo-µs")
	b.ReportMetric(ourCPU-bareCPU, name+"-over-echo-µs")
	b.ReportMetric(ourRate, name+"-decisions/s")
	b.ReportMetric(ourRate/bareRate, name+"-rate-of-echo")
}

// process is a server in a process of its own.
type process struct {
	cmd  *exec.Cmd
	addr string
}

// benchNode is a whole node with the bench's policy.
type benchNode struct {
	process
	home   home
	bundle *client.Bundle
	owner  *key.Key
}

func startBenchNode(b *testing.B) *benchNode {
	n := &benchNode{home: home(filepath.Join(b.TempDir(), "home"))}
	if _, err := initHome(n.home, newHome{name: "bench", clock: "trusted"}); err != nil {
		b.Fatal(err)
	}
	unlimited(b, n.home)
	var err error
	n.bundle, err = readBundle(n.home.path("bundle.json"))
	must(b, err)
	n.owner, err = key.Load(n.home.path(operatorKeyFile))
	must(b, err)
	n.start(b)
	b.Cleanup(func() { n.stop() })
	return n
}

// unlimited lets one device ask as much as it likes.
func unlimited(b *testing.B, h home) {
	f, err := os.OpenFile(h.path("postern.toml"), os.O_APPEND|os.O_WRONLY, 0)
	must(b, err)
	_, err = f.WriteString("request_rate = -1\n")
	must(b, errors.Join(err, f.Close()))
}

func (n *benchNode) start(b *testing.B) {
	n.cmd = command(b, "postern", "start", "--json", "--home", string(n.home), "--quic", "127.0.0.1:0", "--web", "off", "--peer", "off")
	var ready readyOutput
	must(b, json.Unmarshal(firstLine(b, n.cmd), &ready))
	n.addr = ready.Quic
}

func (n *benchNode) restart(b *testing.B) {
	n.stop()
	n.start(b)
}

func (p *process) stop() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

func startEcho(b *testing.B, size int) *process {
	p := &process{cmd: command(b, "echo", strconv.Itoa(size))}
	p.addr = string(bytes.TrimSpace(firstLine(b, p.cmd)))
	b.Cleanup(p.stop)
	return p
}

// command makes a command of one of the programs that TestMain put on PATH.
func command(b *testing.B, name string, args ...string) *exec.Cmd {
	path, err := exec.LookPath(name)
	must(b, err)
	cmd := exec.Command(path, args...)
	cmd.Stderr = os.Stderr
	return cmd
}

func firstLine(b *testing.B, cmd *exec.Cmd) []byte {
	out, err := cmd.StdoutPipe()
	must(b, err)
	must(b, cmd.Start())
	line, err := bufio.NewReader(out).ReadBytes('\n')
	must(b, err)
	return line
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// furnish deploys the access contract, loads the policy and enrols a device
// for each connection.
func (n *benchNode) furnish(b *testing.B) []*key.Key {
	ctx := context.Background()
	cl, err := dial(ctx, n.bundle, n.owner, n.addr)
	must(b, err)
	defer cl.Close()
	must(b, ensureAccess(ctx, cl))
	_, err = loadPolicy(ctx, cl, devContract, benchPolicy(), nil)
	must(b, err)
	devices := make([]*key.Key, benchConns)
	for i := range devices {
		devices[i], err = key.Generate()
		must(b, err)
		e := chain.Enrolment{Manufacturer: "Bench", Model: "Reader", Serial: strconv.Itoa(i)}
		_, err = enrol(ctx, cl, n.owner, devices[i], e, chain.Labels{"role": "technician"})
		must(b, err)
	}
	return devices
}

// benchPolicy has benchRules rules, of which four concern the question and the
// last of them permits, and benchEntities doors.
func benchPolicy() []byte {
	var p bytes.Buffer
	p.WriteString(`{"title":"bench","entities":[`)
	for i := range benchEntities {
		fmt.Fprintf(&p, `{"type":"door","id":"door-%d","properties":{"floor":%d}},`, i, i%40)
	}
	p.Truncate(p.Len() - 1)
	p.WriteString(`],"rules":[`)
	for i := range benchRules {
		fmt.Fprintf(&p, `{"id":"rule-%d","effect":"permit","actions":["action-%d"],"resource":{"type":"door"},"subject":{"types":["device"]},`+
			`"when":[{"eq":["subject.properties.labels.role","technician"]},{"eq":["resource.properties.floor",%d]}]},`, i, i%50, i/50)
	}
	p.Truncate(p.Len() - 1)
	p.WriteString(`]}`)
	return p.Bytes()
}

func benchRequest() *abi.DecisionRequest {
	return &abi.DecisionRequest{Action: abi.Action{Name: "action-3"}, Resource: abi.Entity{Type: "door", ID: "door-1203"}}
}

// sampleFrames is a decision's request frame, and what came back.
func (n *benchNode) sampleFrames(b *testing.B, device *key.Key) (request, answer []byte) {
	body := cbor.AppendText(cbor.AppendUint(cbor.AppendMap(nil, 2), 1), abi.DefaultDomain)
	body = abi.AppendDecisionRequest(cbor.AppendUint(body, 2), benchRequest())
	request = abi.BeginFrame(nil)
	request = abi.EndFrame(abi.AppendRequest(request, &abi.Request{ID: 1, Op: abi.OpDecide, Body: body}), 0)
	conn := rawDial(b, device, n.addr)
	defer conn.CloseWithError(0, "")
	s, err := conn.OpenStreamSync(context.Background())
	must(b, err)
	_, err = s.Write(request)
	must(b, err)
	answer, err = abi.ReadFrame(s, nil)
	must(b, err)
	response, err := abi.ParseResponse(answer)
	must(b, err)
	a, err := abi.ParseAnswer(response.Body)
	must(b, err)
	if !a.Permit {
		b.Fatalf("the bench's decision is %+v", a)
	}
	return request, answer
}

func rawDial(b *testing.B, k *key.Key, addr string) *quic.Conn {
	cert, err := k.Certificate()
	must(b, err)
	conn, err := quic.DialAddr(context.Background(), addr, &tls.Config{
		Certificates: []tls.Certificate{cert}, NextProtos: []string{abi.ALPN}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13,
	}, &quic.Config{})
	must(b, err)
	return conn
}

// loadResult is what one round of load found.
type loadResult struct {
	requests int64
	took     time.Duration
	used     time.Duration // CPU of the server
}

func (r loadResult) cpu() float64  { return float64(r.used.Microseconds()) / float64(r.requests) }
func (r loadResult) rate() float64 { return float64(r.requests) / r.took.Seconds() }

// load keeps benchInFlight requests under way on every connection, spread over
// perConn streams, for benchTime. Only the server's CPU is counted.
func (p *process) load(b *testing.B, devices []*key.Key, request []byte, perConn int) loadResult {
	var wg sync.WaitGroup
	var requests atomic.Int64
	var stop atomic.Bool
	var streams []*quic.Stream
	for _, d := range devices {
		conn := rawDial(b, d, p.addr)
		defer conn.CloseWithError(0, "")
		for range perConn {
			s, err := conn.OpenStreamSync(context.Background())
			must(b, err)
			streams = append(streams, s)
		}
	}
	began, used := time.Now(), p.cpuTime(b)
	for _, s := range streams {
		wg.Go(func() { pump(b, s, request, benchInFlight/perConn, &requests, &stop) })
	}
	<-time.After(benchTime)
	result := loadResult{requests.Load(), time.Since(began), p.cpuTime(b) - used}
	stop.Store(true)
	wg.Wait()
	return result
}

// pump writes the next request for each answer that comes.
func pump(b *testing.B, s *quic.Stream, request []byte, inFlight int, requests *atomic.Int64, stop *atomic.Bool) {
	for range inFlight {
		if _, err := s.Write(request); err != nil {
			b.Error(err)
			return
		}
	}
	r := bufio.NewReaderSize(s, 4096)
	buf := make([]byte, 4096)
	for left := inFlight; left > 0; {
		if _, err := abi.ReadFrame(r, buf); err != nil {
			b.Error(err)
			return
		}
		requests.Add(1)
		if stop.Load() {
			left--
			continue
		}
		if _, err := s.Write(request); err != nil {
			b.Error(err)
			return
		}
	}
	s.Close()
}

// cpuTime is the user and system time of the process (proc(5), stat).
func (p *process) cpuTime(b *testing.B) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	must(b, err)
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
	var ticks int64
	for _, f := range fields[11:13] {
		v, err := strconv.ParseInt(f, 10, 64)
		must(b, err)
		ticks += v
	}
	const ticksPerSecond = 100 // USER_HZ on Linux
	return time.Duration(ticks) * time.Second / ticksPerSecond
}

// rss is the resident memory in MiB.
func (p *process) rss() float64 { return p.procField("status", "VmRSS:") / 1024 }

// written is how many bytes the process had the disk write.
func (p *process) written() float64 { return p.procField("io", "write_bytes:") }

func (p *process) procField(file, name string) float64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file))
	if err != nil {
		return 0
	}
	defer f.Close()
	text, _ := io.ReadAll(f)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			v, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return v
		}
	}
	return 0
}

func medianOf(results []loadResult, value func(loadResult) float64) float64 {
	values := make([]float64, len(results))
	for i, r := range results {
		values[i] = value(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// transactions measures committed transactions: one at a time for latency,
// then benchTxs at once for rate, CPU and bytes. Each writes an entity.
func (n *benchNode) transactions(b *testing.B) {
	ctx := context.Background()
	cl, err := client.Dial(ctx, client.Config{Bundle: n.bundle, Key: n.owner, Addr: n.addr, Timeout: time.Minute})
	must(b, err)
	defer cl.Close()
	var latency []time.Duration
	for i := range 200 {
		raw := benchTx(b, cl, i)
		began := time.Now()
		_, err := cl.SubmitWait(ctx, raw)
		must(b, err)
		latency = append(latency, time.Since(began))
	}
	slices.Sort(latency)
	b.ReportMetric(float64(latency[len(latency)/2].Microseconds())/1000, "commit-p50-ms")

	raws := make([][]byte, benchTxs)
	for i := range raws {
		raws[i] = benchTx(b, cl, i)
	}
	b.ReportMetric(float64(len(raws[0])), "tx-bytes")
	began, used, written := time.Now(), n.cpuTime(b), n.written()
	must(b, submitAll(ctx, cl, raws))
	took := time.Since(began)
	b.ReportMetric(benchTxs/took.Seconds(), "tx/s")
	b.ReportMetric(float64((n.cpuTime(b)-used).Microseconds())/benchTxs, "tx-server-µs")
	b.ReportMetric((n.written()-written)/benchTxs, "written-bytes/tx")
}

func benchTx(b *testing.B, cl *client.Client, i int) []byte {
	e := &access.Entity{Ref: access.Ref{Type: "badge", ID: strconv.Itoa(i)}, Roles: []string{"staff"}}
	raw, err := cl.Sign(chain.OpCall, &chain.Call{Contract: devContract, Message: access.PutEntity(1, e)}, 2_000_000)
	must(b, err)
	return raw
}

// submitAll hands in everything as fast as the node takes it and returns when
// the last one is committed; one sender's transactions keep their order.
func submitAll(ctx context.Context, cl *client.Client, raws [][]byte) error {
	var wg sync.WaitGroup
	var next atomic.Int64
	errs := make(chan error, 64)
	for range cap(errs) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(raws)); i = next.Add(1) - 1 {
				if err := submitOne(ctx, cl, raws[i]); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	if err := <-errs; err != nil {
		return err
	}
	for _, raw := range raws[len(raws)-cap(errs):] {
		if _, err := cl.SubmitWait(ctx, raw); err != nil {
			return err
		}
	}
	return nil
}

// submitOne comes back when the node's line is full, or the sender's share of it.
func submitOne(ctx context.Context, cl *client.Client, raw []byte) error {
	for {
		_, err := cl.Submit(ctx, raw)
		if !isCode(err, abi.CodeBusy) && !isCode(err, abi.CodeRateLimited) {
			return err
		}
		<-time.After(5 * time.Millisecond)
	}
}
