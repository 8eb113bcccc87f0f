package ledger

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/wasm"
)

// paramsLike is the proposal to change the present parameters.
func (w *world) paramsLike(change func(*chain.Params)) *chain.Propose {
	w.t.Helper()
	p := record(w, chain.ParamsKey(), chain.ParseParams)
	change(&p)
	return proposal(chain.ProposeParams, &p)
}

func TestChangeParams(t *testing.T) {
	w := newWorld(t, council(4, nil))
	before := record(w, chain.ParamsKey(), raw)
	number := w.agree(w.paramsLike(func(p *chain.Params) { p.TxGas, p.SnapshotBlocks = 10_000_000, 77 }), 3)
	p := w.wantStatus(number, chain.ProposalExecuted, abi.OK)
	if !bytes.Equal(p.Before, before) {
		t.Error("the parameters as they were are not in the history")
	}
	now := record(w, chain.ParamsKey(), chain.ParseParams)
	if now.TxGas != 10_000_000 || now.SnapshotInterval() != 77 || now.BlockGas != chain.DefaultParams().BlockGas {
		t.Errorf("parameters are %+v", now)
	}
	w.want(w.block(w.sign(nobody, chain.Body{Op: chain.OpCall, Args: []byte{0xa0}, Gas: 15_000_000}))[0], abi.CodeGasCap)
}

func TestParamsRefused(t *testing.T) {
	w := newWorld(t, council(4, nil))
	tests := map[string]func(*chain.Params){
		"another profile":          func(p *chain.Params) { p.Profile = abi.ProfileWide },
		"no profile":               func(p *chain.Params) { p.Profile = 9 },
		"an earlier protocol":      func(p *chain.Params) { p.Protocol-- },
		"two protocols later":      func(p *chain.Params) { p.Protocol += 2 },
		"too little gas to govern": func(p *chain.Params) { p.TxGas = leastTxGas - 1 },
		"too much for a block":     func(p *chain.Params) { p.TxGas = p.BlockGas },
		"no gas for anybody":       func(p *chain.Params) { p.GasQuota = p.TxGas - 1 },
		"no gas ever again":        func(p *chain.Params) { p.GasRefill = 0 },
		"no room":                  func(p *chain.Params) { p.StorageQuota = leastStorage - 1 },
		"no room ever again":       func(p *chain.Params) { p.StorageRefill = 0 },
		"no time to vote":          func(p *chain.Params) { p.ProposalTime = leastProposalTTL - 1 },
		"time without end":         func(p *chain.Params) { p.ProposalTime = mostProposalTTL + 1 },
		"approvals of more than a set": func(p *chain.Params) {
			p.DeployApprovals = chain.MaxValidators + 1
		},
		"no timers":        func(p *chain.Params) { p.BlockTimers = 0 },
		"a negative delay": func(p *chain.Params) { p.ActivationDelay = -1 },
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		w.try([]attempt{{name, operator, chain.OpPropose, w.paramsLike(tests[name]), abi.CodeBadArgument}})
	}
}

// Parameters are replaced as a whole, so of two proposals that were made from
// the same ones only the first may stand: the second would undo it unseen.
func TestParamsProposedTwice(t *testing.T) {
	w := newWorld(t, council(4, nil))
	gas := w.put(member(1), w.paramsLike(func(p *chain.Params) { p.TxGas = 10_000_000 }))
	ttl := w.put(member(1), w.paramsLike(func(p *chain.Params) { p.UploadTTL = hour * 24 }))
	for i := 2; i <= 3; i++ {
		for _, o := range w.block(w.tx(member(i), chain.OpApprove, &chain.Vote{Proposal: gas}), w.tx(member(i), chain.OpApprove, &chain.Vote{Proposal: ttl})) {
			w.want(o, abi.OK)
		}
	}
	w.wantStatus(gas, chain.ProposalExecuted, abi.OK)
	w.wantStatus(ttl, chain.ProposalFailed, abi.CodeProposalOutdated)
	if p := record(w, chain.ParamsKey(), chain.ParseParams); p.TxGas != 10_000_000 || p.UploadTTL != chain.DefaultParams().UploadTTL {
		t.Errorf("parameters are %+v", p)
	}
}

func approvals(k uint64) func(*chain.Genesis) {
	return func(g *chain.Genesis) { g.Params.DeployApprovals = k }
}

func TestDeployByApproval(t *testing.T) {
	w := newWorld(t, council(4, approvals(2)))
	hash := w.upload(developer, scriptWasm)
	deploy := &chain.Deploy{Name: "door", Code: hash, Note: "first"}
	w.want(w.do(developer, chain.OpDeploy, deploy), abi.CodeNeedsApproval)
	number := w.numberOf(w.block(w.sign(developer, chain.Body{Op: chain.OpPropose, Args: proposal(chain.ProposeDeploy, deploy).Append(nil), Gas: 15_000_000}))[0])
	if _, there := find(w, chain.CodeKey(hash), raw); !there {
		t.Error("those who are asked cannot read the code")
	}
	w.want(w.vote(operator, chain.OpApprove, number), abi.CodeNotPermitted)
	w.want(w.vote(developer, chain.OpApprove, number), abi.CodeNotPermitted)
	w.want(w.vote(member(1), chain.OpApprove, number), abi.OK)
	w.wantStatus(number, chain.ProposalOpen, abi.OK)
	if _, there := find(w, chain.ContractKey("door"), raw); there {
		t.Fatal("one approval deployed it")
	}
	w.want(w.vote(member(2), chain.OpApprove, number), abi.OK)
	w.wantStatus(number, chain.ProposalApproved, abi.OK)
	w.tickOver() // executes it
	w.wantStatus(number, chain.ProposalExecuted, abi.OK)
	w.tickOver() // activates it
	c := record(w, chain.ContractKey("door"), chain.ParseContract)
	if c.Owner != developer.id() || c.Status != chain.ContractActive || c.Note != "first" {
		t.Errorf("contract is %+v", c)
	}
	w.want(w.run(nobody, "door", do('s', 0, "k", "v")), abi.OK)

	upgrade := &chain.Upgrade{Name: "door", Code: hash, Note: "again"}
	w.want(w.do(developer, chain.OpUpgrade, upgrade), abi.CodeNeedsApproval)
	w.want(w.do(other, chain.OpPropose, proposal(chain.ProposeUpgrade, upgrade)), abi.CodeNotPermitted)
	number = w.put(developer, proposal(chain.ProposeUpgrade, upgrade))
	w.want(w.vote(member(3), chain.OpApprove, number), abi.OK)
	w.want(w.vote(member(4), chain.OpApprove, number), abi.OK)
	w.tickOver()
	w.tickOver()
	w.wantStatus(number, chain.ProposalExecuted, abi.OK)
	if c := record(w, chain.ContractKey("door"), chain.ParseContract); c.Version != 2 {
		t.Errorf("contract is %+v", c)
	}
}

// What was approved is carried out as its proposer: whoever has lost the role
// meanwhile deploys nothing.
func TestDeployApprovedTooLate(t *testing.T) {
	w := newWorld(t, council(4, approvals(1)))
	hash := w.upload(developer, scriptWasm)
	number := w.put(developer, proposal(chain.ProposeDeploy, &chain.Deploy{Name: "door", Code: hash}))
	same := w.put(developer, proposal(chain.ProposeDeploy, &chain.Deploy{Name: "gate", Code: hash}))
	first := w.put(developer, proposal(chain.ProposeDeploy, &chain.Deploy{Name: "gate", Code: hash}))
	w.want(w.vote(member(1), chain.OpApprove, same), abi.OK)
	w.want(w.vote(member(1), chain.OpApprove, first), abi.OK)
	w.tickOver()
	w.wantStatus(same, chain.ProposalExecuted, abi.OK)
	w.wantStatus(first, chain.ProposalFailed, abi.CodeContractExists)
	w.want(w.vote(member(1), chain.OpApprove, number), abi.OK)
	w.must(operator, chain.OpGrant, &chain.Grant{Key: developer.Public()})
	w.tickOver()
	w.wantStatus(number, chain.ProposalExecuted, abi.OK) // timers run before the block's transactions
	number = w.put(other, proposal(chain.ProposeDeploy, &chain.Deploy{Name: "late", Code: hash}))
	w.block(
		w.tx(member(1), chain.OpApprove, &chain.Vote{Proposal: number}),
		w.tx(operator, chain.OpGrant, &chain.Grant{Key: other.Public(), Roles: abi.RoleOwner}))
	w.tickOver()
	w.wantStatus(number, chain.ProposalFailed, abi.CodeMissingRole)
	if _, there := find(w, chain.ContractKey("late"), raw); there {
		t.Error("a failed proposal left a contract")
	}
}

// The same for a device that was given the role and then shut out.
func TestDeployByAShutOutDevice(t *testing.T) {
	w := newWorld(t, council(4, approvals(1)))
	lock := person("lock")
	id := w.enrol(lock, nil)
	w.must(operator, chain.OpGrant, &chain.Grant{Key: lock.Public(), Roles: abi.RoleDeveloper})
	hash := w.upload(lock, scriptWasm)
	number := w.put(lock, proposal(chain.ProposeDeploy, &chain.Deploy{Name: "door", Code: hash}))
	w.block(
		w.tx(member(1), chain.OpApprove, &chain.Vote{Proposal: number}),
		w.tx(owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: id, Status: abi.StatusSuspended}))
	w.tickOver()
	w.wantStatus(number, chain.ProposalFailed, abi.CodeDeviceInactive)
}

// A set that has become smaller than the approvals asked for does not keep
// everybody from deploying.
func TestDeployApprovalsOfASmallSet(t *testing.T) {
	w := newWorld(t, council(1, approvals(3)))
	hash := w.upload(developer, scriptWasm)
	number := w.put(developer, proposal(chain.ProposeDeploy, &chain.Deploy{Name: "door", Code: hash}))
	w.want(w.vote(member(1), chain.OpApprove, number), abi.OK)
	w.tickOver()
	w.wantStatus(number, chain.ProposalExecuted, abi.OK)
}

// A proposal for bytes that are no module is refused, and the upload is gone,
// as with a deployment.
func TestProposeBadCode(t *testing.T) {
	w := newWorld(t, council(4, approvals(2)))
	hash := w.upload(developer, []byte("not a module"))
	w.want(w.do(developer, chain.OpPropose, proposal(chain.ProposeDeploy, &chain.Deploy{Name: "door", Code: hash})), abi.CodeModuleMalformed)
	w.want(w.do(developer, chain.OpPropose, proposal(chain.ProposeDeploy, &chain.Deploy{Name: "door", Code: hash})), abi.CodeUnknownUpload)
	if _, there := find(w, chain.ProposalKey(1), raw); there {
		t.Error("a refused proposal is on the ledger")
	}
}

func TestProposalExpires(t *testing.T) {
	w := newWorld(t, council(4, func(g *chain.Genesis) { g.Params.ProposalTime = hour }))
	number := w.put(member(1), w.joins("fifth"))
	w.want(w.vote(member(2), chain.OpApprove, number), abi.OK)
	w.wait(hour)
	p := w.wantStatus(number, chain.ProposalExpired, abi.OK)
	if p.Decided < p.Expiry || p.At != w.l.Head().Height || len(p.Votes) != 2 {
		t.Errorf("history is %+v", p)
	}
	w.want(w.vote(member(3), chain.OpApprove, number), abi.CodeProposalClosed)
	w.want(w.vote(member(1), chain.OpReject, number), abi.CodeProposalClosed)
	w.wantIDs(1, 2, 3, 4)
}

// A vote in the very block in which the proposal ends comes too late, also
// where more timers are due than a block runs.
func TestVoteAfterExpiry(t *testing.T) {
	w := newWorld(t, council(4, func(g *chain.Genesis) { g.Params.ProposalTime, g.Params.BlockTimers = hour, 1 }))
	var numbers []uint64
	for i := range 3 {
		o := w.block(w.tx(member(1), chain.OpPropose, w.joins(person(fmt.Sprint("new ", i)))))
		numbers = append(numbers, w.numberOf(o[0]))
	}
	w.want(w.vote(member(2), chain.OpApprove, numbers[2]), abi.OK)
	w.now += hour + 1000
	list := w.block(w.tx(member(3), chain.OpApprove, &chain.Vote{Proposal: numbers[2]}))
	w.want(list[len(list)-1], abi.CodeProposalClosed)
	w.wantStatus(numbers[2], chain.ProposalOpen, abi.OK)
	for range 2 {
		w.tickOver()
	}
	w.wantStatus(numbers[2], chain.ProposalExpired, abi.OK)
	w.wantIDs(1, 2, 3, 4)
}

func TestWithdraw(t *testing.T) {
	w := newWorld(t, council(4, nil))
	mine, theirs := w.put(operator, w.joins("fifth")), w.put(member(1), w.joins("sixth"))
	w.want(w.vote(operator, chain.OpReject, theirs), abi.CodeNotPermitted)
	w.want(w.do(operator, chain.OpReject, &chain.Vote{Proposal: mine, Reason: "wrong key"}), abi.OK)
	p := w.wantStatus(mine, chain.ProposalWithdrawn, abi.OK)
	if len(p.Votes) != 1 || p.Votes[0].Reason != "wrong key" || p.Votes[0].Account != operator.id() {
		t.Errorf("history is %+v", p)
	}
	w.want(w.vote(member(1), chain.OpReject, theirs), abi.OK)
	w.wantStatus(theirs, chain.ProposalWithdrawn, abi.OK)
	w.want(w.vote(member(2), chain.OpApprove, theirs), abi.CodeProposalClosed)
}

func TestOpenProposalsAreFew(t *testing.T) {
	w := newWorld(t, council(4, nil))
	for i := range chain.MaxOpenProposals {
		w.put(operator, w.joins(person(fmt.Sprint("new ", i))))
	}
	w.want(w.do(operator, chain.OpPropose, w.joins("one more")), abi.CodeTooManyProposals)
	w.put(member(1), w.joins("one more"))
	w.want(w.vote(operator, chain.OpReject, 3), abi.OK)
	w.put(operator, w.joins("one more"))
	open := 0
	pairs, more, _, err := w.l.Scan(chain.OpenProposalsPrefix(), nil, 100)
	if err != nil || more {
		t.Fatal(err, more)
	}
	for _, p := range pairs {
		if n := chain.OpenProposalNumber(p[0]); n != 3 && w.proposal(n).Status == chain.ProposalOpen {
			open++
		}
	}
	if open != chain.MaxOpenProposals+1 {
		t.Errorf("%d open proposals are listed", open)
	}
}

// The whole history is read by one scan, in its order, and each entry of it is
// proved by the state's root.
func TestHistory(t *testing.T) {
	w := newWorld(t, council(4, nil))
	w.agree(w.joins("fifth"), 3)
	w.put(operator, w.joins("sixth"))
	w.agree(proposal(chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 1}), 4)
	pairs, more, _, err := w.l.Scan(chain.ProposalPrefix(), nil, 10)
	if err != nil || more || len(pairs) != 3 {
		t.Fatal(err, more, len(pairs))
	}
	for i, pair := range pairs {
		if chain.ProposalNumber(pair[0]) != uint64(i+1) {
			t.Errorf("entry %d has key %x", i, pair[0])
		}
		e, err := w.l.Prove(pair[0])
		if err != nil {
			t.Fatal(err)
		}
		value, ok, err := e.State.Verify(e.Header.State, pair[0])
		if err != nil || !ok || !bytes.Equal(value, pair[1]) {
			t.Errorf("entry %d is not proved: %v, %v", i, ok, err)
		}
	}
}

// A vote is paid for by whoever casts it, and a proposal by its proposer.
func TestGovernanceIsPaidFor(t *testing.T) {
	w := newWorld(t, council(4, nil))
	spent := func(by person, f func()) uint64 {
		before := w.quota(by).Storage
		f()
		return before - w.quota(by).Storage
	}
	w.must(member(1), chain.OpGuardians, &chain.Guardians{Accounts: []abi.Hash{owner.id()}, Threshold: 1})
	w.must(member(2), chain.OpGuardians, &chain.Guardians{Accounts: []abi.Hash{owner.id()}, Threshold: 1})
	number := uint64(0)
	if n := spent(member(1), func() { number = w.put(member(1), w.joins("fifth")) }); n < 300 || n > 1000 {
		t.Errorf("a proposal took %d bytes", n)
	}
	if n := spent(member(2), func() { w.vote(member(2), chain.OpApprove, number) }); n < 40 || n > 100 {
		t.Errorf("a vote took %d bytes", n)
	}
}

func (w *world) quota(by person) chain.Quota {
	w.t.Helper()
	return record(w, chain.QuotaKey(by.id()), chain.ParseQuota)
}

// Whoever has no room for what a vote would execute does not spoil it: the
// vote is refused, and another's decides.
func TestVoteWithoutRoom(t *testing.T) {
	w := newWorld(t, council(4, func(g *chain.Genesis) {
		for i := range g.Accounts {
			if bytes.Equal(g.Accounts[i].Key, member(3).Public()) {
				g.Accounts[i].StorageQuota = 120
			}
		}
		g.Params.StorageRefill = 1
	}))
	number := w.agree(w.joins("fifth"), 2)
	w.want(w.vote(member(3), chain.OpApprove, number), abi.CodeStorageQuota)
	if p := w.wantStatus(number, chain.ProposalOpen, abi.OK); len(p.Votes) != 2 {
		t.Errorf("votes are %+v", p.Votes)
	}
	w.want(w.vote(member(4), chain.OpApprove, number), abi.OK)
	w.wantIDs(1, 2, 3, 4, 5)
}

// The largest proposal, with every vote that it may get, can still be stored,
// proved and read.
func TestLargestProposal(t *testing.T) {
	w := newWorld(t, council(chain.MaxValidators, approvals(chain.MaxValidators)))
	hash := w.upload(developer, scriptWasm)
	reason := string(bytes.Repeat([]byte{'r'}, chain.MaxText))
	p := proposal(chain.ProposeDeploy, &chain.Deploy{Name: "door", Code: hash, Init: make([]byte, abi.MaxValue), Note: reason})
	p.Reason = reason
	number := w.put(developer, p)
	for i := 1; i < chain.MaxValidators; i++ {
		w.want(w.do(member(i), chain.OpApprove, &chain.Vote{Proposal: number, Reason: reason}), abi.OK)
	}
	w.want(w.do(member(1), chain.OpReject, &chain.Vote{Proposal: number, Reason: reason}), abi.OK)
	w.wantStatus(number, chain.ProposalRejected, abi.OK)
	if _, err := w.l.Prove(chain.ProposalKey(number)); err != nil {
		t.Error(err)
	}
}

// A proposal that is executed at once by a chain's only validator costs no
// more than the operation declares.
func TestGasOfGovernance(t *testing.T) {
	w := newWorld(t, council(1, nil))
	o := w.must(member(1), chain.OpPropose, w.joins("second"))
	if want := PriceOf(chain.OpPropose, len(w.joins("second").Append(nil))); o.Gas != want {
		t.Errorf("it took %d gas, want %d", o.Gas, want)
	}
	for _, op := range []chain.Op{chain.OpPropose, chain.OpApprove, chain.OpReject, chain.OpGuardians} {
		if n := PriceOf(op, abi.MaxValue+4096); n > leastTxGas/2 {
			t.Errorf("%v needs %d gas at most, the least cap of a transaction is %d", op, n, leastTxGas)
		}
	}
}

// A node passes on no proposal that it could not follow, and no approval of
// one; that it executes them like all others is another matter.
func TestCheckOfALaterProtocol(t *testing.T) {
	old := worldOn(t, firstVersion(nil), wasm.Config{Protocol: 1})
	raised := old.tx(validator, chain.OpPropose, old.raised())
	_, _, err := old.l.Check(raised)
	wantCode(t, "a proposal", err, abi.CodeUnknownVersion)

	two := worldOn(t, testGenesis(council(2, func(g *chain.Genesis) { g.Params.Protocol = 1 })), wasm.Config{Protocol: 1})
	number := two.put(member(1), two.raised())
	same := two.put(member(1), two.joins("third"))
	_, _, err = two.l.Check(two.tx(member(2), chain.OpApprove, &chain.Vote{Proposal: number}))
	wantCode(t, "an approval", err, abi.CodeUnknownVersion)
	for name, raw := range map[string][]byte{
		"an approval of something else": two.tx(member(2), chain.OpApprove, &chain.Vote{Proposal: same}),
		"an approval of nothing":        two.tx(member(2), chain.OpApprove, &chain.Vote{Proposal: 99}),
		"a rejection":                   two.tx(member(2), chain.OpReject, &chain.Vote{Proposal: number}),
		"arguments of no kind":          two.tx(member(2), chain.OpPropose, encoded{0xa0}),
		"a vote of no kind":             two.tx(member(2), chain.OpApprove, encoded{0xa0}),
	} {
		_, _, err := two.l.Check(raw)
		wantCode(t, name, err, abi.OK)
	}
}
