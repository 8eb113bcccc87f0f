package firmware_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/contracts/firmware"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/runtime/wasm/wasmtest"
	"github.com/seed79541315/postern/sdk/key"
)

// rolledOut is a chain on which n releases were rolled out to every device, and
// n devices confirmed the last.
func rolledOut(t testing.TB, n int) *bench {
	t.Helper()
	k, err := key.Generate()
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, wasm.EngineAuto)
	b.line(k.Public())
	b.do(wasmtest.Owner, "put_fleet", fields{"line": "cam", "owner": hex.EncodeToString(wasmtest.Owner[:]), "belongs": true})
	releases := min(n, 100) // a signature each
	for i := range releases {
		b.roll(t, k, uint64(i+1))
	}
	for i := range n {
		b.confirm(deviceNumber(i), uint64(releases))
	}
	return b
}

func (b *bench) roll(t testing.TB, k *key.Key, sequence uint64) {
	t.Helper()
	m := &firmware.Manifest{Sequence: sequence, Vendor: [16]byte(vendor), Class: [16]byte(class), Component: [][]byte{{0}}, Image: imageOf(sequence), Size: 7}
	envelope, digest, err := firmware.Sign(m, k)
	if err != nil {
		t.Fatal(err)
	}
	b.As(maker).Execute(b.proposal(envelope, k.Public()))
	b.do(operator, "approve", fields{"line": "cam", "sequence": sequence, "manifest": hex.EncodeToString(digest[:])})
	b.do(operator, "roll", fields{"line": "cam", "sequence": sequence, "stages": []fields{{"percent": 100}}, "stop_rate": 100, "stop_count": 20})
}

func imageOf(sequence uint64) abi.Hash {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, sequence))
}

func deviceNumber(i int) abi.Hash {
	return sha256.Sum256(binary.BigEndian.AppendUint64([]byte("device"), uint64(i)))
}

// confirm has a device of Owner's say that a release runs.
func (b *bench) confirm(device abi.Hash, sequence uint64) {
	b.t.Helper()
	b.As(b.enrol(device)).Execute(b.confirmation(sequence))
}

// enrol adds a device's record: {1: owner, 5: active, 8: since, 10: enrolled}.
func (b *bench) enrol(device abi.Hash) abi.Hash {
	record := append([]byte{0xa4, 1, 0x58, 32}, wasmtest.Owner[:]...)
	if b.Devices == nil {
		b.Devices = make(map[abi.Hash][]byte)
	}
	b.Devices[device] = append(record, 5, 1, 8, 0, 10, 0)
	return device
}

func (b *bench) confirmation(sequence uint64) []byte {
	image := imageOf(sequence)
	return b.message("confirm", fields{"line": "cam", "sequence": sequence, "image": hex.EncodeToString(image[:]), "result": 0})
}

// What devices confirm and ask costs the same, however many there are.
func TestGasDoesNotGrow(t *testing.T) {
	var confirm, next [2]uint64
	for i, n := range []int{10, 10_000} {
		b := rolledOut(t, n)
		device := b.enrol(deviceNumber(n))
		b.Query(b.message("next", fields{"line": "cam", "device": hex.EncodeToString(device[:])}))
		next[i] = b.Gas
		b.confirm(device, uint64(min(n, 100)))
		confirm[i] = b.Gas
	}
	for what, gas := range map[string][2]uint64{"confirm": confirm, "next": next} {
		t.Logf("%s: %d units with 10, %d with 10,000", what, gas[0], gas[1])
		if gas[1]*2 > gas[0]*3 {
			t.Errorf("%s takes %d units with 10 devices, %d with 10,000", what, gas[0], gas[1])
		}
	}
}

// BenchmarkMain confirms a release as one device more, among few and many.
func BenchmarkMain(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		b.Run(fmt.Sprintf("devices=%d", n), func(b *testing.B) {
			c := rolledOut(b, n)
			c.As(c.enrol(deviceNumber(n))).Bench(b, abi.EntryExecute, c.confirmation(uint64(min(n, 100))))
		})
	}
}

// BenchmarkPropose checks the draft's second example: parser, digests and one
// signature.
func BenchmarkPropose(b *testing.B) {
	envelope, public := example(b, "example1.hex")
	c := newBench(b, wasm.EngineAuto)
	c.line(public)
	c.As(maker).Bench(b, abi.EntryExecute, c.proposal(envelope, public))
}
