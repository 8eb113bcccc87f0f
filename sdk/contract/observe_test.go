package contract_test

import (
	"errors"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/sdk/contract"
)

// payloads of each form, by hand.
var (
	// [{1: "t", 2: 5, 3: "Cel", 4: 21.5, 8: 7}, {1: "x", 6: true}, {1: "y", 5: "on", 7: h'01'}]
	measured = []byte("\x83\xa5\x01\x61t\x02\x05\x03\x63Cel\x04\xc4\x82\x20\x18\xd7\x08\x07\xa2\x01\x61x\x06\xf5\xa3\x01\x61y\x05\x62on\x07\x41\x01")
	// [{1: 1, 2: 6, 3: h'0a000001', 4: 443, 5: 9, 6: 60, 7: 2, 8: "a", 9: true}, {10: 2054}]
	flowing = []byte("\x82\xa9\x01\x01\x02\x06\x03\x44\x0a\x00\x00\x01\x04\x19\x01\xbb\x05\x09\x06\x18\x3c\x07\x02\x08\x61a\x09\xf5\xa1\x0a\x19\x08\x06")
)

func TestItemsOfObservations(t *testing.T) {
	m, err := contract.Measurements(&contract.Observation{Payload: measured})
	if err != nil || len(m) != 3 {
		t.Fatal(m, err)
	}
	if m[0].Name != "t" || *m[0].Time != 5 || m[0].Unit != "Cel" || *m[0].Value != (cbor.Decimal{Exponent: -1, Mantissa: 215}) ||
		m[0].Sum.Mantissa != 7 || !*m[1].Bool || *m[2].Text != "on" || m[2].Data[0] != 1 || m[1].Value != nil || m[1].Time != nil {
		t.Errorf("%+v", m)
	}
	f, err := contract.Flows(&contract.Observation{Payload: flowing})
	if err != nil || len(f) != 2 {
		t.Fatal(f, err)
	}
	if !f[0].ToDevice || *f[0].Protocol != 6 || f[0].Remote[0] != 10 || *f[0].RemotePort != 443 || *f[0].LocalPort != 9 || f[0].Bytes != 60 ||
		f[0].Packets != 2 || f[0].Name != "a" || !*f[0].BegunByDevice || f[0].Ethertype != nil || *f[1].Ethertype != 0x0806 || f[1].Remote != nil {
		t.Errorf("%+v", f)
	}
	for _, bad := range []string{"", "\xa0", "\x81\x01", "\x81\xa1\x0c\x01", "\x81\xa1\x01\x02", "\x81\xa1\x03\x43\x01\x02\x03", "\x81\xa1\x02\x19\x01\x00", "\x80\x00", "\x81\xa0"} {
		if f, err := contract.Flows(&contract.Observation{Payload: []byte(bad)}); !errors.Is(err, abi.CodeMalformed) {
			t.Errorf("%x: %+v, %v", bad, f, err)
		}
	}
}

func TestRunObserve(t *testing.T) {
	o := contract.Observation{Kind: abi.ObserveTelemetry, Device: abi.Hash{7}, Time: 9, Payload: measured}
	judge := func(c *contract.Context, o *contract.Observation) (contract.Judgement, error) {
		list, err := contract.Measurements(o)
		return contract.Judgement{Level: abi.LevelAlert, Score: int64(len(list)), Findings: []string{list[0].Name}}, err
	}
	in := abi.Input{Contract: "c", Caller: &o.Device, Message: abi.AppendObservation(nil, &o)}
	out, err := contract.RunObserve(abi.AppendInput(nil, &in), judge)
	if err != nil {
		t.Fatal(err)
	}
	if j, err := abi.ParseJudgement(out); err != nil || j.Level != abi.LevelAlert || j.Score != 3 || j.Findings[0] != "t" {
		t.Errorf("%+v, %v", j, err)
	}
	in.Message = []byte{0xa0}
	if _, err := contract.RunObserve(abi.AppendInput(nil, &in), judge); err == nil {
		t.Error("a message that is no observation reaches the handler")
	}
}

func FuzzObservation(f *testing.F) {
	f.Add(measured)
	f.Add(flowing)
	f.Fuzz(func(t *testing.T, payload []byte) {
		o := contract.Observation{Payload: payload}
		if _, err := contract.Measurements(&o); err != nil && !errors.Is(err, abi.CodeMalformed) {
			t.Error(err)
		}
		if _, err := contract.Flows(&o); err != nil && !errors.Is(err, abi.CodeMalformed) {
			t.Error(err)
		}
	})
}
