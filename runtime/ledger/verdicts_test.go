package ledger

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// watched is a world where the contract "judge" is bound to the owner's "lock".
func watched(t *testing.T) *world {
	t.Helper()
	w := deviceWorld(t)
	w.upload(developer, judgeWasm)
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "judge", Code: sha256.Sum256(judgeWasm)})
	w.tickOver()
	w.enrol("lock", nil)
	w.must(owner, chain.OpBindDevice, &chain.BindDevice{Device: person("lock").id(), Contracts: []string{"judge"}})
	return w
}

// pass lets time pass; the next block is made then.
func (w *world) pass(ms int64) {
	w.clock.Lock()
	defer w.clock.Unlock()
	w.now = w.l.Head().Time + ms
}

func (w *world) says(by person, l abi.Level) chain.Outcome {
	w.t.Helper()
	return w.do(by, chain.OpVerdict, judged("lock", "judge", l))
}

func TestVerdict(t *testing.T) {
	w := watched(t)
	w.try([]attempt{
		{"by who is no gateway", nobody, chain.OpVerdict, judged("lock", "judge", abi.LevelQuarantine), abi.CodeMissingRole},
		{"by the owner", owner, chain.OpVerdict, judged("lock", "judge", abi.LevelQuarantine), abi.CodeMissingRole},
		{"on no device", gate1, chain.OpVerdict, judged("none", "judge", abi.LevelQuarantine), abi.CodeUnknownDevice},
		{"by a contract that is not bound", gate1, chain.OpVerdict, judged("lock", "other", abi.LevelQuarantine), abi.CodeNotBound},
		{"that is fine", gate1, chain.OpVerdict, judged("lock", "judge", abi.LevelFine), abi.CodeBadArgument},
		{"of no level", gate1, chain.OpVerdict, judged("lock", "judge", abi.LevelQuarantine+1), abi.CodeBadArgument},
	})
	w.wantNotices(w.says(gate1, abi.LevelQuarantine), chain.TopicDeviceAlert)
	w.wantNotices(w.says(gate1, abi.LevelQuarantine), chain.TopicDeviceAlert) // one gateway counts once
	w.wantNotices(w.says(gate2, abi.LevelAlert), chain.TopicDeviceAlert)      // and an alert not at all
	w.wantDevice("lock", abi.StatusActive)
	w.wantNotices(w.says(gate3, abi.LevelSuspectedStolen), chain.TopicDeviceAlert, chain.TopicDeviceStatus)
	d := w.wantDevice("lock", abi.StatusQuarantined)
	if d.Reason != "suspected-stolen: scans" || d.SetBy == nil || *d.SetBy != gate3.id() {
		t.Errorf("device is %+v", d)
	}
	v := record(w, chain.VerdictsKey(person("lock").id()), chain.ParseVerdicts)
	if len(v.List) != 3 || v.List[0].Gateway != gate1.id() || v.List[2].Level != abi.LevelSuspectedStolen || v.List[1].Evidence != (abi.Hash{7}) {
		t.Errorf("verdicts are %+v", v)
	}
	w.wantNotices(w.says(gate1, abi.LevelQuarantine), chain.TopicDeviceAlert) // there is nothing left to do
}

// What was said more than ten minutes ago, by who is no gateway any more, or by a
// contract that was unbound, does not count.
func TestVerdictsThatDoNotCount(t *testing.T) {
	for name, meanwhile := range map[string]func(w *world){
		"too long ago":       func(w *world) { w.pass(chain.VerdictWindow) },
		"a gateway that was": func(w *world) { w.must(operator, chain.OpGrant, &chain.Grant{Key: gate1.Public()}) },
		"said milder since":  func(w *world) { w.says(gate1, abi.LevelAlert) },
		"released since": func(w *world) {
			w.must(owner, chain.OpDeviceStatus, set("lock", abi.StatusSuspended))
			w.must(owner, chain.OpDeviceStatus, set("lock", abi.StatusActive))
		},
		"sold since": func(w *world) {
			w.must(owner, chain.OpTransfer, w.accepts("lock", owner, other, 0))
			w.must(other, chain.OpBindDevice, &chain.BindDevice{Device: person("lock").id(), Contracts: []string{"judge"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := watched(t)
			w.want(w.says(gate1, abi.LevelQuarantine), abi.OK)
			meanwhile(w)
			w.want(w.says(gate2, abi.LevelQuarantine), abi.OK)
			w.wantDevice("lock", abi.StatusActive)
			w.want(w.says(gate3, abi.LevelQuarantine), abi.OK)
			w.wantDevice("lock", abi.StatusQuarantined)
		})
	}
	w := watched(t)
	w.want(w.says(gate1, abi.LevelQuarantine), abi.OK)
	w.pass(chain.VerdictWindow - 1)
	w.want(w.says(gate2, abi.LevelQuarantine), abi.OK)
	w.wantDevice("lock", abi.StatusQuarantined)
}

// What a contract made a gateway say does not count once its owner has bound
// another one instead.
func TestVerdictOfAnUnboundContract(t *testing.T) {
	w := watched(t)
	w.deploy(developer, "other")
	w.want(w.says(gate1, abi.LevelQuarantine), abi.OK)
	w.must(owner, chain.OpBindDevice, &chain.BindDevice{Device: person("lock").id(), Contracts: []string{"other"}})
	w.must(gate2, chain.OpVerdict, judged("lock", "other", abi.LevelQuarantine))
	w.wantDevice("lock", abi.StatusActive)
	w.must(gate3, chain.OpVerdict, judged("lock", "other", abi.LevelQuarantine))
	w.wantDevice("lock", abi.StatusQuarantined)
}

// As many gateways as the parameters say must agree, and never one alone.
func TestVerdictGateways(t *testing.T) {
	for k, want := range map[uint64]int{0: 2, 1: 2, 2: 2, 3: 3} {
		w := newWorld(t, func(g *chain.Genesis) {
			inhabited(g)
			g.Params.VerdictGateways = k
		})
		w.deploy(developer, "judge")
		w.enrol("lock", nil)
		w.must(owner, chain.OpBindDevice, &chain.BindDevice{Device: person("lock").id(), Contracts: []string{"judge"}})
		said := 0
		for _, g := range []person{gate1, gate2, gate3} {
			if w.device("lock").Status == abi.StatusActive {
				w.want(w.says(g, abi.LevelQuarantine), abi.OK)
				said++
			}
		}
		if w.wantDevice("lock", abi.StatusQuarantined); said != want {
			t.Errorf("%d: %d gateways were enough", k, said)
		}
	}
	w := newWorld(t, council(1, nil))
	for k, want := range map[uint64]abi.Code{1: abi.CodeBadArgument, 2: abi.OK, chain.MaxVerdicts: abi.OK, chain.MaxVerdicts + 1: abi.CodeBadArgument} {
		p := record(w, chain.ParamsKey(), chain.ParseParams)
		p.VerdictGateways = k
		w.want(w.do(member(1), chain.OpPropose, proposal(chain.ProposeParams, &p)), want)
	}
}

// Many alerts push no grave verdict out of the record.
func TestVerdictsAreBounded(t *testing.T) {
	w := newWorld(t, func(g *chain.Genesis) {
		inhabited(g)
		for i := range 2 * chain.MaxVerdicts {
			g.Accounts = append(g.Accounts, chain.Grant{Key: person(fmt.Sprint("gateway ", i)).Public(), Roles: abi.RoleGateway})
		}
	})
	w.deploy(developer, "judge")
	w.enrol("lock", nil)
	w.must(owner, chain.OpBindDevice, &chain.BindDevice{Device: person("lock").id(), Contracts: []string{"judge"}})
	w.want(w.says(gate1, abi.LevelQuarantine), abi.OK)
	for i := range 2 * chain.MaxVerdicts {
		w.want(w.says(person(fmt.Sprint("gateway ", i)), abi.LevelAlert), abi.OK)
	}
	v := record(w, chain.VerdictsKey(person("lock").id()), chain.ParseVerdicts)
	if len(v.List) != chain.MaxVerdicts || v.List[0].Gateway != gate1.id() {
		t.Errorf("verdicts are %+v", v)
	}
	w.want(w.says(gate2, abi.LevelQuarantine), abi.OK)
	w.wantDevice("lock", abi.StatusQuarantined)
}

func TestEvidence(t *testing.T) {
	w := watched(t)
	lock := person("lock").id()
	at := w.l.Head().Time + 1000
	expired, err := chain.SignStatement(&chain.Statement{Chain: w.l.ChainID(), Kind: chain.StatementReport, Expiry: start - 1,
		Body: (&chain.Report{Time: at, Kind: abi.ObserveTelemetry, Payload: telemetry}).Append(nil)}, person("lock"))
	if err != nil {
		t.Fatal(err)
	}
	silence := &chain.Evidence{Device: lock, Contract: "judge",
		Statement: w.signed(chain.StatementReport, (&chain.Report{Time: at, Kind: abi.ObserveSilence, Payload: telemetry}).Append(nil), "lock")}
	w.try([]attempt{
		{"of no device", gate1, chain.OpEvidence, w.evidence("none", "lock", "judge", at), abi.CodeUnknownDevice},
		{"for a contract that is not bound", gate1, chain.OpEvidence, w.evidence("lock", "lock", "none", at), abi.CodeNotBound},
		{"signed by another device", gate1, chain.OpEvidence, w.evidence("lock", "camera", "judge", at), abi.CodeKeyNotCurrent},
		{"signed by the gateway", gate1, chain.OpEvidence, w.evidence("lock", gate1, "judge", at), abi.CodeKeyNotCurrent},
		{"that is over", gate1, chain.OpEvidence, &chain.Evidence{Device: lock, Contract: "judge", Statement: expired}, abi.CodeExpired},
		{"with a broken signature", gate1, chain.OpEvidence, &chain.Evidence{Device: lock, Contract: "judge", Statement: forge(w.evidence("lock", "lock", "judge", at).Statement)}, abi.CodeBadSignature},
		{"of what a device cannot observe", gate1, chain.OpEvidence, silence, abi.CodeBadArgument},
		{"from before it was bound", gate1, chain.OpEvidence, w.evidence("lock", "lock", "judge", w.l.Head().Time-10_000), abi.CodeReplayed},
	})
	first := w.evidence("lock", "lock", "judge", at)
	o := w.do(nobody, chain.OpEvidence, first)
	w.wantNotices(o, chain.TopicDeviceEvidence, chain.TopicDeviceStatus)
	d := w.wantDevice("lock", abi.StatusQuarantined)
	if d.SetBy != nil || d.Reason != "scans the network" {
		t.Errorf("device is %+v", d)
	}
	message := abi.AppendObservation(nil, &abi.Observation{Kind: abi.ObserveTelemetry, Device: lock, Time: at, Payload: telemetry})
	for _, e := range o.Events {
		if string(e.Topic) != "judged" {
			continue
		}
		in, err := abi.ParseInput(e.Data)
		if err != nil || in.Evidence == nil || *in.Evidence != lock || !bytes.Equal(in.Message, message) || in.Caller == nil || *in.Caller != nobody.id() {
			t.Errorf("the contract was told %+v, %v", in, err)
		}
	}
	w.try([]attempt{{"a replay", gate1, chain.OpEvidence, first, abi.CodeReplayed}})
	w.pass(5000)
	unused := w.evidence("lock", "lock", "judge", at+1)
	w.must(owner, chain.OpDeviceStatus, set("lock", abi.StatusActive))
	w.try([]attempt{
		{"a replay after the release", gate1, chain.OpEvidence, first, abi.CodeReplayed},
		{"an unused one from before it", gate1, chain.OpEvidence, unused, abi.CodeReplayed},
	})
	w.must("lock", chain.OpRotate, w.rotation("lock", "second key", w.l.Head().Time+hour))
	w.want(w.do(gate1, chain.OpEvidence, w.evidence("lock", "lock", "judge", w.l.Head().Time+2000)), abi.CodeKeyNotCurrent)
	w.want(w.do(gate1, chain.OpEvidence, w.evidence("lock", "second key", "judge", w.l.Head().Time+2000)), abi.OK)
	w.wantDevice("lock", abi.StatusQuarantined)
}

// A call that looks like evidence is none: the contract is told of no device.
func TestCallIsNoEvidence(t *testing.T) {
	w := watched(t)
	message := abi.AppendObservation(nil, &abi.Observation{Kind: abi.ObserveTelemetry, Device: person("lock").id(), Time: 1, Payload: telemetry})
	o := w.must(nobody, chain.OpCall, &chain.Call{Contract: "judge", Message: message})
	in, err := abi.ParseInput(o.Events[0].Data)
	if err != nil || in.Evidence != nil {
		t.Errorf("the contract was told %+v, %v", in, err)
	}
}

// Evidence that the contract refuses leaves nothing, and may come again.
func TestRefusedEvidence(t *testing.T) {
	w := watched(t)
	w.must(owner, chain.OpDeviceStatus, set("lock", abi.StatusStolen)) // which no contract ends
	at := w.l.Head().Time + 1000
	w.want(w.do(gate1, chain.OpEvidence, w.evidence("lock", "lock", "judge", at)), abi.CodeAborted)
	w.must(owner, chain.OpDeviceStatus, set("lock", abi.StatusActive))
	w.want(w.do(gate1, chain.OpEvidence, w.evidence("lock", "lock", "judge", at)), abi.OK)
}
