package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/storage"
)

// askers is how many devices ask: the same ones, however many are enrolled.
const askers = 1000

// BenchmarkDecideEnrolled asks for decisions of the smallest contract in the name
// of a thousand devices, with a thousand, a hundred thousand and a million
// enrolled, on a disk. What is compared is the cost of a chain's size, so the
// contract is none.
func BenchmarkDecideEnrolled(b *testing.B) {
	for _, devices := range []int{1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(devices), func(b *testing.B) {
			w := newWorld(b, nil)
			w.close()
			w.cfg = storage.Config{Dir: b.TempDir(), Logger: discard}
			w.open(true)
			w.deploy(developer, "script")
			w.must(operator, chain.OpBind, &chain.Bind{Domain: abi.DefaultDomain, Contract: "script"})
			w.populate(devices)
			w.reopen()
			request, ctx := ask("report", "lock", "front-door"), context.Background()
			asker := func(i int) abi.Caller { return abi.Caller{Key: deviceKey(i % askers * (devices / askers))} }
			for i := range askers {
				if a := w.l.Decide(ctx, asker(i), "", request); a.Code != abi.OK {
					b.Fatal(a.Code)
				}
			}
			before, i := cpuTime(b), 0
			for b.Loop() {
				w.l.Decide(ctx, asker(i), "", request)
				i++
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// deviceKey stands for a public key; nobody has the private one.
func deviceKey(i int) []byte {
	h := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	return h[:]
}

// populate enrols devices as blocks would that held their transactions, whose
// signatures would take minutes.
func (w *world) populate(devices int) {
	w.t.Helper()
	const batch = 10_000
	for first := 0; first < devices; first += batch {
		w.step(func(x *execution) error {
			for i := first; i < min(first+batch, devices); i++ {
				if err := x.enrolKey(deviceKey(i), fmt.Sprintf("%08d", i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// step commits a block whose changes are made by hand.
func (w *world) step(change func(*execution) error) {
	w.t.Helper()
	v, err := w.store.HeadView()
	if err != nil {
		w.t.Fatal(err)
	}
	defer v.Release()
	head := w.l.head.Load()
	x, err := w.l.begin(context.Background(), v, head, head.header.Time+1)
	if err == nil {
		err = change(x)
	}
	var r *result
	if err == nil {
		r, err = x.finish(nil)
	}
	var next *tip
	if err == nil {
		next, err = w.l.write(r, nil, head)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.l.publish(next)
}

// enrolKey writes what an enrolment writes.
func (x *execution) enrolKey(key []byte, serial string) error {
	of, id := owner.id(), chain.AccountID(key)
	if err := newAccount(x.state, key, &chain.Account{Key: key, Owner: &of, Created: x.header.Height}); err != nil {
		return err
	}
	if err := x.state.set(chain.SerialKey("Acme", serial), id[:]); err != nil {
		return err
	}
	d := chain.Device{
		Owner: of, Manufacturer: "Acme", Model: "Lock 2", Serial: serial, Labels: chain.Labels{"role": "door-lock"},
		Status: abi.StatusActive, Since: x.header.Height, SetBy: &of, Enrolled: x.header.Height,
	}
	return x.state.set(chain.DeviceKey(id), d.Append(nil))
}
