package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// judged is a running node with a device to which a contract is bound that does
// what reports tell it (runtime/ledger/testdata/observe.wat).
type judged struct {
	t      *testing.T
	home   home
	node   *node
	owner  *client.Client
	device abi.Hash
	stop   func()
}

func newJudged(t *testing.T) *judged {
	t.Helper()
	j := &judged{t: t, home: home(t.TempDir())}
	if _, err := initHome(j.home, newHome{name: "test", clock: "trusted"}); err != nil {
		t.Fatal(err)
	}
	j.start()
	code, err := os.ReadFile("../../runtime/ledger/testdata/observe.wasm")
	if err != nil {
		t.Fatal(err)
	}
	if err := deployAndBind(t.Context(), j.owner, client.Deployment{Name: "guard", Code: code}, ""); err != nil {
		t.Fatal(err)
	}
	owner, err := key.Load(j.home.path(operatorKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	device, err := key.Generate()
	if err != nil {
		t.Fatal(err)
	}
	j.device = device.AccountID()
	if _, err := enrol(t.Context(), j.owner, owner, device, chain.Enrolment{Manufacturer: "Acme", Model: "Gauge", Serial: "1"}, nil); err != nil {
		t.Fatal(err)
	}
	j.transact(chain.OpBindDevice, &chain.BindDevice{Device: j.device, Contracts: []string{"guard"}})
	return j
}

func (j *judged) start() {
	j.t.Helper()
	j.node = openTestNode(j.t, j.home)
	stop := runTestNode(j.t, j.node)
	var err error
	if j.owner, err = dialHome(j.t.Context(), j.home, j.node.quicAddr, operatorKeyFile); err != nil {
		j.t.Fatal(err)
	}
	j.stop = func() { j.owner.Close(); stop() }
}

func (j *judged) transact(op chain.Op, args client.Args) {
	j.t.Helper()
	if _, err := j.owner.Transact(j.t.Context(), op, args, 0); err != nil {
		j.t.Fatal(err)
	}
}

// report has the contract do something (observe.wat).
func (j *judged) report(mode uint64) abi.Judgement {
	j.t.Helper()
	o := abi.Observation{Kind: abi.ObserveFlows, Payload: cbor.AppendUint(cbor.AppendArray(nil, 1), mode)}
	judgement, err := j.node.behaviour.Report(j.t.Context(), j.device, &o)
	if err != nil {
		j.t.Fatal(err)
	}
	return judgement
}

func (j *judged) isolated() bool {
	_, _, ok := j.node.behaviour.Isolated(j.device)
	return ok
}

// await waits for a block after which something is so.
func (j *judged) await(what string, so func() bool) {
	j.t.Helper()
	ctx, cancel := context.WithTimeout(j.t.Context(), time.Minute)
	defer cancel()
	for {
		committed := j.node.ledger.Committed()
		if so() {
			return
		}
		select {
		case <-committed:
		case <-ctx.Done():
			j.t.Fatalf("%s did not come", what)
		}
	}
}

// verdicts are those on the device.
func (j *judged) verdicts() (v chain.Verdicts) {
	j.t.Helper()
	view, err := j.node.store.HeadView()
	if err != nil {
		j.t.Fatal(err)
	}
	defer view.Release()
	raw, ok, err := view.Get(chain.VerdictsKey(j.device))
	if err != nil {
		j.t.Fatal(err)
	}
	if ok {
		if v, err = chain.ParseVerdicts(raw); err != nil {
			j.t.Fatal(err)
		}
	}
	return v
}

// TestGatewayJudges: a report that a contract condemns isolates the device here
// and stands on the ledger, with the hash of evidence that this gateway has; it
// quarantines nobody by itself. A person's release ends the isolation. Records
// and evidence are there after a restart.
func TestGatewayJudges(t *testing.T) {
	j := newJudged(t)
	defer func() { j.stop() }()
	for n := int64(1); n <= 2; n++ {
		if judgement := j.report(1); judgement.Level != abi.LevelFine || judgement.Score != n {
			t.Errorf("report %d: %+v", n, judgement)
		}
	}
	if judgement := j.report(6); judgement.Level != abi.LevelQuarantine {
		t.Fatalf("%+v", judgement)
	}
	if _, reason, ok := j.node.behaviour.Isolated(j.device); !ok || reason != "quarantine: guard: theft" {
		t.Errorf("isolated %v: %s", ok, reason)
	}
	j.await("the verdict", func() bool { return len(j.verdicts().List) == 1 })
	v := j.verdicts().List[0]
	if v.Gateway != j.node.account || v.Contract != "guard" || v.Level != abi.LevelQuarantine || v.ReasonID != "theft" {
		t.Errorf("%+v", v)
	}
	d, err := j.node.ledger.Device(j.device)
	if err != nil || d.Status != abi.StatusActive {
		t.Errorf("one gateway made the device %v, %v", d.Status, err)
	}
	for n := 0; n == 0 || j.isolated(); n++ { // the release is seen soon after its block
		j.transact(chain.OpDeviceStatus, &chain.DeviceStatus{Device: j.device, Status: abi.StatusSuspended, Reason: "to look at it"})
		if n == 0 && !j.isolated() {
			t.Error("the suspension ended the isolation")
		}
		j.transact(chain.OpDeviceStatus, &chain.DeviceStatus{Device: j.device, Status: abi.StatusActive, Reason: "looked at it"})
		if n == 100 {
			t.Fatal("a release does not end the isolation")
		}
	}
	j.stop()
	j.start()
	if judgement := j.report(1); judgement.Score != 3 {
		t.Errorf("after a restart: %+v", judgement)
	}
	exhibit, ok := j.node.behaviour.Evidence(v.Evidence)
	if o, err := abi.ParseObservation(exhibit); !ok || err != nil || o.Device != j.device {
		t.Errorf("evidence %v: %+v, %v", ok, o, err)
	}
	var said bytes.Buffer
	app := newApp()
	app.Writer = &said
	err = app.Run([]string{"postern", "device", "evidence", "show", "--home", string(j.home), fmt.Sprintf("%x", v.Evidence)})
	if err != nil || !strings.HasPrefix(said.String(), fmt.Sprintf("flows of device %x at ", j.device)) {
		t.Errorf("shown as %q, %v", said.String(), err)
	}
}
