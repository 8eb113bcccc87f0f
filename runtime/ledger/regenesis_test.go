package ledger

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage"
)

var councilKeys = map[uint64]person{1: member(1), 2: member(2), 3: member(3), 4: member(4)}

// forsaken is a chain of four validators with something under every prefix of
// the state; its head is certified, and has replay guards. It gives the last
// transactions: one with a window and one of lane 7.
func forsaken(t *testing.T) (w *world, last [][]byte) { return forsakenBy(t, councilKeys) }

// forsakenBy is forsaken with a copy of the head that these have signed.
func forsakenBy(t *testing.T, signers map[uint64]person) (w *world, last [][]byte) {
	w = newWorld(t, council(4, inhabited))
	w.deploy(developer, "c")
	w.must(operator, chain.OpBind, &chain.Bind{Domain: abi.DefaultDomain, Contract: "c"})
	w.enrol("lock", chain.Labels{"room": "101"})
	w.must(operator, chain.OpIssueToken, &chain.IssueToken{Token: abi.Hash{1}, Account: door.id(), Domain: abi.DefaultDomain, Expiry: start + 100*day})
	w.must(owner, chain.OpGuardians, &chain.Guardians{Accounts: []abi.Hash{nobody.id()}, Threshold: 1, Delay: day})
	w.must(developer, chain.OpUpload, &chain.Upload{Code: abi.Hash{2}, Length: abi.MaxChunk + 1})
	w.must(developer, chain.OpChunk, &chain.Chunk{Code: abi.Hash{2}, Index: 1, Data: []byte{1}})
	w.want(w.run(nobody, "c", do('s', 0, "k", "v").add('t', w.l.Head().Time+day, note("later"), "")), abi.OK)
	w.suspicious()
	w.agree(w.paramsLike(func(p *chain.Params) { p.BlockTimers = 7 }), 3)      // carried out
	w.put(operator, w.paramsLike(func(p *chain.Params) { p.BlockTimers = 8 })) // open
	recovery := chain.Recover{Account: owner.id(), Statement: w.possessionOf(chain.StatementRotate, "found key", owner.id())}
	w.wantStatus(w.put(nobody, proposal(chain.ProposeRecover, &recovery)), chain.ProposalApproved, abi.OK)
	call := (&chain.Call{Contract: "c", Message: do('s', 0, "last", "words")}).Append(nil)
	last = [][]byte{
		w.sign(nobody, chain.Body{Op: chain.OpCall, Args: call, ValidUntil: w.l.Head().Time + abi.MaxWindow}),
		w.sign(nobody, chain.Body{Op: chain.OpCall, Args: call, Lane: 7, Sequence: 3}),
	}
	w.certified(signers, last...)
	return w, last
}

// suspicious writes a record of each kind about devices and logs.
func (w *world) suspicious() {
	w.t.Helper()
	w.must(operator, chain.OpManufacturer, vouching("Acme", acme, factory))
	w.must(operator, chain.OpPlatform, platformOf(harbour))
	w.must(acme, chain.OpBlacklist, lists("recalled", keyOfAll, true))
	w.must(owner, chain.OpBindDevice, &chain.BindDevice{Device: person("lock").id(), Contracts: []string{"c"}})
	w.must(gate1, chain.OpVerdict, judged("lock", "c", abi.LevelQuarantine))
	w.must(gate1, chain.OpAlert, &chain.Alert{Kind: "bad-signatures", Count: 1})
	log := w.log(gate1).grow(5, "")
	w.must(gate1, chain.OpAnchor, log.anchor(0))
	w.must(gate2, chain.OpWitness, &chain.Witness{Account: gate1.id(), Size: 5, Root: log.root()})
	w.must(nobody, chain.OpOffence, &chain.Offence{Account: gate1.id(), First: log.note(gate1), Second: w.log(gate1).grow(5, "fork").note(gate1)})
	w.plain("stolen camera", other)
	w.must(other, chain.OpDeviceStatus, set("stolen camera", abi.StatusStolen))
	w.must(gate1, chain.OpSealed, &chain.Sealed{Device: person("stolen camera").id(), Owner: []byte("sealed")})
}

// heirs is a genesis of two validators, member 1 and one who is new, and the
// given chain's parameters.
func heirs(w *world) *chain.Genesis {
	return &chain.Genesis{
		Name: "heirs", Time: w.l.Head().Time + 3_600_000, Params: w.l.Params(),
		Validators: chain.ValidatorSet{{ID: 1, Key: person("heir").Public()}, {ID: 2, Key: member(1).Public()}},
		Accounts: []chain.Grant{
			{Key: person("heir").Public(), Roles: abi.RoleValidator | abi.RoleGateway},
			{Key: member(1).Public(), Roles: abi.RoleValidator | abi.RoleGateway},
			{Key: authority.Public(), Roles: abi.RoleOperator},
		},
	}
}

// succeeded is the encoded genesis of heirs.
func succeeded(t *testing.T, w *world) []byte {
	t.Helper()
	g := heirs(w)
	if err := Succeed(w.store, g); err != nil {
		t.Fatal(err)
	}
	return g.Append(nil)
}

// continued is a node of the chain that goes on with another's state.
func continued(t *testing.T, old *world, genesis []byte) *world {
	t.Helper()
	w := &world{t: t, genesis: genesis, now: old.now, trusted: true, cfg: storage.Config{Dir: "heir", FS: vfs.NewMem(), Logger: discard}}
	if err := Continue(t.Context(), w.cfg, genesis, old.store); err != nil {
		t.Fatal(err)
	}
	w.open(false)
	t.Cleanup(w.close)
	w.now = w.l.Head().Time
	return w
}

// proves verifies the origin of a chain by the store of the old one and a
// genesis.
func proves(genesis []byte, old, w *world) error {
	_, evidence, err := Origin(old.store)
	if err == nil {
		_, _, err = proof.VerifyOrigin(genesis, w.l.Genesis().Origin, evidence)
	}
	return err
}

// entries are all of a state.
func (w *world) entries() map[string]string {
	w.t.Helper()
	v, err := w.store.View()
	if err != nil {
		w.t.Fatal(err)
	}
	defer v.Release()
	all := map[string]string{}
	err = each(cold{v}, nil, func(key, value []byte) (bool, error) {
		all[string(key)] = string(value)
		return true, nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// TestContinue goes on with all of the old state but what cannot go on.
func TestContinue(t *testing.T) {
	old, last := forsaken(t)
	genesis := succeeded(t, old)
	w := continued(t, old, genesis)
	if err := proves(old.genesis, old, w); err != nil {
		t.Fatal(err)
	}
	if h := w.l.Head(); h.Height != 0 || h.State != w.l.Genesis().Origin.State || h.Chain != chain.ChainID(genesis) {
		t.Fatalf("begins with %+v", h)
	}
	w.wantIDs(1, 5)
	for i := 2; i <= 4; i++ {
		if w.roles(member(i).id()) != 0 {
			t.Errorf("member %d has the roles %v", i, w.roles(member(i).id()))
		}
	}
	if got := w.roles(authority.id()); got != abi.RoleOperator|abi.RoleAuthority {
		t.Errorf("the authority has %v", got)
	}
	wantOnlyChanged(t, old, w)
	for number, was := range []chain.ProposalStatus{0, chain.ProposalExecuted, chain.ProposalExpired, chain.ProposalExpired} {
		if number > 0 {
			w.wantStatus(uint64(number), was, abi.OK)
		}
	}
	for i, raw := range last {
		if _, _, err := w.l.Check(raw); !errors.Is(err, abi.CodeWrongChain) {
			t.Errorf("old transaction %d: %v", i, err)
		}
	}
	w.livesOn()
	w.reopen()
	if _, err := w.store.Verify(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := CheckGuards(w.store); err != nil {
		t.Fatal(err)
	}
}

// wantOnlyChanged compares two states entry for entry: nothing is lost but
// replay guards, undecided proposals and the heads of logs, and nothing else is
// another.
func wantOnlyChanged(t *testing.T, old, w *world) {
	t.Helper()
	was, is := old.entries(), w.entries()
	seen := map[byte]bool{}
	for key, value := range was {
		seen[key[0]] = true
		now, there := is[key]
		timer, _ := chain.ParseTimer([]byte(value))
		gone := slices.Contains([]byte("woAzW"), key[0]) || key[0] == 't' && timer.Kind == chain.TimerProposal
		if there == gone {
			t.Errorf("%q: there %v", key, there)
		}
		if there && now != value && !slices.Contains([]byte("VIaG"), key[0]) {
			t.Errorf("%q has another value", key)
		}
	}
	for key := range is {
		if _, there := was[key]; !there && !slices.Contains([]byte("Iak"), key[0]) {
			t.Errorf("%q is new", key)
		}
	}
	for _, prefix := range []byte("PVNakqldrubhcvptTwsGoOgmBHyAzfWjenE") {
		if !seen[prefix] {
			t.Errorf("the old state has nothing under %c", prefix)
		}
	}
}

// livesOn uses what was taken over: lanes, the contract and its timer, domain,
// governance.
func (w *world) livesOn() {
	w.t.Helper()
	call := (&chain.Call{Contract: "c", Message: do('e', 0, "t", "on")}).Append(nil)
	lane := func(sequence uint64) []byte {
		return w.sign(nobody, chain.Body{Op: chain.OpCall, Args: call, Lane: 7, Sequence: sequence})
	}
	if _, _, err := w.l.Check(lane(3)); !errors.Is(err, abi.CodeOutOfSequence) {
		w.t.Errorf("a sequence that the old chain saw: %v", err)
	}
	keys := map[uint64]person{1: member(1), 5: "heir"}
	w.want(w.certified(keys, lane(4))[0], abi.OK)
	if a := w.l.Decide(context.Background(), abi.Caller{Key: door.Public()}, "", ask("open", "door", "1")); a.Code != abi.OK {
		w.t.Errorf("decision: %v", a.Code)
	}
	w.must(owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: person("lock").id(), Status: abi.StatusSuspended})
	w.must(gate1, chain.OpAnchor, w.log(gate1).grow(2, "").anchor(0)) // a log of the new chain
	number := w.put(authority, w.joins("third"))
	if number != 4 {
		w.t.Errorf("the next proposal is number %d", number)
	}
	w.want(w.vote(member(1), chain.OpApprove, number), abi.OK)
	w.want(w.vote("heir", chain.OpApprove, number), abi.OK)
	w.wantIDs(1, 5, 6)
	ran := ""
	for range 20 {
		for _, o := range w.tickOver() {
			for _, e := range o.Events {
				ran += string(e.Data) + " "
			}
		}
		if ran != "" {
			break
		}
	}
	if ran != "later " {
		w.t.Errorf("the old chain's timer ran %q", ran)
	}
}

// TestSucceedIsDeterministic: operators make the same genesis, whatever they
// did with their copies of the chain.
func TestSucceedIsDeterministic(t *testing.T) {
	w, _ := forsaken(t)
	first := succeeded(t, w)
	w.reopen()
	if !bytes.Equal(succeeded(t, w), first) {
		t.Error("another genesis after a restart")
	}
	cfg := joinConfig()
	for range 2 { // an operator may begin anew
		if err := Continue(t.Context(), cfg, first, w.store); err != nil {
			t.Fatal(err)
		}
	}
	a, b := continued(t, w, first), continued(t, w, first)
	if a.l.Head() != b.l.Head() || !maps.Equal(a.entries(), b.entries()) {
		t.Error("two nodes begin differently")
	}
	if g := a.l.Genesis(); g.Validators[0].ID != 1 || g.Validators[1].ID != 5 {
		t.Errorf("validators are %v", g.Validators)
	}
}

// TestSucceedByOtherSignatures: nodes hold different quorums of one block's
// signatures. The genesis is the same of all, each copy proves its origin, and
// goes on under it.
func TestSucceedByOtherSignatures(t *testing.T) {
	quorum := func(ids ...uint64) map[uint64]person {
		keys := map[uint64]person{}
		for _, id := range ids {
			keys[id] = councilKeys[id]
		}
		return keys
	}
	a, _ := forsakenBy(t, quorum(1, 2, 3))
	b, _ := forsakenBy(t, quorum(2, 3, 4))
	genesis := succeeded(t, a)
	if !bytes.Equal(genesis, succeeded(t, b)) {
		t.Fatal("who signed a copy makes another chain")
	}
	_, byA, errA := Origin(a.store)
	_, byB, errB := Origin(b.store)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(byA.Append(nil), byB.Append(nil)) {
		t.Fatal("the copies hold the same signatures")
	}
	for _, old := range []*world{a, b} {
		w := continued(t, old, genesis)
		if err := errors.Join(proves(a.genesis, a, w), proves(a.genesis, b, w)); err != nil {
			t.Error(err)
		}
	}
}

// TestContinueTwice: a chain that went on goes on again, and each origin is
// proved by the genesis before.
func TestContinueTwice(t *testing.T) {
	first, _ := forsaken(t)
	second := continued(t, first, succeeded(t, first))
	second.certified(map[uint64]person{1: member(1), 5: "heir"}, second.tx(nobody, chain.OpGuardians, &chain.Guardians{}))
	third := continued(t, second, succeeded(t, second))
	third.wantIDs(1, 5)
	if err := proves(second.genesis, second, third); err != nil {
		t.Error(err)
	}
	if err := proves(first.genesis, second, third); !errors.Is(err, abi.CodeWrongChain) {
		t.Errorf("proved by the genesis before the last: %v", err)
	}
}

// TestBlockZeroWithoutTheState: it cannot be executed, but is known from the
// genesis to a node that joins by a snapshot.
func TestBlockZeroWithoutTheState(t *testing.T) {
	old, _ := forsaken(t)
	w := continued(t, old, succeeded(t, old))
	if _, err := Init(memoryStore(t), w.genesis); !errors.Is(err, ErrNoState) {
		t.Fatalf("block 0 without the state: %v", err)
	}
	raw, _ := genesisBlock(t, w)
	record, err := genesisRecord(discard, w.genesis)
	if err != nil || !bytes.Equal(record.Block, raw) {
		t.Fatalf("a joining node has another block 0: %v", err)
	}
}

func memoryStore(t *testing.T) *storage.Store {
	t.Helper()
	s, err := storage.Open(storage.Config{Dir: "empty", Memory: true, Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestContinueRefused: a genesis that says anything else than what comes out,
// and stores that end elsewhere, begin no chain.
func TestContinueRefused(t *testing.T) {
	w, _ := forsaken(t)
	for name, change := range map[string]func(g *chain.Genesis){
		"another root": func(g *chain.Genesis) { g.Origin.State[0] ^= 1 },
		"an account more": func(g *chain.Genesis) {
			g.Accounts = append(g.Accounts, chain.Grant{Key: person("spy").Public(), Roles: abi.RoleOperator})
		},
		"other roles":                func(g *chain.Genesis) { g.Accounts[2].Roles |= abi.RoleDeveloper },
		"other parameters":           func(g *chain.Genesis) { g.Params.BlockTimers++ },
		"a validator less":           func(g *chain.Genesis) { g.Validators = g.Validators[:1] },
		"an id of another":           func(g *chain.Genesis) { g.Validators[1].ID = 2 },
		"the state of another block": func(g *chain.Genesis) { g.Origin.Header.Height-- },
		"another state":              func(g *chain.Genesis) { g.Origin.Header.State[0] ^= 1 },
		"the state of another chain": func(g *chain.Genesis) { g.Origin.Header.Chain[0] ^= 1 },
		"no origin":                  func(g *chain.Genesis) { g.Origin = nil },
		"the same key on two seats": func(g *chain.Genesis) {
			g.Validators = append(g.Validators, chain.Validator{ID: 9, Key: member(1).Public()})
		},
		"a role without a seat":         func(g *chain.Genesis) { g.Accounts[2].Roles |= abi.RoleValidator },
		"parameters that end the chain": func(g *chain.Genesis) { g.Params.GasQuota = 1 },
	} {
		g, err := chain.ParseGenesis(succeeded(t, w))
		if err != nil {
			t.Fatal(err)
		}
		change(g)
		cfg := storage.Config{Dir: "heir", FS: vfs.NewMem(), Logger: discard}
		if err := Continue(t.Context(), cfg, g.Append(nil), w.store); err == nil {
			t.Errorf("%s was accepted", name)
		} else if code := abi.Code(0); !errors.As(err, &code) {
			t.Errorf("%s: %v has no code", name, err)
		}
	}
	genesis := succeeded(t, w)
	w.certified(councilKeys, w.tx(nobody, chain.OpGuardians, &chain.Guardians{}))
	if err := Continue(t.Context(), joinConfig(), genesis, w.store); !errors.Is(err, abi.CodeBadProof) {
		t.Errorf("a store that is further: %v", err)
	}
}

// TestSucceedRefused: what the old chain's state does not allow is refused
// before there is a genesis.
func TestSucceedRefused(t *testing.T) {
	w, _ := forsaken(t)
	for name, change := range map[string]func(g *chain.Genesis){
		"another profile":    func(g *chain.Genesis) { g.Params.Profile = abi.ProfileWide },
		"an older protocol":  func(g *chain.Genesis) { g.Params.Protocol-- },
		"a quota of nothing": func(g *chain.Genesis) { g.Params.GasQuota = 1 },
		"a device that votes": func(g *chain.Genesis) {
			g.Validators[0].Key, g.Accounts[0].Key = person("lock").Public(), person("lock").Public()
		},
		"nobody votes":          func(g *chain.Genesis) { g.Validators = nil },
		"a seat without a role": func(g *chain.Genesis) { g.Accounts[0].Roles = 0 },
		"a seat of nobody":      func(g *chain.Genesis) { g.Accounts = g.Accounts[1:] },
		"a role without a seat": func(g *chain.Genesis) { g.Validators = g.Validators[1:] },
	} {
		g := heirs(w)
		change(g)
		if err := Succeed(w.store, g); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// TestContinueInterrupted is stopped before the first chunk, and between the
// state and block 0; the next one begins anew.
func TestContinueInterrupted(t *testing.T) {
	old, _ := forsaken(t)
	genesis := succeeded(t, old)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	cfg := joinConfig()
	if err := Continue(ctx, cfg, genesis, old.store); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := cfg.FS.Stat(cfg.Dir); err == nil {
		t.Error("something is there already")
	}
	imp, err := storage.NewImport(cfg, storage.Target{Height: old.l.Head().Height, Root: old.l.Head().State})
	if err == nil {
		err = errors.Join(copyState(t.Context(), old.store, imp), imp.Finish(t.Context(), storage.Final{Carry: true}))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := Continue(t.Context(), cfg, genesis, old.store); err != nil {
		t.Fatalf("over a state without a block: %v", err)
	}
}
