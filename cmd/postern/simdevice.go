package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// simulatedDevice is one of a fleet. One goroutine owns it.
type simulatedDevice struct {
	fleet *fleetOfDevices
	key   *key.Key
	id    abi.Hash
	turn  int
	rng   *rand.Rand
	heat  int // hundredths of a degree
}

func newSimulatedDevice(f *fleetOfDevices, number int, k *key.Key) *simulatedDevice {
	return &simulatedDevice{fleet: f, key: k, id: k.AccountID(), turn: number, rng: rand.New(rand.NewPCG(uint64(number), 1)), heat: 2000 + 7*(number%100)}
}

// run connects and acts at the fleet's rate, devices evenly spread over a period.
func (d *simulatedDevice) run(ctx context.Context, config client.Config, dials chan struct{}) {
	select {
	case dials <- struct{}{}:
	case <-ctx.Done():
		return
	}
	config.Key = d.key
	cl, err := client.Dial(ctx, config)
	<-dials
	if err != nil {
		d.failed(ctx, err)
		return
	}
	defer cl.Close()
	d.fleet.connected.Add(1)
	defer d.fleet.connected.Add(-1)
	if pauseFor(ctx, time.Duration(d.rng.Int64N(int64(d.fleet.every)))) != nil {
		return
	}
	tick := time.NewTicker(d.fleet.every)
	defer tick.Stop()
	for {
		d.act(ctx, cl)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func pauseFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// act sends the next request: reports and decisions in turn, where the fleet asks.
func (d *simulatedDevice) act(ctx context.Context, cl *client.Client) {
	d.turn++
	began := time.Now()
	if d.fleet.ask != nil && d.turn%2 == 0 {
		d.decide(ctx, cl, began)
		return
	}
	j, err := cl.ReportSenML(ctx, "senml+json", d.pack(began))
	if err != nil {
		d.failed(ctx, err)
		return
	}
	d.fleet.reports.add(time.Since(began))
	d.fleet.levels.add(j.Level.String())
}

func (d *simulatedDevice) decide(ctx context.Context, cl *client.Client, began time.Time) {
	ask := cl.Decide
	if d.fleet.cached {
		ask = cl.Check
	}
	a, err := ask(ctx, d.fleet.domain, d.fleet.ask)
	if err != nil {
		d.failed(ctx, err)
		return
	}
	d.fleet.decisions.add(time.Since(began))
	if a.Permit {
		d.fleet.permits.Add(1)
	} else {
		d.fleet.denials.Add(1)
	}
}

// failed counts an error; the end of the simulation is none.
func (d *simulatedDevice) failed(ctx context.Context, err error) {
	if ctx.Err() == nil {
		d.fleet.failures.add(client.CodeOf(err).Name())
	}
}

// pack is the next SenML pack: a recorded one, or a temperature that wanders and a
// battery that runs down.
func (d *simulatedDevice) pack(now time.Time) []byte {
	if packs := d.fleet.packs; packs != nil {
		return packs[d.turn%len(packs)]
	}
	d.heat = max(0, d.heat+d.rng.IntN(21)-10)
	return fmt.Appendf(nil, `[{"bn":"urn:dev:id:%x:","bt":%d,"n":"temperature","u":"Cel","v":%d.%02d},{"n":"battery","u":"%%EL","v":%d}]`,
		d.id[:4], now.Unix(), d.heat/100, d.heat%100, max(1, 100-d.turn/1000))
}

// maxPacks bounds a file of recorded packs, in bytes.
const maxPacks = 64 << 20

// readPacks reads a file with a SenML pack on each line.
func readPacks(file string) (packs [][]byte, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxPacks {
		return nil, usagef("%s: %d bytes, %d at most", file, info.Size(), maxPacks)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if !json.Valid(line) || line[0] != '[' || len(line) > abi.MaxObservation {
			return nil, usagef("%s: line %d is no SenML pack in JSON", file, number)
		}
		packs = append(packs, line)
	}
	if len(packs) == 0 {
		return nil, usagef("%s holds no SenML pack", file)
	}
	return packs, nil
}
