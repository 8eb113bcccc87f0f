package wasm_test

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/scratch"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// Where the guest of the calibration keeps what it passes to host functions.
const (
	marker   = 0x21475343 // begins a message: marker, operation, count, seed
	keyAt    = 1024       // 32 bytes, of which 8 vary
	nameAt   = 1100       // "other"
	idAt     = 1200       // an id that has no account
	lockAt   = 1240       // that of a device
	signedAt = 1300       // public key, signature, message
	valueAt  = 4096
	bufferAt = 64 << 10
)

// hostCase is a host function with certain sizes: what the guest calls, and
// how often in one transaction.
type hostCase struct {
	name  string
	count int
	code  func(a *wasmtest.Asm, f func(abi.HostFunc) uint32) *wasmtest.Asm
	seed  func(round int) uint32 // of the keys: the same ones again, or others
}

func same(int) uint32        { return 1 }
func fresh(round int) uint32 { return uint32(round)*7919 + 100_000 }

// hostCases has a row for each host function that execute has, in the order
// in which they run: what is read or deleted was written before.
func hostCases() []hostCase {
	get := func(size int32) func(*wasmtest.Asm, func(abi.HostFunc) uint32) *wasmtest.Asm {
		return func(a *wasmtest.Asm, f func(abi.HostFunc) uint32) *wasmtest.Asm {
			return a.I32(keyAt).I32(32).I32(bufferAt).I32(size).Call(f(abi.HostStateGet)).Op(0x1a)
		}
	}
	set := func(size int32) func(*wasmtest.Asm, func(abi.HostFunc) uint32) *wasmtest.Asm {
		return func(a *wasmtest.Asm, f func(abi.HostFunc) uint32) *wasmtest.Asm {
			return a.I32(keyAt).I32(32).I32(valueAt).I32(size).Call(f(abi.HostStateSet))
		}
	}
	hash := func(size int32) func(*wasmtest.Asm, func(abi.HostFunc) uint32) *wasmtest.Asm {
		return func(a *wasmtest.Asm, f func(abi.HostFunc) uint32) *wasmtest.Asm {
			return a.I32(valueAt).I32(size).I32(bufferAt).Call(f(abi.HostSHA256))
		}
	}
	nested := func(fn abi.HostFunc) func(*wasmtest.Asm, func(abi.HostFunc) uint32) *wasmtest.Asm {
		return func(a *wasmtest.Asm, f func(abi.HostFunc) uint32) *wasmtest.Asm {
			return a.I32(nameAt).I32(5).I32(valueAt).I32(100).I32(bufferAt).I32(100).Call(f(fn)).Op(0x1a)
		}
	}
	device := func(at int32) func(*wasmtest.Asm, func(abi.HostFunc) uint32) *wasmtest.Asm {
		return func(a *wasmtest.Asm, f func(abi.HostFunc) uint32) *wasmtest.Asm {
			return a.I32(at).I32(bufferAt).I32(1000).Call(f(abi.HostDeviceGet)).Op(0x1a)
		}
	}
	// status suspends and activates in turn, by the count that is left.
	status := func(at int32) func(*wasmtest.Asm, func(abi.HostFunc) uint32) *wasmtest.Asm {
		return func(a *wasmtest.Asm, f func(abi.HostFunc) uint32) *wasmtest.Asm {
			a.I32(at).Get(3).I32(1).Op(0x71).I32(1).Op(0x6a).I32(nameAt).I32(5).Call(f(abi.HostDeviceSetStatus))
			if at == lockAt {
				return a.If(wasmtest.Void).Op(0).End() // it must not fail
			}
			return a.Op(0x1a)
		}
	}
	return []hostCase{
		{"state_set 100 bytes, new key", 400, set(100), fresh},
		{"state_set 100 bytes, again", 400, set(100), same},
		{"state_get 100 bytes", 400, get(100), same},
		{"state_get, missing", 400, get(100), fresh},
		{"state_scan", 8, func(a *wasmtest.Asm, f func(abi.HostFunc) uint32) *wasmtest.Asm {
			return a.I32(keyAt).I32(4).I32(keyAt).I32(12).Call(f(abi.HostStateScan)).Op(0x1a)
		}, same},
		{"scan_next 100 bytes", 400, func(a *wasmtest.Asm, f func(abi.HostFunc) uint32) *wasmtest.Asm {
			return a.I32(0).I32(bufferAt).I32(1000).Call(f(abi.HostScanNext)).Op(0x1a)
		}, same},
		{"state_delete", 400, func(a *wasmtest.Asm, f func(abi.HostFunc) uint32) *wasmtest.Asm {
			return a.I32(keyAt).I32(32).Call(f(abi.HostStateDelete))
		}, same},
		{"state_delete, missing", 400, func(a *wasmtest.Asm, f func(abi.HostFunc) uint32) *wasmtest.Asm {
			return a.I32(keyAt).I32(32).Call(f(abi.HostStateDelete))
		}, fresh},
		{"state_set 16 KiB", 50, set(16 << 10), same},
		{"state_get 16 KiB", 50, get(16 << 10), same},
		{"emit 100 bytes", 64, func(a *wasmtest.Asm, f func(abi.HostFunc) uint32) *wasmtest.Asm {
			return a.I32(keyAt).I32(8).I32(valueAt).I32(100).Call(f(abi.HostEmit))
		}, same},
		{"call", 50, nested(abi.HostCall), same},
		{"query", 50, nested(abi.HostQuery), same},
		{"device_get, unknown", 400, device(idAt), same},
		{"device_get", 400, device(lockAt), same},
		{"device_set_status, unknown", 100, status(idAt), same},
		{"device_set_status", 60, status(lockAt), same},
		{"schedule 100 bytes", 20, func(a *wasmtest.Asm, f func(abi.HostFunc) uint32) *wasmtest.Asm {
			return a.I64(math.MaxInt64 / 2).I32(valueAt).I32(100).Call(f(abi.HostSchedule)).Op(0x1a)
		}, same},
		{"sha256 32 bytes", 400, hash(32), same},
		{"sha256 16 KiB", 100, hash(16 << 10), same},
		{"verify", 50, func(a *wasmtest.Asm, f func(abi.HostFunc) uint32) *wasmtest.Asm {
			return a.I32(signedAt).I32(32).I32(signedAt + 96).I32(32).I32(signedAt + 32).I32(64).Call(f(abi.HostVerify)).Op(0x1a)
		}, same},
		{"log 100 bytes", 400, func(a *wasmtest.Asm, f func(abi.HostFunc) uint32) *wasmtest.Asm {
			return a.I32(valueAt).I32(100).Call(f(abi.HostLog))
		}, same},
	}
}

// hostGuest is a contract that does what its message says: operation 0 is
// nothing, i+1 is hostCases()[i].
func hostGuest() []byte {
	imports := map[abi.HostFunc]uint32{}
	var list []abi.HostFunc
	for fn := range abi.HostFuncCount {
		imports[fn] = uint32(len(list))
		list = append(list, fn)
	}
	m := wasmtest.Contract(list...)
	m.Memory.Min = 3
	lock := scratch.ID("lock")
	m.Datas = append(m.Datas,
		module.Data{At: keyAt, Bytes: []byte("key/........and what is the same")},
		module.Data{At: nameAt, Bytes: []byte("other")}, module.Data{At: lockAt, Bytes: lock[:]}, module.Data{At: signedAt, Bytes: signed()})
	// 2 is the cursor, 3 the count, 4 the seed
	a := wasmtest.Code().Get(0).Set(2).
		Block(wasmtest.Void).Loop(wasmtest.Void).Get(2).Mem(0x28, 0).I32(marker).Op(0x46).BrIf(1).
		Get(2).I32(1).Op(0x6a).Set(2).Br(0).End().End().
		Get(2).Mem(0x2f, 5).Set(3).Get(2).Mem(0x35, 7).Set(4)
	cases := hostCases()
	open := wasmtest.Code().I32(keyAt).I32(4).I32(keyAt).I32(0).Call(imports[abi.HostStateScan]).Op(0x1a)
	a.Get(2).Mem(0x2d, 4).I32(int32(scanNextCase(cases) + 1)).Op(0x46).If(wasmtest.Void).Op(open.Bytes...).End()
	a.Block(wasmtest.Void).Loop(wasmtest.Void)
	a.Get(4).I64(6364136223846793005).Op(0x7e).I64(1442695040888963407).Op(0x7c).Set(4).
		I32(keyAt).Get(4).Mem(0x37, 4)
	a.Block(wasmtest.Void) // which every operation leaves at its end
	labels := make([]uint32, len(cases)+1)
	for i := range labels {
		a.Block(wasmtest.Void)
		labels[i] = uint32(i)
	}
	a.Get(2).Mem(0x2d, 4).BrTable(labels...).End()
	for i := range cases {
		a.Br(uint32(len(cases) - i)).End()
		cases[i].code(a, func(fn abi.HostFunc) uint32 { return imports[fn] })
	}
	a.End().Get(3).I32(1).Op(0x6b).Tee(3).I32(0).Op(0x4a).BrIf(0).End().End().I64(0)
	return m.Entry(abi.EntryExecute, a).Bytes()
}

func scanNextCase(cases []hostCase) int {
	for i := range cases {
		if cases[i].name == "scan_next 100 bytes" {
			return i
		}
	}
	return -1
}

// signed is a public key, a signature and a message.
func signed() []byte {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	msg := make([]byte, 32)
	return append(append(append([]byte{}, key.Public().(ed25519.PublicKey)...), ed25519.Sign(key, msg)...), msg...)
}

// hostWorld is a chain with the guest and the contract that it calls.
func hostWorld(b *testing.B, e wasm.Engine) *scratch.Chain {
	ctx := context.Background()
	c, err := scratch.Open(ctx, scratch.Config{Engine: e})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	if err := c.Enrol(ctx, "lock", scratch.Operator, chain.Labels{"site": "hq", "floor": "3"}); err != nil {
		b.Fatal(err)
	}
	other := wasmtest.Contract().Entry(abi.EntryExecute, wasmtest.Code().I64(0)).Entry(abi.EntryQuery, wasmtest.Code().I64(0))
	for name, blob := range map[string][]byte{"guest": hostGuest(), "other": other.Bytes()} {
		if o, err := c.Deploy(ctx, scratch.Operator, name, blob, nil); err != nil || o.Code != abi.OK {
			b.Fatal(name, o.Code, err)
		}
	}
	return c
}

// transact runs one transaction and gives its CPU time, from the proposal to
// the commit, and gas.
func transact(b *testing.B, c *scratch.Chain, op, count int, seed uint32) (ns, gas float64) {
	msg := binary.LittleEndian.AppendUint32(nil, marker)
	msg = binary.LittleEndian.AppendUint16(append(msg, byte(op)), uint16(count))
	msg = binary.LittleEndian.AppendUint32(msg, seed)
	before := cpuTime(b)
	o, err := c.Call(context.Background(), scratch.Operator, "guest", msg)
	if err != nil || o.Code != abi.OK {
		b.Fatal(op, o.Code, err)
	}
	return float64(cpuTime(b) - before), float64(o.Gas)
}

// calibrateHost measures host functions by transactions of many calls, less
// what a transaction costs that calls none.
func calibrateHost(b *testing.B, e wasm.Engine) (rows []wasm.CalibrationRow) {
	c := hostWorld(b, e)
	const rounds = 8
	least := func(op, count int, seed func(int) uint32) (ns, gas float64) {
		ns = math.Inf(1)
		for round := range rounds {
			t, g := transact(b, c, op, count, seed(round))
			ns, gas = min(ns, t), g
		}
		return ns, gas
	}
	for i, h := range hostCases() {
		emptyNS, emptyGas := least(0, h.count, same)
		ns, gas := least(i+1, h.count, h.seed)
		n := float64(h.count)
		rows = append(rows, wasm.NewCalibrationRow("host", h.name, (ns-emptyNS)/n, (gas-emptyGas)/n))
	}
	return rows
}

func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkCalibration prints, for each engine and profile, the median CPU time of a unit
// of gas, and against it the dearest instruction, host function or call, and
// the dearest pattern; with -v every row.
func BenchmarkCalibration(b *testing.B) {
	for _, e := range wasm.CalibrationEngines() {
		for _, p := range []abi.Profile{abi.ProfileLean, abi.ProfileWide} {
			b.Run(fmt.Sprintf("%v/%s", e, map[abi.Profile]string{abi.ProfileLean: "lean", abi.ProfileWide: "wide"}[p]), func(b *testing.B) {
				wasm.ReportCalibration(b, append(wasm.CalibrateGuests(b, p, e), calibrateHost(b, e)...))
			})
		}
	}
}
