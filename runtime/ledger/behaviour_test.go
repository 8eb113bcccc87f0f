package ledger

import (
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/contracts/behaviour"
)

// hot is a report of a temperature that a device signed at a time of its clock.
func (w *world) hot(device person, degrees, time int64) *chain.Evidence {
	w.t.Helper()
	payload := cbor.AppendText(cbor.AppendUint(cbor.AppendMap(cbor.AppendArray(nil, 1), 2), 1), "temperature")
	payload = cbor.AppendInt(cbor.AppendUint(payload, 4), degrees)
	r := chain.Report{Time: time, Kind: abi.ObserveTelemetry, Payload: payload}
	return &chain.Evidence{Device: device.id(), Contract: "behaviour", Statement: w.signed(chain.StatementReport, r.Append(nil), device)}
}

// The standard behaviour contract judges what a device signed, on the ledger:
// findings add up over transactions until the device is quarantined.
func TestStandardContractJudgesEvidence(t *testing.T) {
	w := watched(t)
	code := w.upload(developer, contracts.Behaviour().Wasm)
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "behaviour", Code: code, Init: behaviour.Init([]abi.Hash{owner.id()})})
	w.tickOver()
	p := &behaviour.Profile{
		Rules:    []behaviour.Rule{{Name: "temperature", Most: &behaviour.Decimal{Mantissa: 60}}},
		Settings: behaviour.Settings{Quarantine: 30},
	}
	messages, err := p.Messages("thermometer", 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range append(messages, behaviour.BindDevice(person("lock").id(), "thermometer")) {
		w.must(owner, chain.OpCall, &chain.Call{Contract: "behaviour", Message: m})
	}
	w.must(owner, chain.OpBindDevice, &chain.BindDevice{Device: person("lock").id(), Contracts: []string{"behaviour"}})
	at := w.l.Head().Time + 1000
	w.want(w.do(nobody, chain.OpEvidence, w.hot("lock", 20, at)), abi.OK)
	for i := range int64(3) {
		w.wantDevice("lock", abi.StatusActive)
		w.want(w.do(nobody, chain.OpEvidence, w.hot("lock", 99, at+1+i)), abi.OK)
	}
	if d := w.wantDevice("lock", abi.StatusQuarantined); d.SetBy != nil || d.Reason != "behaviour: value-out-of-range" {
		t.Errorf("device is %+v", d)
	}
	w.want(w.do(nobody, chain.OpEvidence, w.hot("lock", 99, at+3)), abi.CodeReplayed)
}
