package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/wasm"
)

// plainWasm is testdata/script.rs as another code, without migrate.
//
//go:embed testdata/plain.wasm
var plainWasm []byte

func (w *world) contract(name string) chain.Contract {
	w.t.Helper()
	return record(w, chain.ContractKey(name), chain.ParseContract)
}

func (w *world) version(name string, number uint64) chain.ContractVersion {
	w.t.Helper()
	return record(w, chain.VersionKey(name, number), chain.ParseContractVersion)
}

// deployPlain makes contracts of plainWasm, and brings scriptWasm to the
// ledger as well: the code to upgrade to. It returns both hashes.
func (w *world) deployPlain(by person, names ...string) (plain, next abi.Hash) {
	w.t.Helper()
	plain = w.upload(by, plainWasm)
	for _, name := range names {
		w.must(by, chain.OpDeploy, &chain.Deploy{Name: name, Code: plain, Note: "first"})
	}
	next = w.upload(by, scriptWasm)
	w.must(by, chain.OpDeploy, &chain.Deploy{Name: "elsewhere", Code: next})
	for w.contract("elsewhere").Status != chain.ContractActive {
		w.tickOver()
	}
	return plain, next
}

// Nobody but a contract's owner, who must still be a developer, upgrades it.
func TestUpgradeIsTheOwners(t *testing.T) {
	w := newWorld(t, nil)
	plain, next := w.deployPlain(developer, "c", "d")
	w.deploy(other, "others")
	w.must(owner, chain.OpEnrol, w.enrolment("lock", owner, nil))
	up := &chain.Upgrade{Name: "c", Code: next}
	w.try([]attempt{
		{"by the operator", operator, chain.OpUpgrade, up, abi.CodeNotPermitted},
		{"by another contract's owner", other, chain.OpUpgrade, up, abi.CodeNotPermitted},
		{"by an account without roles", nobody, chain.OpUpgrade, up, abi.CodeNotPermitted},
		{"by an authority", authority, chain.OpUpgrade, up, abi.CodeNotPermitted},
		{"by a device", "lock", chain.OpUpgrade, up, abi.CodeNotPermitted},
		{"by nobody on the ledger", "stranger", chain.OpUpgrade, up, abi.CodeUnknownAccount},
		{"of another's contract", developer, chain.OpUpgrade, &chain.Upgrade{Name: "others", Code: plain}, abi.CodeNotPermitted},
		{"of nothing", developer, chain.OpUpgrade, &chain.Upgrade{Name: "none", Code: next}, abi.CodeUnknownContract},
		{"to a code that is not there", developer, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: abi.Hash{1}}, abi.CodeUnknownUpload},
		{"with a message too long", developer, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: next, Migrate: make([]byte, abi.MaxValue+1)}, abi.CodeTooLarge},
		{"with a note of two lines", developer, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: next, Note: "a\nb"}, abi.CodeBadArgument},
		{"by the owner", developer, chain.OpUpgrade, up, abi.OK},
		{"of his other contract", developer, chain.OpUpgrade, &chain.Upgrade{Name: "d", Code: next}, abi.OK},
	})
	w.must(operator, chain.OpGrant, &chain.Grant{Key: developer.Public()})
	w.want(w.do(developer, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: plain}), abi.CodeMissingRole)
}

// An upgrade: the old code answers calls until the activation, timers that it
// set run with the new one, and the history says who, when, why and what.
func TestUpgrade(t *testing.T) {
	w := newWorld(t, func(g *chain.Genesis) { g.Params.ActivationDelay = 5000 })
	plain, next := w.deployPlain(developer, "c")
	first := w.version("c", 1)
	at := w.l.Head().Time
	w.want(w.run(nobody, "c", do('s', 0, "k", "old").add('t', at+20_000, string(do('E', 0, "ran", "")), "")), abi.OK)
	w.now = at + 1000
	migrate := do('g', 0, "k", "").add('s', 0, "k", "new").add('E', 0, "migrated", "")
	o := w.must(developer, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: next, Migrate: migrate, Note: "because"})
	if string(o.Result) != "\x02" {
		t.Errorf("the upgrade's result is %x", o.Result)
	}
	begun := w.l.Head()
	want := chain.ContractVersion{Code: next, Account: developer.id(), Time: begun.Time, Height: begun.Height, Activation: begun.Time + 5000,
		Status: chain.VersionPending, Note: "because"}
	hash := abi.Hash(sha256.Sum256(migrate))
	want.Message = &hash
	if got := w.version("c", 2); !reflect.DeepEqual(got, want) {
		t.Errorf("version 2 is %+v, want %+v", got, want)
	}
	w.want(w.do(developer, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: plain}), abi.CodeUpgradePending)
	w.now = want.Activation - 1
	if o := w.run(nobody, "c", do('V', 0, "", "")); string(o.Result) != "plain" {
		t.Errorf("before the activation %q answers", o.Result)
	}
	list := w.tickOver()
	if events(list) != "script" || string(list[0].Result) != "old" || list[0].Gas <= gasTimer {
		t.Errorf("migrate: %+v", list[0])
	}
	want.Status, want.Decided = chain.VersionActive, w.l.Head().Height
	if got := w.version("c", 2); !reflect.DeepEqual(got, want) {
		t.Errorf("version 2 is %+v, want %+v", got, want)
	}
	first.Status = chain.VersionSuperseded
	if got := w.version("c", 1); !reflect.DeepEqual(got, first) || first.Code != plain || first.Note != "first" {
		t.Errorf("version 1 is %+v, want %+v", got, first)
	}
	c := w.contract("c")
	if c.Code != next || c.Version != 2 || c.Versions != 2 || c.Pending != 0 || c.Status != chain.ContractActive || c.Note != "because" || c.Timers != 1 {
		t.Errorf("contract is %+v", c)
	}
	if o := w.run(nobody, "c", do('V', 0, "", "").add('g', 0, "k", "")); string(o.Result) != "scriptnew" {
		t.Errorf("after the activation %q answers", o.Result)
	}
	w.now = at + 20_000
	if got := events(w.tickOver()); got != "script" {
		t.Errorf("the old code's timer ran with %q", got)
	}
}

// A migrate that fails leaves state, events, timers and devices as they were,
// and the old code in place; its gas is the owner's.
func TestMigrateFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		end   script
		want  abi.Code
		abort uint16
	}{
		{"abort", do('x', 78, "no", ""), abi.CodeAborted, 78},
		{"trap", do('u', 0, "", ""), abi.CodeUnreachable, 0},
		{"loop", do('l', 0, "", ""), abi.CodeOutOfGas, 0},
		{"unknown command", do('?', 0, "", ""), abi.CodeAborted, 9999},
	} {
		w := newWorld(t, func(g *chain.Genesis) { g.Params.GasRefill = 0 })
		_, next := w.deployPlain(other, "c", "d")
		w.must(other, chain.OpEnrol, w.enrolment("lock", other, nil))
		lock := person("lock").id()
		w.want(w.run(nobody, "c", do('s', 0, "k", "old").add('t', w.l.Head().Time+50_000, string(do('E', 0, "ran", "")), "")), abi.OK)
		work := do('s', 0, "k", "new").add('s', 0, "k2", "").add('e', 0, "t", "").add('t', start+9_000_000, "", "").
			add('c', 0, "d", string(do('s', 0, "k", "v").add('S', int64(abi.StatusStolen), string(lock[:]), "")))
		msg := append(bytes.Clone(work), c.end...)
		w.must(other, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: next, Migrate: msg})
		before, gas := w.contract("c"), record(w, chain.QuotaKey(other.id()), chain.ParseQuota).Gas
		list := w.tickOver()
		if list[0].Code != c.want || list[0].Abort != c.abort || list[0].Events != nil {
			t.Errorf("%s: outcome is %+v", c.name, list[0])
		}
		if left := record(w, chain.QuotaKey(other.id()), chain.ParseQuota).Gas; gas-left != list[0].Gas || list[0].Gas > w.l.Genesis().Params.TxGas {
			t.Errorf("%s: %d gas were used and %d charged", c.name, list[0].Gas, gas-left)
		}
		before.Pending = 0
		if got := w.contract("c"); got != before {
			t.Errorf("%s: contract is %+v, want %+v", c.name, got, before)
		}
		v := w.version("c", 2)
		if v.Status != chain.VersionFailed || v.Failure != c.want || v.FailureCode != c.abort || v.Decided != w.l.Head().Height {
			t.Errorf("%s: version 2 is %+v", c.name, v)
		}
		if v := w.version("c", 1); v.Status != chain.VersionActive {
			t.Errorf("%s: version 1 is %v", c.name, v.Status)
		}
		o := w.run(nobody, "c", do('V', 0, "", "").add('n', 2, "", ""))
		if string(o.Result) != "plaink=old;." || w.count(chain.StatePrefix("d")) != 0 {
			t.Errorf("%s: afterwards %q", c.name, o.Result)
		}
		if d := record(w, chain.DeviceKey(lock), chain.ParseDevice); d.Status != abi.StatusActive {
			t.Errorf("%s: the device is %v", c.name, d.Status)
		}
		w.now = w.l.Head().Time + 50_000
		if got := events(w.tickOver()); got != "plain" {
			t.Errorf("%s: the timer ran with %q", c.name, got)
		}
		w.must(other, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: next, Migrate: work})
		list = w.tickOver()
		device := record(w, chain.DeviceKey(lock), chain.ParseDevice)
		if got := w.contract("c"); got.Version != 3 || got.Code != next || len(list[0].Events) != 2 || device.Status != abi.StatusStolen {
			t.Errorf("%s: without its end it gives %+v, %+v", c.name, got, list[0])
		}
	}
}

// Who has no gas left for migrate has no upgrade.
func TestMigrateIsPaidFor(t *testing.T) {
	w := newWorld(t, func(g *chain.Genesis) { g.Params.GasRefill = 0 })
	_, next := w.deployPlain(developer, "c")
	w.must(operator, chain.OpGrant, &chain.Grant{Key: developer.Public(), Roles: abi.RoleDeveloper, GasQuota: 6_000_000})
	w.must(developer, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: next, Migrate: do('l', 0, "", "")})
	list := w.tickOver()
	left := record(w, chain.QuotaKey(developer.id()), chain.ParseQuota).Gas
	if v := w.version("c", 2); v.Failure != abi.CodeOutOfGas || list[0].Gas < 5_000_000 || left != 0 {
		t.Errorf("version 2 is %+v for %d gas, and %d are left", v, list[0].Gas, left)
	}
	if c := w.contract("c"); c.Version != 1 || c.Status != chain.ContractActive {
		t.Errorf("contract is %+v", c)
	}
}

// A code without migrate takes over in silence, but not with a message; a code
// may follow itself, and an earlier one may come back, with the state as it is.
func TestRollback(t *testing.T) {
	w := newWorld(t, nil)
	plain, next := w.deployPlain(developer, "c")
	upgrade := func(code abi.Hash, msg script, want chain.VersionStatus) {
		t.Helper()
		w.must(developer, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: code, Migrate: msg})
		w.tickOver()
		if v := w.version("c", w.contract("c").Versions); v.Status != want {
			t.Errorf("version %d is %v, want %v", w.contract("c").Versions, v.Status, want)
		}
	}
	upgrade(next, do('s', 0, "k", "by migrate"), chain.VersionActive)
	upgrade(next, do('s', 0, "again", ""), chain.VersionActive)
	upgrade(plain, script("for no migrate"), chain.VersionFailed)
	if v := w.version("c", 4); v.Failure != abi.CodeNoEntryPoint {
		t.Errorf("version 4 is %+v", v)
	}
	upgrade(plain, nil, chain.VersionActive)
	if o := w.run(nobody, "c", do('V', 0, "", "").add('g', 0, "k", "")); string(o.Result) != "plainby migrate" {
		t.Errorf("afterwards %q answers", o.Result)
	}
	var got string
	for i := range uint64(5) {
		got += w.version("c", i+1).Status.String() + " "
	}
	if want := "superseded superseded superseded failed active "; got != want {
		t.Errorf("the versions are %s, want %s", got, want)
	}
}

// The upload is completed by the upgrade; one that can be no code is dropped
// with the refusal, and leaves no version.
func TestUpgradeCompletesUploads(t *testing.T) {
	w := newWorld(t, nil)
	w.deployPlain(developer, "c")
	bad := w.upload(developer, []byte("no module"))
	w.want(w.do(developer, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: bad}), abi.CodeModuleMalformed)
	if c := w.contract("c"); c.Pending != 0 || c.Versions != 1 || w.count([]byte{'u'}) != 0 {
		t.Errorf("contract is %+v", c)
	}
	good := w.upload(developer, append(bytes.Clone(scriptWasm), 0, 3, 2, 'u', 'p'))
	w.must(developer, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: good})
	w.tickOver()
	if c := w.contract("c"); c.Code != good {
		t.Errorf("contract is %+v", c)
	}
}

// A contract that is not active is not upgraded; one whose init failed is
// deployed anew, and its history goes on.
func TestUpgradeOfWhatIsNotActive(t *testing.T) {
	w := newWorld(t, nil)
	hash := w.upload(developer, scriptWasm)
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "c", Code: hash, Init: do('x', 7, "", "")})
	w.want(w.block(w.tx(developer, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: hash}))[1], abi.CodeContractFailed)
	if v := w.version("c", 1); v.Status != chain.VersionFailed || v.FailureCode != 7 {
		t.Errorf("version 1 is %+v", v)
	}
	list := w.block(w.tx(developer, chain.OpDeploy, &chain.Deploy{Name: "c", Code: hash}), w.tx(developer, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: hash}))
	w.want(list[1], abi.CodeContractPending)
	w.tickOver()
	if c := w.contract("c"); c.Version != 2 || c.Versions != 2 || c.Status != chain.ContractActive || w.version("c", 2).Status != chain.VersionActive {
		t.Errorf("contract is %+v", c)
	}
}

// Within the activating block, who comes after the timer meets the new code,
// nested or not, and migrate itself cannot be entered.
func TestUpgradeWithinABlock(t *testing.T) {
	w := newWorld(t, nil)
	_, next := w.deployPlain(developer, "c", "d")
	at := w.l.Head().Time + 1000
	w.want(w.run(nobody, "d", do('t', at, string(do('q', 0, "c", string(do('V', 0, "", ""))).add('E', 0, "ran", "")), "")), abi.OK)
	inside := do('c', 0, "d", string(do('q', 0, "c", "")))
	w.now = at - 1
	w.must(developer, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: next, Migrate: inside})
	w.now = at
	list := w.block(w.tx(nobody, chain.OpCall, &chain.Call{Contract: "d", Message: do('c', 0, "c", string(do('V', 0, "", "")))}))
	got := []string{string(list[0].Result), string(list[1].Result), string(list[2].Result)}
	// d's timer is due at the same time as the upgrade and was there before it.
	want := []string{length(5) + "plain", length(8) + minus(abi.CodeReentrant), length(6) + "script"}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// No decision is denied by an upgrade, and every one is of the code of its
// height.
func TestDecideWhileUpgrading(t *testing.T) {
	w := newWorld(t, func(g *chain.Genesis) { g.Params.ActivationDelay = 1000 })
	plain, next := w.deployPlain(developer, "policy")
	w.must(developer, chain.OpBind, &chain.Bind{Domain: abi.DefaultDomain, Contract: "policy"})
	w.enrol("lock", nil)
	codes := map[uint64]abi.Hash{w.l.Head().Height: plain}
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	answers := make([]map[uint64]abi.Answer, 4) // the last is for this goroutine
	askInto := func(i int) {
		a := w.decide("lock", open)
		if before, there := answers[i][a.Height]; !there || before.Permit {
			answers[i][a.Height] = a
		}
	}
	for i := range answers {
		answers[i] = map[uint64]abi.Answer{}
		if i == len(answers)-1 {
			continue
		}
		asking.Go(func() {
			for ctx.Err() == nil {
				askInto(i)
			}
		})
	}
	now := plain
	for i := range 20 {
		to, msg := next, do('s', 0, "k", "v")
		if now == next {
			to, msg = plain, nil
		}
		if i%5 == 4 { // fails: the code stays
			to, msg = next, do('x', 1, "", "")
		}
		w.must(developer, chain.OpUpgrade, &chain.Upgrade{Name: "policy", Code: to, Migrate: msg})
		codes[w.l.Head().Height] = now
		askInto(len(answers) - 1)
		w.tickOver()
		if i%5 != 4 {
			now = to
		}
		codes[w.l.Head().Height] = now
		askInto(len(answers) - 1)
	}
	cancel()
	asking.Wait()
	seen := 0
	for _, byHeight := range answers {
		for height, a := range byHeight {
			seen++
			if want := codes[height]; !a.Permit || a.CodeHash != want || a.Reason == 5 != (want == plain) {
				t.Errorf("at height %d: %+v, want a permit by code %x", height, a, want[:4])
			}
		}
	}
	if seen < 40 {
		t.Errorf("%d heights were asked at", seen)
	}
}

// A version's record is bounded and paid for: history costs its owner, not the
// ledger.
func TestHistoryIsPaidFor(t *testing.T) {
	w := newWorld(t, func(g *chain.Genesis) { g.Params.StorageRefill = 0 })
	_, next := w.deployPlain(developer, "c")
	before := record(w, chain.QuotaKey(developer.id()), chain.ParseQuota).Storage
	for range 3 {
		w.must(developer, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: next, Note: string(bytes.Repeat([]byte("n"), chain.MaxText))})
		w.tickOver()
	}
	spent := before - record(w, chain.QuotaKey(developer.id()), chain.ParseQuota).Storage
	if spent < 3*(chain.MaxText+100) || spent > 3*600 {
		t.Errorf("three versions cost %d bytes", spent)
	}
	w.must(operator, chain.OpGrant, &chain.Grant{Key: developer.Public(), Roles: abi.RoleDeveloper, StorageQuota: 1})
	w.want(w.do(developer, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: next}), abi.CodeStorageQuota)
	if c := w.contract("c"); c.Versions != 4 || c.Pending != 0 {
		t.Errorf("contract is %+v", c)
	}
}

// A crash between upgrade and activation: after the restart the code that is
// pending is compiled first, and the upgrade goes on.
func TestUpgradeSurvivesARestart(t *testing.T) {
	w := newWorld(t, func(g *chain.Genesis) { g.Params.ActivationDelay = 5000 })
	w.deployPlain(developer, "c")
	next := w.upload(developer, append(bytes.Clone(scriptWasm), 0, 3, 2, 'r', 's'))
	w.must(developer, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: next, Migrate: do('s', 0, "k", "v")})
	w.reopen()
	if err := w.l.wantContracts(); err != nil {
		t.Fatal(err)
	}
	if code := <-w.l.compiles; code != next || len(w.l.compiles) != 0 {
		t.Errorf("%x is wanted, and %d more", code[:4], len(w.l.compiles))
	}
	w.tickOver()
	if c := w.contract("c"); c.Code != next || w.count(chain.StatePrefix("c")) != 1 {
		t.Errorf("contract is %+v", c)
	}
}

// A block that activates a code which is not compiled waits for it before it
// is given its time: compiling may take longer than validators' clocks may
// differ.
func TestProposeCompilesFirst(t *testing.T) {
	w := newWorld(t, nil)
	w.deployPlain(developer, "c")
	for i, ready := range []bool{false, true} {
		next := w.upload(developer, append(bytes.Clone(scriptWasm), 0, 4, 2, 'p', 'c', fresh()))
		w.must(developer, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: next})
		if ready {
			if err := w.l.compile(t.Context(), chain.Protocol, next); err != nil {
				t.Fatal(err)
			}
		}
		due, _ := w.l.NextTimer()
		w.now = due + 6000 // by the time that it is compiled
		k, err := w.l.Propose(t.Context(), due, [][]byte{chain.AppendTick(nil, due)})
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int64{false: w.now, true: due}[ready]; k.Header.Time != want || !w.l.runtime.Ready(chain.Protocol, next) {
			t.Errorf("ready before: %v; the block's time is %d, want %d", ready, k.Header.Time, want)
		}
		w.commit(k)
		if c := w.contract("c"); c.Version != uint64(i+2) {
			t.Errorf("contract is %+v", c)
		}
	}
}

// Four ledgers follow the same chain through upgrades: one leads, one verifies
// and is restarted in between, one interprets, one only commits, later.
func TestUpgradeIsTheSameEverywhere(t *testing.T) {
	leader := newWorld(t, nil)
	verifier, late := worldOn(t, leader.genesis, wasm.Config{}), worldOn(t, leader.genesis, wasm.Config{})
	slow := worldOn(t, leader.genesis, wasm.Config{Engine: wasm.EngineInterpreter})
	follow := func(w *world, from uint64) {
		t.Helper()
		for h := from; h <= leader.l.Head().Height; h++ {
			w.commit(leader.blockAt(h))
		}
	}
	_, next := leader.deployPlain(developer, "c")
	for _, msg := range []script{do('s', 0, "k", "v"), do('s', 0, "k", "w").add('x', 1, "", ""), nil} {
		leader.must(developer, chain.OpUpgrade, &chain.Upgrade{Name: "c", Code: next, Migrate: msg})
		leader.tickOver()
		from := verifier.l.Head().Height + 1
		follow(slow, from)
		for h := from; h <= leader.l.Head().Height; h++ {
			if err := verifier.l.Verify(t.Context(), leader.blockAt(h)); err != nil {
				t.Fatal(err)
			}
			verifier.reopen()
			verifier.commit(leader.blockAt(h))
		}
	}
	follow(late, 1)
	for _, w := range []*world{verifier, slow, late} {
		if w.l.Head() != leader.l.Head() || !bytes.Equal(w.dump(), leader.dump()) {
			t.Error("the ledgers differ")
		}
	}
}

func (w *world) blockAt(height uint64) *chain.Block {
	w.t.Helper()
	raw, _, _, err := w.l.Block(height)
	if err != nil {
		w.t.Fatal(err)
	}
	k, err := chain.ParseBlock(raw)
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}
