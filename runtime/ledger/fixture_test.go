package ledger

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/wasm"
)

var update = flag.Bool("update", false, "make the newest chain in testdata anew")

// A fixture is a chain that some version of this program made: its genesis,
// then block and certificate in turn, in chain.gz, and what came of every
// transaction in transcript.txt, for people who look for the difference.
type fixture struct {
	dir  string
	ops  chain.Op // the last operation that there was
	ends int      // ways in which transactions and timers ended, at least
}

// fixtures are the chains that must replay. Only the last is ever made anew,
// and that one no more once its newest protocol version is released.
var fixtures = []fixture{
	{"testdata/chain-v1/", chain.OpUpgrade, 44},
	{"testdata/chain-v2/", chain.OpGuardians, 44}, // from version 1 to 2 in its middle
	{"testdata/chain-v3/", chain.OpSealed, 55},    // over version 2 to 3
}

const rulesChanged = `
The chain in %s does not replay as it was made: the rules of a protocol version
that it has have changed, be it gas, limits, the rewriter or the ledger. Nodes
with the old rules and nodes with the new ones would part.
Until the first release the newest version may be changed on purpose: then make
the newest chain anew, in a commit of its own:

	go test ./runtime/ledger -run Fixture -update

Otherwise never: new rules belong to the next version.
`

// TestFixtureReplays: a committed chain leads to the same roots on every
// engine and processor that the test runs on.
func TestFixtureReplays(t *testing.T) {
	if *update {
		makeFixture(t, fixtures[len(fixtures)-1].dir)
	}
	for _, f := range fixtures {
		parts := f.read(t)
		want, err := os.ReadFile(f.dir + "transcript.txt")
		if err != nil {
			t.Fatal(err)
		}
		for _, engine := range []wasm.Engine{wasm.EngineAuto, wasm.EngineInterpreter} {
			t.Run(f.dir+engine.String(), func(t *testing.T) {
				w := worldOn(t, parts[0], wasm.Config{Engine: engine})
				for i := 1; i < len(parts); i += 2 {
					w.replay(parts[i], parts[i+1], f.dir)
				}
				if got := w.transcript(); got != string(want) {
					t.Errorf("the chain has the same roots, but another transcript:\n%s", firstDifference(got, string(want)))
				}
			})
		}
	}
}

func (f *fixture) read(t *testing.T) [][]byte {
	t.Helper()
	file, err := os.Open(f.dir + "chain.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := chain.ParseOutcomes(raw) // a list of byte strings
	if err != nil || len(parts) < 3 || len(parts)%2 == 0 {
		t.Fatalf("the fixture has %d parts, %v", len(parts), err)
	}
	return parts
}

// replay takes a block as a node that catches up does.
func (w *world) replay(block, certificate []byte, dir string) {
	w.t.Helper()
	k, err := chain.ParseBlock(block)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := chain.ParseCertificate(certificate)
	if err == nil {
		err = c.Verify(&k.Header, w.l.ValidatorSet())
	}
	if err != nil {
		w.t.Fatalf("certificate of block %d: %v", k.Header.Height, err)
	}
	if err := w.l.Verify(w.t.Context(), k); err != nil {
		w.t.Fatalf("%v"+rulesChanged, err, dir)
	}
	if err := w.l.Commit(w.t.Context(), k, &c); err != nil {
		w.t.Fatal(err)
	}
}

// transcript tells what came of everything in a chain, a line each, and how
// its policy decides in the end.
func (w *world) transcript() string {
	w.t.Helper()
	var b strings.Builder
	for h := uint64(1); h <= w.l.Head().Height; h++ {
		k := w.blockAt(h)
		fmt.Fprintf(&b, "block %d +%d ms, state %x\n", h, k.Header.Time-start, k.Header.State[:8])
		if before := w.blockAt(h - 1).Header.Protocol; before != k.Header.Protocol {
			fmt.Fprintf(&b, "  from here on protocol version %d\n", k.Header.Protocol)
		}
		list := w.outcomes(h)
		timers := len(list) - len(k.Txs)
		for i, o := range list {
			what := "timer"
			if i >= timers {
				what = operationOf(w.t, k.Txs[i-timers])
			}
			fmt.Fprintf(&b, "  %s: %s", what, o.Code.Name())
			if o.Code == abi.CodeAborted {
				fmt.Fprintf(&b, " %d", o.Abort)
			}
			fmt.Fprintf(&b, ", gas %d, %d events, result of %d bytes\n", o.Gas, len(o.Events), len(o.Result))
		}
	}
	for _, who := range []person{"reader", "lock", owner, "stranger"} {
		for _, domain := range []string{"building", "scripted"} {
			a := w.l.Decide(w.t.Context(), abi.Caller{Key: who.Public()}, domain, ask("unlock", "lock", "front-door"))
			fmt.Fprintf(&b, "decision in %s for %s: permit %v, %s, reason %d %s\n", domain, who, a.Permit, a.Code.Name(), a.Reason, a.ReasonID)
		}
	}
	return b.String()
}

func operationOf(t testing.TB, raw []byte) string {
	tx, err := chain.ParseTx(raw)
	if err != nil {
		t.Fatal(err)
	}
	if tx.Tick != 0 {
		return "tick"
	}
	return tx.Op.String()
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d is\n\t%s\nand was\n\t%s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, there were %d", len(a), len(b))
}

// fixtureValidators certify the fixtures' blocks; three of them would do for as
// long as there is no fifth.
var fixtureValidators = []person{"validator 1", "validator 2", "validator 3", "validator 4"}

// makeFixture makes the newest chain and its transcript anew, by a fixed course
// of events: the same code gives the same bytes.
func makeFixture(t *testing.T, dir string) {
	w := newWorld(t, func(g *chain.Genesis) {
		g.Validators = nil
		for i, v := range fixtureValidators {
			g.Validators = append(g.Validators, chain.Validator{ID: uint64(i + 1), Key: v.Public()})
			g.Accounts = append(g.Accounts, chain.Grant{Key: v.Public(), Roles: abi.RoleValidator})
		}
		inhabited(g)
		g.Params.Protocol = 1
		g.Params.BlockTimers, g.Params.ContractTimers, g.Params.AccountUploads = 4, 8, 5
		g.Params.ActivationDelay = 2000
	})
	course(w)
	parts := [][]byte{w.genesis}
	for h := uint64(1); h <= w.l.Head().Height; h++ {
		k := w.blockAt(h)
		c := certificateOf(t, &k.Header)
		parts = append(parts, chain.AppendBlock(nil, k), c.Append(nil))
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(chain.AppendOutcomes(nil, parts))
	err = errors.Join(err, z.Close())
	if err = errors.Join(err, os.WriteFile(dir+"chain.gz", packed.Bytes(), 0o644),
		os.WriteFile(dir+"transcript.txt", []byte(w.transcript()), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func certificateOf(t *testing.T, h *chain.Header) chain.Certificate {
	t.Helper()
	c := chain.Certificate{Metadata: []byte("fixture"), Sequence: 1}
	vote := chain.AppendVote(nil, h.Chain, h.Hash(), c.Metadata, c.Sequence)
	for i, v := range fixtureValidators {
		signature, err := v.Sign(vote)
		if err != nil {
			t.Fatal(err)
		}
		c.Signatures = append(c.Signatures, chain.Signature{Validator: uint64(i + 1), Signature: signature})
	}
	return c
}

// TestFixtureIsWhole: each chain holds every operation that there was, every
// kind of timer and most ways to end, so that a change of any rule shows.
func TestFixtureIsWhole(t *testing.T) {
	for _, f := range fixtures {
		parts := f.read(t)
		size := 0
		seen, versions := map[string]bool{}, map[uint64]bool{}
		for i := 1; i < len(parts); i += 2 {
			k, err := chain.ParseBlock(parts[i])
			if err != nil {
				t.Fatal(err)
			}
			size = max(size, len(parts[i]))
			versions[k.Header.Protocol] = true
			for _, raw := range k.Txs {
				seen[operationOf(t, raw)] = true
			}
		}
		for op := chain.OpGrant; op <= f.ops; op++ {
			if !seen[op.String()] {
				t.Errorf("no transaction of %s is a %s", f.dir, op)
			}
		}
		if ends := f.outcomes(t); len(ends) < f.ends || size < 4*abi.MaxChunk {
			t.Errorf("%s has %d ends, %v, and blocks of up to %d bytes", f.dir, len(ends), ends, size)
		}
		if f == fixtures[len(fixtures)-1] && len(versions) != chain.Protocol {
			t.Errorf("%s has blocks of versions %v", f.dir, versions)
		}
	}
}

// outcomes lists the ways in which transactions and timers ended.
func (f *fixture) outcomes(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(f.dir + "transcript.txt")
	if err != nil {
		t.Fatal(err)
	}
	ends := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if _, rest, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(line, "  ") {
			name, _, _ := strings.Cut(rest, ",")
			ends[name] = true
		}
	}
	return ends
}

// course is what happens on the fixture's chain. It ignores what comes of it:
// the transcript is for people to read when it changes.
func course(w *world) {
	courseOfAccounts(w)
	courseOfCodes(w)
	courseOfCalls(w)
	courseOfGovernance(w)
	courseOfVersions(w)
	courseOfCalls(w)
	courseOfTimers(w)
	courseOfUpgrades(w)
	courseOfPolicies(w)
	w.propose(fixtureValidators[0], w.raised(), fixtureValidators[1], fixtureValidators[2])
	courseOfDevices(w)
	courseOfVerdicts(w)
	courseOfLogs(w)
	courseOfReplays(w)
}

// later lets time pass, and lets every timer run that is due by then.
func (w *world) later(ms int64) {
	w.t.Helper()
	until := w.now + ms
	for {
		due, ok := w.l.NextTimer()
		if !ok || due > until {
			w.now = until
			return
		}
		w.tickOver()
	}
}

func courseOfAccounts(w *world) {
	key := person("new key").Public()
	w.block(
		w.tx(operator, chain.OpGrant, &chain.Grant{Key: key, Roles: abi.RoleDeveloper | abi.RoleOwner, GasQuota: 50_000_000, StorageQuota: 4000}),
		w.tx(operator, chain.OpGrant, &chain.Grant{Key: person("poor").Public(), Roles: abi.RoleDeveloper, GasQuota: 3_000_000, X25519: make([]byte, 32)}),
		w.tx(nobody, chain.OpGrant, &chain.Grant{Key: key, Roles: abi.RoleOperator}),
		w.tx(operator, chain.OpGrant, &chain.Grant{Key: key, Roles: abi.RoleValidator}),
		w.tx(owner, chain.OpEnrol, w.enrolment("lock", owner, chain.Labels{"floor": "3", "site": "hq"})),
		w.tx(owner, chain.OpEnrol, w.enrolment("reader", owner, chain.Labels{"role": "technician"})),
		w.tx(owner, chain.OpEnrol, w.enrolment("lock", owner, nil)),
		w.tx(other, chain.OpEnrol, w.enrolment("camera", other, nil)),
		w.tx(nobody, chain.OpEnrol, w.enrolment("toy", nobody, nil)),
	)
	w.later(1000)
	lock, camera := person("lock").id(), person("camera").id()
	w.block(
		w.tx(authority, chain.OpDeviceStatus, &chain.DeviceStatus{Device: camera, Status: abi.StatusStolen, Reason: "reported"}),
		w.tx(operator, chain.OpDeviceStatus, &chain.DeviceStatus{Device: camera, Status: abi.StatusActive}),
		w.tx(owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: camera, Status: abi.StatusActive}),
		w.tx(owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: abi.Hash{1}, Status: abi.StatusActive}),
		w.tx("camera", chain.OpBind, &chain.Bind{Domain: "d", Contract: "none"}),
		w.tx(owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: lock, Status: abi.StatusSuspended}),
		w.tx(owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: lock, Status: abi.StatusActive}),
		w.tx(authority, chain.OpRotate, w.rotation(authority, "authority's second key", w.now+60_000)),
		w.tx(authority, chain.OpDeviceStatus, &chain.DeviceStatus{Device: lock, Status: abi.StatusStolen}),
		w.tx("stranger", chain.OpBind, &chain.Bind{Domain: "d", Contract: "none"}),
	)
}

func courseOfCodes(w *world) {
	w.upload(developer, plainWasm)
	script := w.upload(developer, scriptWasm)
	big := append(bytes.Clone(scriptWasm), 0, 0xe0, 0xa7, 0x0c, 3, 'b', 'i', 'g') // a custom section of 200 KiB
	big = append(big, make([]byte, 0x0c<<14|0x27<<7|0x60-4)...)
	w.courseOfUpload(big)
	wrong, unfinished := abi.Hash{1}, abi.Hash{2}
	w.block(
		w.tx(developer, chain.OpUpload, &chain.Upload{Code: wrong, Length: 5}),
		w.tx(developer, chain.OpChunk, &chain.Chunk{Code: wrong, Data: []byte("wrong")}),
		w.tx(developer, chain.OpDeploy, &chain.Deploy{Name: "wrong", Code: wrong}),
		w.tx(developer, chain.OpUpload, &chain.Upload{Code: unfinished, Length: abi.MaxChunk + 5}),
		w.tx(developer, chain.OpChunk, &chain.Chunk{Code: unfinished, Index: 1, Data: []byte("right")}),
		w.tx(developer, chain.OpChunk, &chain.Chunk{Code: unfinished, Index: 2, Data: []byte("right")}),
		w.tx(developer, chain.OpDeploy, &chain.Deploy{Name: "wrong", Code: unfinished}),
		w.tx(developer, chain.OpUpload, &chain.Upload{Code: abi.Hash{3}, Length: 1 << 30}),
		w.tx(nobody, chain.OpUpload, &chain.Upload{Code: abi.Hash{3}, Length: 1}),
		w.tx(other, chain.OpChunk, &chain.Chunk{Code: unfinished, Data: []byte("x")}),
	)
	w.block(
		w.tx(developer, chain.OpDeploy, &chain.Deploy{Name: "a", Code: script, Init: do('s', 0, "k", "by init"), Note: "first"}),
		w.tx(developer, chain.OpDeploy, &chain.Deploy{Name: "fails", Code: script, Init: do('s', 0, "k", "").add('x', 77, "", "")}),
	)
	w.block(
		w.tx(other, chain.OpDeploy, &chain.Deploy{Name: "a", Code: script}),
		w.tx(other, chain.OpDeploy, &chain.Deploy{Name: "b", Code: script}),
		w.tx(nobody, chain.OpCall, &chain.Call{Contract: "a"}),
		w.tx(developer, chain.OpUpload, &chain.Upload{Code: script, Length: 5}),
	)
	w.later(5000)
	w.block(
		w.tx(nobody, chain.OpCall, &chain.Call{Contract: "fails"}),
		w.tx(developer, chain.OpDeploy, &chain.Deploy{Name: "fails", Code: script}),
		w.tx(developer, chain.OpDeploy, &chain.Deploy{Name: "big", Code: sha256.Sum256(big), Init: do('s', 0, "k", "big")}),
		w.tx(developer, chain.OpDeploy, &chain.Deploy{Name: "plain", Code: sha256.Sum256(plainWasm)}),
	)
	w.later(5000)
}

// courseOfUpload uploads a code with as many chunks in a block as it holds.
func (w *world) courseOfUpload(blob []byte) {
	w.t.Helper()
	hash := abi.Hash(sha256.Sum256(blob))
	raws := [][]byte{w.tx(developer, chain.OpUpload, &chain.Upload{Code: hash, Length: uint64(len(blob))})}
	for i := 0; i*abi.MaxChunk < len(blob); i++ {
		raws = append(raws, w.tx(developer, chain.OpChunk, &chain.Chunk{Code: hash, Index: uint64(i), Data: blob[i*abi.MaxChunk : min(len(blob), (i+1)*abi.MaxChunk)]}))
	}
	w.block(raws[:6]...)
	w.block(raws[6:]...)
}

func courseOfCalls(w *world) {
	lock, camera := person("lock").id(), person("camera").id()
	call := func(by person, to string, s script) []byte {
		return w.tx(by, chain.OpCall, &chain.Call{Contract: to, Message: s})
	}
	w.block(
		call(nobody, "a", do('s', 0, "k1", "1").add('s', 0, "k2", "2").add('d', 0, "k1", "").add('n', 3, "k", "").add('g', 0, "k2", "").add('i', 0, "", "")),
		call("lock", "a", do('i', 0, "", "").add('D', 0, string(lock[:]), "").add('e', 0, "topic", "data")),
		call(owner, "a", do('c', 0, "b", string(do('s', 0, "x", "y").add('i', 0, "", "").add('e', 0, "nested", "")))),
		call(owner, "a", do('c', 0, "b", string(do('s', 0, "gone", "y").add('x', 9, "", ""))).add('q', 0, "b", string(do('n', 3, "", "")))),
		call(owner, "a", do('c', 0, "a", "").add('c', 0, "none", "").add('c', 0, "fails", "").add('q', 0, "b", string(do('s', 0, "k", "v")))),
		call(owner, "b", do('S', int64(abi.StatusQuarantined), string(camera[:]), "by contract").add('S', int64(abi.StatusActive), string(lock[:]), "")),
		call(nobody, "a", do('s', 0, "gone", "1").add('e', 0, "gone", "").add('x', 7, "why", "")),
		call(nobody, "a", do('s', 0, "gone", "1").add('u', 0, "", "")),
		call(nobody, "a", do('r', 0, strings.Repeat("x", abi.MaxOutcomeData+1), "")),
		call(nobody, "a", do('s', 0, "", "")),
		call(nobody, "a", do('s', 0, strings.Repeat("k", abi.MaxKey), strings.Repeat("v", abi.MaxValue))),
		call(nobody, "a", do('s', 0, "k", strings.Repeat("v", abi.MaxValue+1))),
		call(nobody, "a", do('w', 0, "", "")),
		call(nobody, "a", do('c', 0, "b", string(do('c', 0, "a", "")))),
	)
	var events script
	for range abi.MaxEvents + 1 {
		events = events.add('e', 0, "t", "")
	}
	loop := (&chain.Call{Contract: "a", Message: do('s', 0, "gone", "1").add('l', 0, "", "")}).Append(nil)
	w.block(
		call(nobody, "a", events),
		w.sign(nobody, chain.Body{Op: chain.OpCall, Args: loop, Gas: 400_000}),
		w.sign(nobody, chain.Body{Op: chain.OpCall, Args: loop, Gas: 60_000}),
		call("new key", "a", do('s', 0, "large", strings.Repeat("v", 5000))),
		call("new key", "a", do('s', 0, "small", strings.Repeat("v", 500))),
		w.sign("poor", chain.Body{Op: chain.OpCall, Args: loop, Gas: 2_900_000}),
		call("poor", "a", nil),
		w.tx(owner, 999, encoded{0xa0}),
		w.tx(owner, chain.OpBind, encoded{0xa0}),
	)
}

// propose opens a proposal and has some approve it, and gives its number.
func (w *world) propose(by person, p *chain.Propose, approve ...person) uint64 {
	number := w.put(by, p)
	for _, v := range approve {
		w.vote(v, chain.OpApprove, number)
	}
	return number
}

func courseOfGovernance(w *world) {
	first, second, third := fixtureValidators[0], fixtureValidators[1], fixtureValidators[2]
	w.propose(first, w.joins("validator 5"), second, third, third)
	w.propose(operator, proposal(chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 5}), first, second, third, "validator 5")
	w.propose(first, proposal(chain.ProposeGrant, &chain.Grant{Key: person("auditor").Public(), Roles: abi.RoleAuditor}), second, third)
	withdrawn := w.propose(operator, proposal(chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 4}))
	w.vote(operator, chain.OpReject, withdrawn)
	rejected := w.propose(first, proposal(chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 4}))
	w.vote(second, chain.OpReject, rejected)
	w.vote(third, chain.OpReject, rejected)
	w.vote(fixtureValidators[3], chain.OpApprove, rejected)
	w.block(
		w.tx(nobody, chain.OpPropose, proposal(chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 4})),
		w.tx(first, chain.OpPropose, proposal(chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 77})),
		w.tx(first, chain.OpApprove, &chain.Vote{Proposal: 77}),
		w.tx("auditor", chain.OpGuardians, &chain.Guardians{Accounts: []abi.Hash{other.id(), developer.id()}, Threshold: 2, Delay: 3000}),
		w.tx(other, chain.OpGuardians, &chain.Guardians{Accounts: []abi.Hash{other.id()}, Threshold: 1}),
	)
	w.propose(other, proposal(chain.ProposeRecover, &chain.Recover{
		Account: person("auditor").id(), Statement: w.possessionOf(chain.StatementRotate, "auditor's second key", person("auditor").id()),
	}), developer)
	w.later(10_000)
}

// courseOfVersions raises the protocol version while contracts wait: one for
// its activation, one for that of its next version.
func courseOfVersions(w *world) {
	grow := w.upload(developer, growWasm)
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "grow", Code: grow})
	w.later(5000)
	call := &chain.Call{Contract: "grow"}
	w.block(w.tx(nobody, chain.OpCall, call), w.tx(developer, chain.OpDeploy, &chain.Deploy{Name: "late", Code: grow}),
		w.tx(developer, chain.OpUpgrade, &chain.Upgrade{Name: "grow", Code: grow, Note: "the same"}))
	skips := w.raised()
	params := record(w, chain.ParamsKey(), chain.ParseParams)
	params.Protocol += 2
	skips.Args = params.Append(nil)
	w.block(w.tx(fixtureValidators[0], chain.OpPropose, skips))
	number := w.propose(fixtureValidators[0], w.raised(), fixtureValidators[1])
	w.block(w.tx(nobody, chain.OpCall, call), w.tx(fixtureValidators[2], chain.OpApprove, &chain.Vote{Proposal: number}),
		w.tx(nobody, chain.OpCall, call))
	w.block(w.tx(nobody, chain.OpCall, call))
	w.later(5000)
	w.block(w.tx(nobody, chain.OpCall, &chain.Call{Contract: "late"}), w.tx(nobody, chain.OpCall, call))
}

func courseOfTimers(w *world) {
	w.later(5000)
	at := w.now + 10_000
	var s script
	for i := range 6 {
		s = s.add('t', at+int64(i%2), note(fmt.Sprint(i)), "")
	}
	w.run(nobody, "a", s)
	w.run(nobody, "a", do('t', at, "", "").add('t', at, "", "").add('t', at, "", ""))
	w.run("new key", "a", do('t', at, string(do('x', 5, "", "")), "").add('t', at, string(do('t', at+500, note("again"), "").add('i', 0, "", "")), ""))
	w.run("poor", "b", do('t', at+3000, string(do('l', 0, "", "")), ""))
	w.later(9_000)
	w.block(chain.AppendTick(nil, at), w.tx(nobody, chain.OpCall, &chain.Call{Contract: "a"}))
	w.later(10_000)
	w.later(chain.DefaultParams().UploadTTL)
}

func courseOfUpgrades(w *world) {
	plain, script := abi.Hash(sha256.Sum256(plainWasm)), abi.Hash(sha256.Sum256(scriptWasm))
	at := w.now
	w.block(
		w.tx(nobody, chain.OpCall, &chain.Call{Contract: "plain", Message: do('s', 0, "k", "old").add('t', at+3000, string(do('E', 0, "ran", "")), "")}),
		w.tx(developer, chain.OpUpgrade, &chain.Upgrade{Name: "plain", Code: script, Migrate: do('g', 0, "k", "").add('s', 0, "k", "new").add('c', 0, "b", string(do('i', 0, "", ""))), Note: "why"}),
		w.tx(developer, chain.OpUpgrade, &chain.Upgrade{Name: "plain", Code: script}),
		w.tx(operator, chain.OpUpgrade, &chain.Upgrade{Name: "big", Code: plain}),
		w.tx(developer, chain.OpUpgrade, &chain.Upgrade{Name: "none", Code: plain}),
		w.tx(developer, chain.OpUpgrade, &chain.Upgrade{Name: "big", Code: abi.Hash{9}}),
		w.tx(developer, chain.OpUpgrade, &chain.Upgrade{Name: "big", Code: script, Migrate: do('s', 0, "k", "gone").add('t', at+9000, "", "").add('x', 78, "", "")}),
		w.tx(nobody, chain.OpCall, &chain.Call{Contract: "plain", Message: do('V', 0, "", "")}),
	)
	w.later(4000)
	w.block(
		w.tx(nobody, chain.OpCall, &chain.Call{Contract: "plain", Message: do('V', 0, "", "").add('g', 0, "k", "")}),
		w.tx(nobody, chain.OpCall, &chain.Call{Contract: "big", Message: do('V', 0, "", "").add('g', 0, "k", "")}),
		w.tx(developer, chain.OpUpgrade, &chain.Upgrade{Name: "plain", Code: plain, Note: "back"}),
		w.tx(developer, chain.OpUpgrade, &chain.Upgrade{Name: "big", Code: plain, Migrate: []byte("for no migrate")}),
	)
	w.later(4000)
}

func courseOfPolicies(w *world) {
	access, err := os.ReadFile("../../contracts/access/access.wasm")
	if err != nil {
		w.t.Fatal(err)
	}
	policy, err := os.ReadFile("testdata/building.policy")
	if err != nil {
		w.t.Fatal(err)
	}
	messages, err := chain.ParseOutcomes(policy)
	if err != nil {
		w.t.Fatal(err)
	}
	hash := w.upload(developer, access)
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "access", Code: hash})
	w.later(3000)
	for _, m := range messages {
		a := chain.Call{Contract: "access", Message: m}
		w.block(w.sign(developer, chain.Body{Op: chain.OpCall, Args: a.Append(nil), Gas: 20_000_000}))
	}
	token, account := abi.Hash(sha256.Sum256([]byte("token"))), door.id()
	issue := chain.IssueToken{Token: token, Account: account, Domain: "building", Expiry: w.now + 1_000_000, Note: "gate"}
	w.block(
		w.tx(developer, chain.OpBind, &chain.Bind{Domain: "building", Contract: "access"}),
		w.tx(other, chain.OpBind, &chain.Bind{Domain: "building", Contract: "b"}),
		w.tx(other, chain.OpBind, &chain.Bind{Domain: "scripted", Contract: "b"}),
		w.tx(operator, chain.OpBind, &chain.Bind{Domain: "scripted", Contract: "plain"}),
		w.tx(operator, chain.OpBind, &chain.Bind{Domain: "scripted", Contract: "none"}),
		w.tx(operator, chain.OpIssueToken, &issue),
		w.tx(nobody, chain.OpIssueToken, &issue),
		w.tx(door, chain.OpRevokeToken, &chain.RevokeToken{Token: token}),
		w.tx(door, chain.OpRevokeToken, &chain.RevokeToken{Token: abi.Hash{1}}),
		w.tx(nobody, chain.OpCall, &chain.Call{Contract: "access", Message: messages[0]}),
	)
}

// courseOfDevices: proofs of origin, transfers, the blacklist.
func courseOfDevices(w *world) {
	first := fixtureValidators[0]
	list := func(sequence uint64, by person, entries ...chain.ListEntry) []byte {
		return w.tx(nobody, chain.OpImportBlacklist, w.list(by, chain.PlatformList{Platform: "harbour", Sequence: sequence, Time: w.now, Entries: entries}))
	}
	foreign := chain.ListEntry{Manufacturer: "Acme", Serial: "foreign", Listed: true, Reason: "stolen elsewhere"}
	found := foreign
	found.Listed, found.Reason = false, ""
	w.block(
		w.tx(nobody, chain.OpManufacturer, vouching("Acme", acme, factory)),
		w.tx(operator, chain.OpManufacturer, vouching("Acme", acme, factory)),
		w.tx(acme, chain.OpManufacturer, vouching("Acme", acme, factory, "second factory")),
		w.tx(owner, chain.OpEnrol, w.proven("safe", owner, keyOfAll)),
		w.tx(owner, chain.OpEnrol, w.enrolment("gauge", owner, chain.Labels{"floor": "1"})),
		w.tx(nobody, chain.OpOrigin, &chain.ProveOrigin{Device: person("gauge").id(), Origin: w.signOrigin(originOf("gauge", "gauge"), "second factory")}),
		w.tx(nobody, chain.OpOrigin, &chain.ProveOrigin{Device: person("gauge").id(), Origin: w.signOrigin(originOf("gauge", "gauge"), factory)}),
		w.tx(owner, chain.OpTransfer, w.accepts("gauge", owner, other, 0)),
		w.tx(owner, chain.OpTransfer, w.accepts("gauge", owner, other, 0)),
		w.tx(operator, chain.OpPlatform, &chain.RegisterPlatform{Name: "harbour", Keys: [][]byte{harbour.Public()}, URL: "https://harbour.example"}),
	)
	w.block(
		list(2, harbour, foreign, chain.ListEntry{Manufacturer: "Acme", Serial: "serial of safe", Listed: true}),
		list(2, harbour, found),
		list(3, "stranger", found),
		w.tx(owner, chain.OpEnrol, w.enrolmentOf("foreign", &chain.Enrolment{Owner: owner.id(), Manufacturer: "Acme", Model: "m", Serial: "foreign"}, nil)),
		list(3, harbour, found),
		w.tx(acme, chain.OpBlacklist, &chain.Blacklist{Manufacturer: "Acme", Serial: "recalled", Hardware: []byte("board"), Listed: true, Reason: "recall"}),
		w.tx(bolt, chain.OpBlacklist, &chain.Blacklist{Manufacturer: "Acme", Serial: "recalled", Reason: "no"}),
		w.tx(owner, chain.OpDeviceStatus, set("safe", abi.StatusStolen)),
		w.tx(other, chain.OpEnrol, w.proven("board", other, keyOfAll)),
	)
	w.block(w.tx(owner, chain.OpGuardians, &chain.Guardians{Accounts: []abi.Hash{first.id(), other.id()}, Threshold: 2}),
		w.tx(owner, chain.OpDeviceStatus, set("safe", abi.StatusActive)))
	w.propose(first, proposal(chain.ProposeStolen, &chain.DeclareStolen{Device: person("safe").id(), Reason: "seen elsewhere"}), other)
	w.later(1000)
}

// courseOfVerdicts: what behaviour contracts and gateways make of a device.
func courseOfVerdicts(w *world) {
	w.upload(developer, judgeWasm)
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "judge", Code: sha256.Sum256(judgeWasm)})
	w.later(5000)
	gauge := person("gauge").id()
	bind := &chain.BindDevice{Device: gauge, Contracts: []string{"judge", "a"}}
	evidence := func(time int64) []byte {
		return w.tx(gate1, chain.OpEvidence, w.evidence("gauge", "gauge", "judge", time))
	}
	verdict := func(by person, l abi.Level) []byte { return w.tx(by, chain.OpVerdict, judged("gauge", "judge", l)) }
	w.block(
		w.tx(owner, chain.OpBindDevice, bind),
		w.tx(other, chain.OpBindDevice, bind),
		evidence(w.now-1),
		verdict(gate1, abi.LevelAlert),
		verdict(gate1, abi.LevelQuarantine),
		verdict(nobody, abi.LevelQuarantine),
		verdict(gate2, abi.LevelSuspectedStolen),
		w.tx(operator, chain.OpDeviceStatus, &chain.DeviceStatus{Device: gauge, Status: abi.StatusActive}),
		w.tx(operator, chain.OpDeviceStatus, set("gauge", abi.StatusActive)),
		verdict(gate2, abi.LevelQuarantine),
		w.tx(gate1, chain.OpVerdict, judged("gauge", "b", abi.LevelQuarantine)),
	)
	w.later(1000)
	w.block(
		evidence(w.now), evidence(w.now),
		w.tx(gate1, chain.OpEvidence, w.evidence("gauge", "camera", "judge", w.now+1)),
		w.tx(gate1, chain.OpSealed, &chain.Sealed{Device: gauge, Owner: []byte("sealed"), Authorities: []chain.SealedCopy{{Account: police.id(), Text: []byte("too")}}}),
		w.tx(gate1, chain.OpAlert, &chain.Alert{Kind: "handshake-flood", Count: 9000}),
		w.tx(gate1, chain.OpAlert, &chain.Alert{Kind: "handshake-flood", Count: 1, Device: &gauge}),
		w.tx(nobody, chain.OpAlert, &chain.Alert{Kind: "handshake-flood", Count: 1}),
	)
	w.later(1000)
}

// courseOfLogs: the heads of decision logs.
func courseOfLogs(w *world) {
	log := w.log(gate1).grow(5, "")
	fork := log.fork().grow(9, "fork")
	at5 := log.anchor(0)
	log.grow(9, "")
	w.block(
		w.tx(gate1, chain.OpAnchor, at5),
		w.tx(nobody, chain.OpAnchor, at5),
		w.tx(gate2, chain.OpAnchor, at5),
		w.tx(gate2, chain.OpWitness, &chain.Witness{Account: gate1.id(), Size: 9, Root: fork.root()}),
		w.tx(gate1, chain.OpAnchor, log.anchor(5)),
		w.tx(gate1, chain.OpAnchor, fork.anchor(5)),
		w.tx(gate1, chain.OpAnchor, at5),
		w.tx(gate3, chain.OpWitness, &chain.Witness{Account: gate1.id(), Size: 9, Root: log.root()}),
		w.tx(nobody, chain.OpOffence, &chain.Offence{Account: gate1.id(), First: log.note(gate1), Second: log.note(gate1)}),
		w.tx(nobody, chain.OpOffence, &chain.Offence{Account: gate1.id(), First: log.note(gate1), Second: fork.note(gate1)}),
	)
}

func courseOfReplays(w *world) {
	call := (&chain.Call{Contract: "a", Message: do('s', 0, "replayed", "")}).Append(nil)
	once := w.sign(nobody, chain.Body{Op: chain.OpCall, Args: call})
	lane := func(sequence uint64) []byte {
		return w.sign(nobody, chain.Body{Op: chain.OpCall, Args: call, Lane: 3, Sequence: sequence})
	}
	first := lane(2)
	w.block(once, first, lane(1), w.sign(nobody, chain.Body{Op: chain.OpCall, Args: call, ValidUntil: w.now + abi.MaxWindow + 60_000}))
	w.block(once, first, lane(7), w.sign(nobody, chain.Body{Op: chain.OpCall, Args: call, ValidUntil: w.now - 1}),
		w.sign(nobody, chain.Body{Op: chain.OpCall, Args: call, Gas: 20_000_001}))
	w.later(70_000)
	w.block(once, lane(8))
}
