package chain

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

var update = flag.Bool("update", false, "write the vectors in testdata anew")

const vectorFile = "testdata/vectors.json"

// vector is one message of testdata/vectors.json, which other implementations
// check themselves against. Keys come from seeds: SHA-256 of the seed's name is
// the ed25519 seed (RFC 8032) or the P-256 scalar; P-256 signatures are
// deterministic (RFC 6979). Other 32-byte values are SHA-256 of a word too.
type vector struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`             // the parser that reads it
	Hex    string `json:"hex"`              // the encoding
	ID     string `json:"id,omitempty"`     // what names it: transaction id, block hash, chain id, account id
	Key    string `json:"key,omitempty"`    // the public key that signed
	Seed   string `json:"seed,omitempty"`   // the name of that key's seed
	Signed string `json:"signed,omitempty"` // the exact bytes that are signed
}

func (v vector) bytes(t testing.TB) []byte { return must(hex.DecodeString(v.Hex))(t) }

func ref(h abi.Hash) *abi.Hash { return &h }

// argVectors are the arguments of every operation, with and without the
// optional fields.
func argVectors() map[string]interface{ Append([]byte) []byte } {
	return map[string]interface{ Append([]byte) []byte }{
		"grant": &Grant{Key: newEd("alice").Public(), Roles: abi.RoleOperator | abi.RoleDeveloper},
		"grant/all": &Grant{Key: newEC("enforcer").Public(), Roles: abi.RoleEnforcementPoint, X25519: seed("x25519"),
			GasQuota: 1 << 40, StorageQuota: 1 << 20},
		"rotate":            &Rotate{Statement: []byte("statement")},
		"rotate/all":        &Rotate{Statement: []byte("statement"), X25519: seed("x25519")},
		"enrol":             &Enrol{Statement: []byte("statement")},
		"enrol/all":         &Enrol{Statement: []byte("statement"), Labels: Labels{"site": "hq", "floor": "3", "b": ""}, Origin: []byte("origin")},
		"enrolment":         &Enrolment{Owner: hash("owner"), Manufacturer: "Acme", Model: "L100", Serial: "0001"},
		"enrolment/all":     &Enrolment{Owner: hash("owner"), Manufacturer: "Åcme", Model: "L100", Serial: "0001", X25519: seed("x25519")},
		"device-status":     &DeviceStatus{Device: hash("device"), Status: abi.StatusActive},
		"device-status/all": &DeviceStatus{Device: hash("device"), Status: abi.StatusStolen, Reason: "reported by owner"},
		"upload":            &Upload{Code: hash("code"), Length: 70000},
		"chunk":             &Chunk{Code: hash("code"), Index: 2, Data: []byte{0, 'a', 's', 'm'}},
		"deploy":            &Deploy{Name: "access", Code: hash("code")},
		"deploy/all":        &Deploy{Name: "access", Code: hash("code"), Init: []byte{0xa0}, Note: "first"},
		"upgrade":           &Upgrade{Name: "access", Code: hash("code")},
		"upgrade/all":       &Upgrade{Name: "access", Code: hash("code"), Migrate: []byte{0xa0}, Note: "second"},
		"call":              &Call{Contract: "access", Message: []byte{0xa0}},
		"call/empty":        &Call{Contract: "access"},
		"bind":              &Bind{Domain: "default", Contract: "access"},
		"issue-token":       &IssueToken{Token: hash("token"), Account: hash("account"), Domain: "default", Expiry: 1_800_000_000_000},
		"issue-token/all":   &IssueToken{Token: hash("token"), Account: hash("account"), Domain: "default", Expiry: 1_800_000_000_000, Note: "door"},
		"revoke-token":      &RevokeToken{Token: hash("token")},
		"propose":           &Propose{Kind: ProposeRemoveValidator, Args: (&RemoveValidator{ID: 3}).Append(nil), Reason: "it was stolen"},
		"propose/params":    &Propose{Kind: ProposeParams, Args: fullParams().Append(nil), Reason: "more room"},
		"vote":              &Vote{Proposal: 7},
		"vote/all":          &Vote{Proposal: 7, Reason: "as we agreed"},
		"guardians":         &Guardians{Accounts: []abi.Hash{hash("brother"), hash("lawyer"), hash("bank")}, Threshold: 2, Delay: 86_400_000},
		"guardians/none":    &Guardians{},
		"add-validator":     &AddValidator{Statement: []byte("statement")},
		"add-validator/all": &AddValidator{Statement: []byte("statement"), Roles: abi.RoleGateway},
		"remove-validator":  &RemoveValidator{ID: 3},
		"replace-validator": &ReplaceValidator{ID: 3, Statement: []byte("statement")},
		"recover":           &Recover{Account: hash("owner"), Statement: []byte("statement")},
	}
}

// fullParams have every parameter.
func fullParams() *Params {
	p := DefaultParams()
	p.DeployApprovals, p.ProposalTime, p.SnapshotBlocks, p.VerdictGateways = 2, 3_600_000, 500, 3
	return &p
}

func recordVectors() map[string]interface{ Append([]byte) []byte } {
	params := DefaultParams()
	return map[string]interface{ Append([]byte) []byte }{
		"params":     &params,
		"params/all": fullParams(),
		"account":    &Account{Key: newEd("alice").Public(), Roles: abi.RoleOwner, Created: 1},
		"account/all": &Account{Key: newEC("enforcer").Public(), Roles: abi.AllRoles, X25519: seed("x25519"), GasQuota: 7,
			StorageQuota: 8, Owner: ref(hash("owner")), Created: 9},
		"quota":  &Quota{Gas: 1, Storage: 2, Time: 1_700_000_000_000},
		"device": &Device{Owner: hash("owner"), Manufacturer: "Acme", Model: "L100", Serial: "0001", Status: abi.StatusActive, Since: 2, Enrolled: 2},
		"device/all": &Device{Owner: hash("owner"), Manufacturer: "Acme", Model: "L100", Serial: "0001", Status: abi.StatusQuarantined,
			Labels: Labels{"site": "hq"}, Reason: "scans", Since: 5, SetBy: ref(hash("authority")), Enrolled: 2,
			Contracts: []string{"thermostat", "network"}, Proven: 3, Hardware: ref(HardwareHash("Acme", []byte{2, 0, 0, 0, 0, 1})), Transferred: 4},
		"code":           &Code{Length: 70000, Uploader: hash("developer"), Height: 4},
		"pending-upload": &PendingUpload{Length: 70000, Expiry: 1_700_000_000_000, Arrived: []byte{0b101}},
		"contract": &Contract{Code: hash("code"), Owner: hash("developer"), Status: ContractActive, Activation: 1_700_000_000_000, Height: 4,
			Version: 1, Versions: 1},
		"contract/all": &Contract{Code: hash("code"), Owner: hash("developer"), Status: ContractFailed, Activation: 1_700_000_000_000, Height: 4,
			Failure: abi.CodeAborted, FailureCode: 7, Note: "first", Timers: 3, Version: 1, Versions: 3, Pending: 3},
		"contract-version": &ContractVersion{Code: hash("code"), Account: hash("developer"), Time: 1_699_999_999_000, Height: 4,
			Activation: 1_700_000_000_000, Status: VersionPending},
		"contract-version/all": &ContractVersion{Code: hash("code"), Account: hash("developer"), Time: 1_699_999_999_000, Height: 4,
			Activation: 1_700_000_000_000, Message: ref(hash("message")), Status: VersionFailed, Failure: abi.CodeAborted, FailureCode: 7,
			Note: "second", Decided: 5},
		"domain":         &Domain{Contract: "access", Owner: hash("operator")},
		"token":          &Token{Account: hash("account"), Domain: "default", Expiry: 1_800_000_000_000, IssuedBy: hash("operator")},
		"token/all":      &Token{Account: hash("account"), Domain: "default", Expiry: 1_800_000_000_000, Note: "door", IssuedBy: hash("operator"), Revoked: 12},
		"timer":          &Timer{Kind: TimerContract, Contract: "access", Message: []byte{1}, Account: hash("developer")},
		"timer/upload":   &Timer{Kind: TimerUpload, Account: hash("developer"), Code: hash("code")},
		"timer/upgrade":  &Timer{Kind: TimerUpgrade, Contract: "access", Message: []byte{1}, Account: hash("developer")},
		"timer/proposal": &Timer{Kind: TimerProposal, Account: hash("developer"), Proposal: 7},
		"proposal": &Proposal{Kind: ProposeRemoveValidator, Args: (&RemoveValidator{ID: 3}).Append(nil), Proposer: hash("operator"),
			Reason: "it was stolen", Time: 1_700_000_000_000, Height: 4, Expiry: 1_700_600_000_000, Status: ProposalOpen, Timer: 9},
		"proposal/all": &Proposal{Kind: ProposeRemoveValidator, Args: (&RemoveValidator{ID: 3}).Append(nil), Proposer: hash("operator"),
			Reason: "it was stolen", Time: 1_700_000_000_000, Height: 4, Expiry: 1_700_600_000_000, Status: ProposalFailed,
			Votes:  []ProposalVote{{hash("account"), 1, true, 1_700_000_001_000, 5, ""}, {hash("guardian"), 0, false, 1_700_000_002_000, 6, "no"}},
			Before: []byte{0x80}, Due: 1_700_000_003_000, Decided: 1_700_000_002_500, At: 7, Executed: 8, Code: abi.CodeBadValidatorSet, Needed: 3, Timer: 9},
	}
}

func vectorGenesis() *Genesis {
	return &Genesis{
		Name: "example", Time: 1_700_000_000_000, Params: DefaultParams(), Validators: vectorSet(),
		Accounts: []Grant{{Key: newEd("alice").Public(), Roles: abi.RoleOperator}},
	}
}

// vectorSuccessor goes on with the state of the block of vectorHeader, with two
// of its validators and a new one.
func vectorSuccessor() *Genesis {
	h := vectorHeader()
	set := append(vectorSet()[:2], Validator{8, newEd("validator-8").Public()})
	return &Genesis{
		Name: "example-2", Time: 1_700_009_000_000, Params: DefaultParams(), Validators: set,
		Accounts: []Grant{{Key: newEd("validator-8").Public(), Roles: abi.RoleValidator}},
		Origin:   &Origin{Header: h, State: hash("state of block 0")},
	}
}

func vectorSet() ValidatorSet {
	return ValidatorSet{{1, newEd("validator-1").Public()}, {2, newEd("validator-2").Public()}, {5, newEd("validator-5").Public()}, {7, newEd("validator-7").Public()}}
}

func vectorHeader() Header {
	set := vectorSet().Hash()
	return Header{Chain: ChainID(vectorGenesis().Append(nil)), Protocol: 1, Height: 42, Time: 1_700_000_060_000, Parent: hash("parent"),
		Transactions: hash("transactions"), Outcomes: hash("outcomes"), State: hash("state"), Validators: set, NextValidators: set}
}

// vectorCertificate is signed by the quorum of three.
func vectorCertificate(t testing.TB, h *Header) (c Certificate, vote []byte) {
	c = Certificate{Metadata: []byte("consensus metadata"), Sequence: 3}
	vote = AppendVote(nil, h.Chain, h.Hash(), c.Metadata, c.Sequence)
	for id, name := range map[uint64]string{1: "validator-1", 5: "validator-5", 7: "validator-7"} {
		sig := must(newEd(name).Sign(vote))(t)
		c.Signatures = append(c.Signatures, Signature{id, sig})
	}
	slicesSortSignatures(c.Signatures)
	return c, vote
}

func vectorBodies(chain abi.Hash) map[string]*Body {
	call := (&Call{Contract: "access", Message: []byte{0xa0}}).Append(nil)
	return map[string]*Body{
		"transaction/window": {Chain: chain, ValidUntil: 1_700_000_060_000, Gas: 1_000_000, Op: OpCall, Args: call},
		"transaction/lane":   {Chain: chain, Lane: 3, Sequence: 1, Gas: 1_000_000, Op: OpCall, Args: call},
	}
}

// buildVectors makes every vector anew from the seeds.
func buildVectors(t testing.TB) (list []vector) {
	hexOf := hex.EncodeToString
	add := func(v vector, enc []byte) {
		v.Hex = hexOf(enc)
		list = append(list, v)
	}
	for _, group := range []map[string]interface{ Append([]byte) []byte }{argVectors(), recordVectors(), deviceVectors(), deviceRecordVectors()} {
		for _, name := range sortedKeys(group) {
			kind, _, _ := bytes.Cut([]byte(name), []byte("/"))
			add(vector{Name: name, Kind: string(kind)}, group[name].Append(nil))
		}
	}
	genesis := vectorGenesis().Append(nil)
	chain := ChainID(genesis)
	add(vector{Name: "genesis", Kind: "genesis", ID: hexOf(chain[:])}, genesis)
	successor := vectorSuccessor()
	add(vector{Name: "origin", Kind: "origin"}, successor.Origin.Append(nil))
	signers, _ := vectorCertificate(t, &successor.Origin.Header)
	add(vector{Name: "origin-proof", Kind: "origin-proof"}, (&OriginProof{Certificate: signers, Steps: [][]byte{{0xa0}}}).Append(nil))
	continued := successor.Append(nil)
	id := ChainID(continued)
	add(vector{Name: "genesis/origin", Kind: "genesis", ID: hexOf(id[:])}, continued)
	for _, signer := range []struct {
		seed string
		Signer
	}{{"alice", newEd("alice")}, {"enforcer", newEC("enforcer")}} {
		id := AccountID(signer.Public())
		add(vector{Name: "account id/" + signer.seed, Kind: "key", ID: hexOf(id[:]), Seed: signer.seed}, signer.Public())
		bodies := vectorBodies(chain)
		for _, name := range sortedKeys(bodies) {
			raw := must(SignTx(bodies[name], signer))(t)
			tx := must(ParseTx(raw))(t)
			add(vector{Name: name + "/" + signer.seed, Kind: "transaction", ID: hexOf(tx.ID[:]), Key: hexOf(tx.Key()), Seed: signer.seed,
				Signed: hexOf(tx.Envelope().signed)}, raw)
		}
	}
	tick := must(ParseTx(AppendTick(nil, 1_700_000_060_000)))(t)
	add(vector{Name: "tick", Kind: "tick", ID: hexOf(tick.ID[:])}, tick.Raw)
	return append(list, signedVectors(t, chain)...)
}

// signedVectors are statements and what validators sign.
func signedVectors(t testing.TB, chain abi.Hash) (list []vector) {
	hexOf := hex.EncodeToString
	enrolment := argVectors()["enrolment"].Append(nil)
	for name, s := range map[string]*Statement{
		"statement/enrol":     {Chain: chain, Kind: StatementEnrol, Expiry: 1_700_000_060_000, Body: enrolment},
		"statement/validator": {Chain: chain, Kind: StatementValidator, Expiry: 1_700_000_060_000, Body: RotationBody(AccountID(newEd("device").Public()))},
		"statement/rotate":    {Chain: chain, Kind: StatementRotate, Expiry: 1_700_000_060_000, Body: RotationBody(hash("account"))},
	} {
		raw := must(SignStatement(s, newEd("device")))(t)
		p := must(ParseStatement(raw))(t)
		list = append(list, vector{Name: name, Kind: "statement", Hex: hexOf(raw), Key: hexOf(p.Key), Seed: "device", Signed: hexOf(p.envelope.signed)})
	}
	slicesSortVectors(list)
	h := vectorHeader()
	id, set := h.Hash(), vectorSet()
	setHash := set.Hash()
	cert, vote := vectorCertificate(t, &h)
	outcome := AppendOutcome(nil, &Outcome{ID: hash("transaction"), Gas: 12345})
	aborted := AppendOutcome(nil, &Outcome{ID: hash("transaction"), Code: abi.CodeAborted, Gas: 9, Abort: 0})
	full := AppendOutcome(nil, &Outcome{ID: hash("transaction"), Gas: 9, Result: []byte{0xf5}, Events: []Event{{"access", []byte("policy"), []byte{1}}}})
	tick := AppendTick(nil, 1_700_000_060_000)
	return append(list,
		vector{Name: "rotation-body", Kind: "rotation-body", Hex: hexOf(RotationBody(hash("account")))},
		vector{Name: "validator-set", Kind: "validator-set", Hex: hexOf(set.Append(nil)), ID: hexOf(setHash[:])},
		vector{Name: "header", Kind: "header", Hex: hexOf(AppendHeader(nil, &h)), ID: hexOf(id[:])},
		vector{Name: "block", Kind: "block", Hex: hexOf(AppendBlock(nil, &Block{h, [][]byte{tick}})), ID: hexOf(id[:])},
		vector{Name: "certificate", Kind: "certificate", Hex: hexOf(cert.Append(nil)), Signed: hexOf(vote)},
		vector{Name: "outcome", Kind: "outcome", Hex: hexOf(outcome)},
		vector{Name: "outcome/aborted", Kind: "outcome", Hex: hexOf(aborted)},
		vector{Name: "outcome/all", Kind: "outcome", Hex: hexOf(full)},
		vector{Name: "outcomes", Kind: "outcomes", Hex: hexOf(AppendOutcomes(nil, [][]byte{outcome, full}))},
	)
}

func loadVectors(t testing.TB) (list []vector) {
	t.Helper()
	if err := json.Unmarshal(must(os.ReadFile(vectorFile))(t), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestVectors: the file is what this code makes, to the byte. A difference is
// a change of the protocol.
func TestVectors(t *testing.T) {
	made := must(json.MarshalIndent(buildVectors(t), "", "  "))(t)
	made = append(made, '\n')
	if *update {
		if err := os.WriteFile(vectorFile, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if stored := must(os.ReadFile(vectorFile))(t); !bytes.Equal(stored, made) {
		t.Errorf("%s is not what this code makes", vectorFile)
	}
}

// TestVectorsRead: every vector is read by its parser and no other encoding of
// it is.
func TestVectorsRead(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range loadVectors(t) {
		seen[v.Kind] = true
		for _, c := range messages {
			if c.name == v.Kind {
				checkMessageVector(t, c, v.bytes(t))
			}
		}
		for _, c := range records {
			if c.name == v.Kind {
				checkRecordVector(t, c, v.bytes(t))
			}
		}
	}
	for _, c := range append(append([]codec{}, messages...), records...) {
		if !seen[c.name] && c.name != "body" {
			t.Errorf("no vector of kind %s", c.name)
		}
	}
}

func checkMessageVector(t *testing.T, c codec, in []byte) {
	if !checkMessage(t, c, in) {
		t.Errorf("%s: %x was refused", c.name, in)
	}
	checkCuts(t, c, in)
	if grown, ok := withUnknownKey(in); ok {
		if _, err := c.again(grown); err == nil {
			t.Errorf("%s: an unknown key was accepted", c.name)
		}
	}
}

func checkRecordVector(t *testing.T, c codec, in []byte) {
	again, err := c.again(in)
	if err != nil || !bytes.Equal(again, in) {
		t.Errorf("%s: %x is written as %x, %v", c.name, in, again, err)
	}
	checkCuts(t, c, in)
	grown, _ := withUnknownKey(in)
	if again, err := c.again(grown); err != nil || !bytes.Equal(again, in) {
		t.Errorf("%s: with an unknown key it is written as %x, %v", c.name, again, err)
	}
}

// checkCuts: no prefix is accepted, nor a byte more.
func checkCuts(t *testing.T, c codec, in []byte) {
	for n := range in {
		if _, err := c.again(in[:n]); err == nil {
			t.Errorf("%s: the first %d of %d bytes were accepted", c.name, n, len(in))
		}
	}
	if _, err := c.again(append(bytes.Clone(in), 0)); err == nil {
		t.Errorf("%s: a byte too many was accepted", c.name)
	}
}

// withUnknownKey adds the pair 99: [1] to a map of fewer than 23 pairs.
func withUnknownKey(in []byte) ([]byte, bool) {
	r := cbor.NewReader(in)
	if r.Kind() != cbor.KindMap || in[0]&31 > 22 {
		return in, false
	}
	grown := bytes.Clone(in)
	grown[0]++
	return append(grown, 0x18, 99, 0x81, 0x01), true
}
