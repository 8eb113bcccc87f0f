package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

func deviceSimCommand() *cli.Command {
	return &cli.Command{
		Name: "sim", Usage: "act as many devices that report and ask",
		Description: `Each device has a key of its own in --keys, a connection of its own, and sends
--rate requests a second: reports of a temperature that wanders, or the packs of
--senml, and between them decisions, where --action and --resource say what to ask.
With --enrol the devices are enrolled first under the account of --key; those that
are, already, are left as they are. It ends after --for with a summary.

Examples:

   postern device sim --count 20 --keys sim --enrol --for 30s
   postern device sim --count 200 --keys sim --rate 5 --action open --resource door:1 --json
   postern device sim --count 1 --keys sim --senml recorded.jsonl`,
		Flags: withConnect(
			&cli.IntFlag{Name: "count", Value: 10, Usage: "how many devices: `N`"},
			&cli.StringFlag{Name: "keys", Value: "sim", Usage: "`DIR` of their keys, which are made where they are not there"},
			&cli.BoolFlag{Name: "enrol", Usage: "enrol them first"},
			&cli.StringFlag{Name: "model", Value: "simulated", Usage: "their model, with --enrol"},
			&cli.StringSliceFlag{Name: "label", Usage: "`NAME=VALUE` of each, with --enrol; may be repeated"},
			&cli.Float64Flag{Name: "rate", Value: 1, Usage: "requests a second of each device"},
			&cli.DurationFlag{Name: "for", Value: 10 * time.Second, Usage: "how long"},
			&cli.StringFlag{Name: "senml", Usage: "`FILE` with a SenML pack (JSON) on each line, sent in turn"},
			&cli.StringFlag{Name: "action", Usage: "what they ask to do: `NAME`"},
			&cli.StringFlag{Name: "resource", Usage: "what they ask to do it to: `TYPE:ID`"},
			&cli.StringFlag{Name: "domain", Value: abi.DefaultDomain, Usage: "the policy `DOMAIN` they ask"},
			&cli.BoolFlag{Name: "cached", Usage: "keep permits for as long as the policy lets them live"},
		),
		Action: deviceSim,
	}
}

// Bounds of a simulation: a socket and some 100 KiB for each device.
const (
	maxSimulated = 2000
	maxSimRate   = 1000
	simDials     = 8 // handshakes at a time: a gateway has an address prove itself above some dozens a second
)

// fleetOfDevices are simulated devices and what came of what they sent.
type fleetOfDevices struct {
	list   []*simulatedDevice
	ask    *abi.DecisionRequest // nil: they ask nothing
	domain string
	cached bool
	packs  [][]byte // nil: they make their own
	every  time.Duration

	reports, decisions          histogram
	permits, denials, connected atomic.Int64
	failures, levels            tally
}

// tally counts by name.
type tally struct {
	mu    sync.Mutex
	count map[string]uint64 // guarded by mu
}

func (t *tally) add(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count == nil {
		t.count = map[string]uint64{}
	}
	t.count[name]++
}

func (t *tally) total() (n uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.count {
		n += c
	}
	return n
}

func deviceSim(c *cli.Context) error {
	f, err := newSimFleet(c)
	if err != nil {
		return err
	}
	out := printer(c)
	if err := f.loadKeys(c.String("keys"), c.Int("count")); err != nil {
		return err
	}
	cl, owner, err := connect(c, operatorKeyFile)
	if err != nil {
		return err
	}
	defer cl.Close()
	if c.Bool("enrol") {
		if err := f.enrol(c, cl, owner, out); err != nil {
			return err
		}
	}
	bundle, err := readBundle(bundlePath(c))
	if err != nil {
		return err
	}
	addr, err := nodeAddr(c.String("node"), home(c.String("home")), bundle)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("for"))
	defer cancel()
	began := time.Now()
	f.run(ctx, client.Config{Bundle: cl.Bundle(), Addr: addr, Attempts: 1}, out)
	return f.show(out, time.Since(began))
}

func newSimFleet(c *cli.Context) (*fleetOfDevices, error) {
	f := &fleetOfDevices{domain: c.String("domain"), cached: c.Bool("cached")}
	if n := c.Int("count"); n < 1 || n > maxSimulated {
		return nil, usagef("--count %d: 1 to %d devices", n, maxSimulated)
	}
	rate := c.Float64("rate")
	if !(rate > 0 && rate <= maxSimRate) {
		return nil, usagef("--rate %v: more than 0 and at most %d requests a second of each device", rate, maxSimRate)
	}
	f.every = time.Duration(float64(time.Second) / rate)
	if c.IsSet("action") != c.IsSet("resource") {
		return nil, usagef("--action and --resource go together")
	}
	if c.IsSet("action") {
		typ, id, err := typeAndID(c.String("resource"), "--resource")
		if err != nil {
			return nil, err
		}
		f.ask = client.Ask(c.String("action"), typ, id)
	}
	if file := c.String("senml"); file != "" {
		packs, err := readPacks(file)
		if err != nil {
			return nil, err
		}
		f.packs = packs
	}
	return f, nil
}

// loadKeys loads the devices' keys and makes those that are not there.
func (f *fleetOfDevices) loadKeys(dir string, count int) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for i := range count {
		k, err := loadOrMakeKey(filepath.Join(dir, fmt.Sprintf("device-%04d.key", i+1)))
		if err != nil {
			return err
		}
		f.list = append(f.list, newSimulatedDevice(f, i, k))
	}
	return nil
}

// enrol enrols the devices that are not, some at a time.
func (f *fleetOfDevices) enrol(c *cli.Context, cl *client.Client, owner *key.Key, out output) error {
	labels, err := parseLabels(c.StringSlice("label"))
	if err != nil {
		return err
	}
	account, err := named{key: owner.Public()}.account(c.Context, cl)
	if err != nil {
		return err
	}
	var done, made atomic.Int64
	err = eachOf(c.Context, f.list, simDials, func(ctx context.Context, d *simulatedDevice) error {
		e := enrolment{key: d.key, labels: labels, Enrolment: chain.Enrolment{
			Manufacturer: "postern", Model: c.String("model"), Serial: fmt.Sprintf("sim-%x", d.id[:8]),
		}}
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		_, err := e.submit(ctx, cl, account)
		if err == nil {
			made.Add(1)
		}
		if n := done.Add(1); n%100 == 0 {
			out.progressf("enrolled %d of %d", n, len(f.list))
		}
		if isCode(err, abi.CodeDeviceExists) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("enrolling: %w", err)
	}
	out.progressf("%s enrolled, %d of them now", many(len(f.list), "device"), made.Load())
	return nil
}

// eachOf does something for all of a list, some at a time, and ends at the first
// error.
func eachOf[T any](ctx context.Context, list []T, atATime int, do func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan T)
	var workers sync.WaitGroup
	for range min(atATime, len(list)) {
		workers.Go(func() {
			for item := range next {
				if err := do(ctx, item); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, item := range list {
		select {
		case next <- item:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	workers.Wait()
	return context.Cause(ctx)
}

// run lets all devices act until ctx ends, and tells how it goes.
func (f *fleetOfDevices) run(ctx context.Context, config client.Config, out output) {
	dials := make(chan struct{}, simDials)
	var devices sync.WaitGroup
	for _, d := range f.list {
		devices.Go(func() { d.run(ctx, config, dials) })
	}
	ended := make(chan struct{})
	go func() { devices.Wait(); close(ended) }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			out.progressf("%d of %d connected, %d reports, %d decisions, %d failures", f.connected.Load(), len(f.list),
				f.reports.output().Count, f.decisions.output().Count, f.failures.total())
		}
	}
}

// show prints the summary.
func (f *fleetOfDevices) show(out output, took time.Duration) error {
	v := struct {
		Devices   int               `json:"devices"`
		Seconds   float64           `json:"seconds"`
		Reports   latencyOutput     `json:"reports"`
		Decisions latencyOutput     `json:"decisions"`
		Permits   int64             `json:"permits"`
		Denials   int64             `json:"denials"`
		Judged    map[string]uint64 `json:"judged,omitempty"`
		Failures  map[string]uint64 `json:"failures,omitempty"`
	}{len(f.list), took.Seconds(), f.reports.output(), f.decisions.output(), f.permits.Load(), f.denials.Load(), f.levels.count, f.failures.count}
	text := fmt.Sprintf("%s in %.1f s", many(v.Devices, "device"), v.Seconds)
	for _, l := range []struct {
		name string
		latencyOutput
	}{{"reports", v.Reports}, {"decisions", v.Decisions}} {
		if l.Count > 0 {
			text += fmt.Sprintf("\n%-9s  %d, %.0f/s, p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, max %.2f ms", l.name, l.Count, float64(l.Count)/v.Seconds, l.P50, l.P90, l.P99, l.Max)
		}
	}
	if v.Decisions.Count > 0 {
		text += fmt.Sprintf("\n%d permits, %d denials", v.Permits, v.Denials)
	}
	for name, n := range v.Judged {
		text += fmt.Sprintf("\njudged %s: %d", name, n)
	}
	for name, n := range v.Failures {
		text += fmt.Sprintf("\nfailed with %s: %d", name, n)
	}
	if err := out.show(v, "%s", text); err != nil {
		return err
	}
	if v.Reports.Count+v.Decisions.Count == 0 {
		if v.Failures[abi.CodeUnknownKey.Name()] > 0 {
			return errors.New("no device was answered; those that the chain does not know are enrolled with --enrol")
		}
		return errors.New("no device was answered")
	}
	return nil
}
