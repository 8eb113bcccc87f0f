package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/key"
)

// judgedDevice is another device of the same owner's, with the same contract, whose
// key the test has.
func (j *judged) judgedDevice() *key.Key {
	j.t.Helper()
	owner, err := key.Load(j.home.path(operatorKeyFile))
	if err != nil {
		j.t.Fatal(err)
	}
	device := newKey(j.t)
	if _, err := enrol(j.t.Context(), j.owner, owner, device, chain.Enrolment{Manufacturer: "Acme", Model: "Gauge", Serial: "2"}, nil); err != nil {
		j.t.Fatal(err)
	}
	j.transact(chain.OpBindDevice, &chain.BindDevice{Device: device.AccountID(), Contracts: []string{"guard"}})
	return device
}

// answered waits until the gateway has answered on a connection: from then on it is
// one of the device's that the gateway knows.
func (j *judged) answered(conn *quic.Conn) {
	j.t.Helper()
	stream, err := conn.OpenStreamSync(j.t.Context())
	if err != nil {
		j.t.Fatal(err)
	}
	if _, err := stream.Write(make([]byte, 64)); err != nil {
		j.t.Fatal(err)
	}
	_, _ = stream.Read(make([]byte, 1)) // what was written is no request, and is refused
}

// executed says whether a block above a height holds a transaction of an operation.
func (j *judged) executed(op chain.Op, after uint64) bool {
	for height := after + 1; height <= j.node.ledger.Head().Height; height++ {
		raw, _, _, err := j.node.ledger.Block(height)
		if err != nil {
			j.t.Fatal(err)
		}
		k, err := chain.ParseBlock(raw)
		if err != nil {
			j.t.Fatal(err)
		}
		for _, raw := range k.Txs {
			if tx, err := chain.ParseTx(raw); err == nil && tx.Op == op {
				return true
			}
		}
	}
	return false
}

// TestIsolationReachesTheDevice: a report that condemns the device ends its own
// connection, with the reason; coming back it learns the same, and may report, but
// not ask, also not by a token. What it has signed goes before the validators.
func TestIsolationReachesTheDevice(t *testing.T) {
	j := newJudged(t)
	defer func() { j.stop() }()
	device := j.judgedDevice()
	watching := (&connected{node: j.node}).connect(t, device)
	j.answered(watching)
	bundle, err := readBundle(j.home.path("bundle.json"))
	if err != nil {
		t.Fatal(err)
	}
	cl, err := dial(t.Context(), bundle, device, j.node.quicAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	before := j.node.ledger.Head().Height
	steal := cbor.AppendUint(cbor.AppendArray(nil, 1), 6)
	report, err := cl.SignReport(abi.ObserveFlows, steal)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = cl.Report(t.Context(), report) // the answer may be overtaken by the end of the connection
	<-watching.Context().Done()
	var e *quic.ApplicationError
	if why := context.Cause(watching.Context()); !errors.As(why, &e) || abi.Code(e.ErrorCode) != abi.CodeDeviceInactive || e.ErrorMessage != "isolated: quarantine: guard: theft" {
		t.Errorf("the connection ended with %v", why)
	}
	j.await("the device's signed report", func() bool { return j.executed(chain.OpEvidence, before) })

	again, err := dial(t.Context(), bundle, device, j.node.quicAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	status, err := again.Status(t.Context())
	if err != nil || status.Device != abi.StatusActive || status.Isolated == 0 || !strings.Contains(status.Reason, "theft") {
		t.Errorf("status %+v, %v", status, err)
	}
	if _, err := again.Decide(t.Context(), abi.DefaultDomain, &abi.DecisionRequest{Action: abi.Action{Name: "open"}, Resource: abi.Entity{Type: "door", ID: "1"}}); !isCode(err, abi.CodeDeviceInactive) {
		t.Errorf("a decision: %v", err)
	}
	if a := (service{j.node}).Decide(t.Context(), abi.Caller{Account: device.AccountID()}, abi.DefaultDomain, openDoor); a.Code != abi.CodeDeviceInactive {
		t.Errorf("a decision by token: %v", a.Code)
	}
}

// TestEvidenceTakesTurns: a device's reports go before the validators once a
// minute, and the memory of that is bounded.
func TestEvidenceTakesTurns(t *testing.T) {
	times, now := newEvidenceTimes(), time.Unix(1_800_000_000, 0)
	id := func(n int) abi.Hash { return abi.Hash{byte(n), byte(n >> 8)} }
	for n := range maxEvidenceTimes {
		if !times.due(id(n), now) || times.due(id(n), now.Add(evidenceEvery-1)) {
			t.Fatalf("device %d", n)
		}
	}
	if times.due(id(maxEvidenceTimes), now.Add(evidenceEvery-1)) {
		t.Error("one device more than are remembered")
	}
	if !times.due(id(0), now.Add(evidenceEvery)) || !times.due(id(maxEvidenceTimes), now.Add(evidenceEvery)) || len(times.last) > 2 {
		t.Errorf("a minute later %d are remembered", len(times.last))
	}
}

func TestAnchors(t *testing.T) {
	h := home(t.TempDir())
	cert, err := newKey(t).Certificate()
	if err != nil {
		t.Fatal(err)
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	for name, content := range map[string][]byte{"one.pem": authority, "two.pem": bytes.Repeat(authority, 2), "none.pem": []byte("no certificate")} {
		if err := os.WriteFile(h.path(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pools, err := h.anchors(map[string]string{"Acme": "one.pem", "Other": h.path("two.pem")})
	if err != nil || len(pools) != 2 || pools["Acme"] == nil {
		t.Errorf("%v, %v", pools, err)
	}
	for _, file := range []string{"none.pem", "missing.pem"} {
		if _, err := h.anchors(map[string]string{"Acme": file}); err == nil || !strings.Contains(err.Error(), "device_anchors") {
			t.Errorf("%s: %v", file, err)
		}
	}
}
