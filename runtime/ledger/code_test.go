package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

func TestUpload(t *testing.T) {
	w := newWorld(t, nil)
	blob := bytes.Repeat([]byte("x"), abi.MaxChunk+10)
	hash := abi.Hash(sha256.Sum256(blob))
	chunk := func(i, n int) *chain.Chunk {
		return &chain.Chunk{Code: hash, Index: uint64(i), Data: blob[:n]}
	}
	up := &chain.Upload{Code: hash, Length: uint64(len(blob))}
	deploy := &chain.Deploy{Name: "c", Code: hash}
	w.try([]attempt{
		{"by no developer", nobody, chain.OpUpload, up, abi.CodeMissingRole},
		{"of nothing", developer, chain.OpUpload, &chain.Upload{Code: hash}, abi.CodeTooLarge},
		{"of too much", developer, chain.OpUpload, &chain.Upload{Code: hash, Length: 256<<10 + 1}, abi.CodeTooLarge},
		{"chunk of no upload", developer, chain.OpChunk, chunk(0, abi.MaxChunk), abi.CodeUnknownUpload},
		{"deployment of no upload", developer, chain.OpDeploy, deploy, abi.CodeUnknownUpload},
		{"declared", developer, chain.OpUpload, up, abi.OK},
		{"declared again", developer, chain.OpUpload, up, abi.OK},
		{"with another length", developer, chain.OpUpload, &chain.Upload{Code: hash, Length: 5}, abi.CodeBadArgument},
		{"chunk by no developer", nobody, chain.OpChunk, chunk(0, abi.MaxChunk), abi.CodeMissingRole},
		{"chunk by another developer", other, chain.OpChunk, chunk(0, abi.MaxChunk), abi.CodeUnknownUpload},
		{"chunk too short", developer, chain.OpChunk, chunk(0, abi.MaxChunk-1), abi.CodeBadArgument},
		{"chunk too long", developer, chain.OpChunk, &chain.Chunk{Code: hash, Data: make([]byte, abi.MaxChunk+1)}, abi.CodeTooLarge},
		{"last chunk too long", developer, chain.OpChunk, chunk(1, 11), abi.CodeBadArgument},
		{"chunk too many", developer, chain.OpChunk, chunk(2, 10), abi.CodeBadArgument},
		{"last chunk", developer, chain.OpChunk, chunk(1, 10), abi.OK},
		{"deployment of half a code", developer, chain.OpDeploy, deploy, abi.CodeUploadIncomplete},
		{"first chunk", developer, chain.OpChunk, chunk(0, abi.MaxChunk), abi.OK},
		{"first chunk again", developer, chain.OpChunk, chunk(0, abi.MaxChunk), abi.OK},
	})
	for i := range 3 {
		w.must(developer, chain.OpUpload, &chain.Upload{Code: abi.Hash{byte(i + 1)}, Length: 5})
	}
	w.want(w.do(developer, chain.OpUpload, &chain.Upload{Code: abi.Hash{9}, Length: 5}), abi.CodeTooManyUploads)
}

// spaces counts the records under a prefix.
func (w *world) count(prefix []byte) (n int) {
	w.t.Helper()
	v, err := w.store.View()
	if err != nil {
		w.t.Fatal(err)
	}
	defer v.Release()
	err = each(cold{v}, prefix, func(_, _ []byte) (bool, error) { n++; return true, nil })
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// An upload that can never become a code is dropped with the refusal, and its
// bytes come back.
func TestUploadThatCannotBeACode(t *testing.T) {
	for _, c := range []struct {
		name string
		hash abi.Hash
		blob []byte
		want abi.Code
	}{
		{"wrong hash", abi.Hash{1}, scriptWasm, abi.CodeHashMismatch},
		{"no module", sha256.Sum256([]byte("no module")), []byte("no module"), abi.CodeModuleMalformed},
	} {
		w := newWorld(t, func(g *chain.Genesis) { g.Params.StorageRefill = 0 })
		w.must(developer, chain.OpUpload, &chain.Upload{Code: c.hash, Length: uint64(len(c.blob))})
		w.must(developer, chain.OpChunk, &chain.Chunk{Code: c.hash, Data: c.blob})
		o := w.do(developer, chain.OpDeploy, &chain.Deploy{Name: "c", Code: c.hash})
		if o.Code != c.want || o.Gas < gasCodeByte*uint64(len(c.blob)) {
			t.Errorf("%s: %v for %d gas", c.name, o.Code, o.Gas)
		}
		if w.count([]byte{'u'}) != 0 || w.count([]byte{'b'}) != 0 || w.count([]byte{'h'}) != 0 || w.count([]byte{'c'}) != 0 {
			t.Errorf("%s: the upload is still there", c.name)
		}
		w.now += w.l.Genesis().Params.UploadTTL
		w.tickOver() // the upload's timer finds nothing
		if left := record(w, chain.QuotaKey(developer.id()), chain.ParseQuota).Storage; left != chain.DefaultParams().StorageQuota {
			t.Errorf("%s: %d bytes did not come back", c.name, chain.DefaultParams().StorageQuota-left)
		}
	}
}

// An upload that never ends is deleted by its timer, a few chunks at a time.
func TestUploadExpires(t *testing.T) {
	w := newWorld(t, func(g *chain.Genesis) { g.Params.StorageRefill = 0 })
	const n = 7*abi.MaxChunk + 5
	hash := abi.Hash{1}
	begun := w.now
	w.must(developer, chain.OpUpload, &chain.Upload{Code: hash, Length: n})
	for _, i := range []uint64{0, 1, 2, 4, 5, 6} {
		w.must(developer, chain.OpChunk, &chain.Chunk{Code: hash, Index: i, Data: make([]byte, abi.MaxChunk)})
	}
	w.must(developer, chain.OpChunk, &chain.Chunk{Code: hash, Index: 7, Data: make([]byte, 5)})
	w.now = begun + w.l.Genesis().Params.UploadTTL + 10
	late := w.tx(developer, chain.OpChunk, &chain.Chunk{Code: hash, Index: 3, Data: make([]byte, abi.MaxChunk)})
	list := w.block(late)
	if len(list) != 2 || list[0].Code != abi.OK || list[1].Code != abi.CodeUnknownUpload {
		t.Fatalf("outcomes are %v", list)
	}
	if w.count([]byte{'u'}) != 0 || w.count([]byte{'b'}) != 0 || w.count([]byte{'t'}) != 0 {
		t.Error("something of the upload is left")
	}
	if left := record(w, chain.QuotaKey(developer.id()), chain.ParseQuota).Storage; left != chain.DefaultParams().StorageQuota {
		t.Errorf("%d bytes did not come back", chain.DefaultParams().StorageQuota-left)
	}
}

// A large upload is deleted in steps, and a chunk that comes in between finds
// its time over.
func TestUploadExpiresInSteps(t *testing.T) {
	s, x := executionOver(t, &memory{pairs: map[string]string{}}, 5000)
	hash := abi.Hash{1}
	u := chain.PendingUpload{Length: 20 * abi.MaxChunk, Expiry: 5000, Arrived: []byte{0xff, 0xff, 0x0f}}
	for i := range uint64(20) {
		if err := s.set(chain.CodeChunkKey(hash, nobody.id(), i), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.set(chain.UploadKey(nobody.id(), hash), u.Append(nil)); err != nil {
		t.Fatal(err)
	}
	timer := chain.Timer{Kind: chain.TimerUpload, Account: nobody.id(), Code: hash}
	for _, left := range []int{12, 4, 0} {
		if err := x.expireUpload(&timer); err != nil {
			t.Fatal(err)
		}
		n := 0
		if err := each(s, []byte{'b'}, func(_, _ []byte) (bool, error) { n++; return true, nil }); err != nil || n != left {
			t.Fatalf("%d chunks are left, want %d, %v", n, left, err)
		}
		_, there, _ := s.get(chain.UploadKey(nobody.id(), hash))
		if there != (left > 0) {
			t.Fatalf("%d chunks are left, and the upload is there: %v", left, there)
		}
	}
}

// executionOver is an execution without a ledger behind it.
func executionOver(t *testing.T, base reader, now int64) (*state, *execution) {
	t.Helper()
	s := newState(base)
	return s, &execution{ctx: context.Background(), state: s, params: chain.DefaultParams(), header: chain.Header{Time: now}, window: map[string]struct{}{}}
}

func TestDeploy(t *testing.T) {
	w := newWorld(t, func(g *chain.Genesis) { g.Params.ActivationDelay = 5000 })
	hash := w.upload(developer, scriptWasm)
	w.try([]attempt{
		{"by no developer", nobody, chain.OpDeploy, &chain.Deploy{Name: "c", Code: hash}, abi.CodeMissingRole},
		{"bad name", developer, chain.OpDeploy, &chain.Deploy{Name: "../c", Code: hash}, abi.CodeBadArgument},
		{"init too long", developer, chain.OpDeploy, &chain.Deploy{Name: "c", Code: hash, Init: make([]byte, abi.MaxValue+1)}, abi.CodeTooLarge},
		{"another's upload", other, chain.OpDeploy, &chain.Deploy{Name: "c", Code: hash}, abi.CodeUnknownUpload},
		{"deployed", developer, chain.OpDeploy, &chain.Deploy{Name: "c", Code: hash, Note: "first"}, abi.OK},
		{"name taken", developer, chain.OpDeploy, &chain.Deploy{Name: "c", Code: hash}, abi.CodeContractExists},
		{"name taken by another", other, chain.OpDeploy, &chain.Deploy{Name: "c", Code: hash}, abi.CodeContractExists},
		{"the same code, another name", other, chain.OpDeploy, &chain.Deploy{Name: "d", Code: hash}, abi.OK},
		{"upload of a code that is there", other, chain.OpUpload, &chain.Upload{Code: hash, Length: 5}, abi.CodeCodeExists},
		{"call while it is pending", nobody, chain.OpCall, &chain.Call{Contract: "c"}, abi.CodeContractPending},
		{"call of nothing", nobody, chain.OpCall, &chain.Call{Contract: "none"}, abi.CodeUnknownContract},
	})
	c := record(w, chain.ContractKey("c"), chain.ParseContract)
	if c.Status != chain.ContractPending || c.Note != "first" || c.Owner != developer.id() || c.Code != hash {
		t.Fatalf("contract is %+v", c)
	}
	if due, ok := w.l.NextTimer(); !ok || due != c.Activation {
		t.Fatalf("the next timer is due at %d, want %d", due, c.Activation)
	}
	w.now = c.Activation - 1
	w.want(w.run(nobody, "c", nil), abi.CodeContractPending)
	w.tickOver()
	w.want(w.run(nobody, "c", nil), abi.OK)
	got, err := loadFrom(w, hash)
	if err != nil || !bytes.Equal(got, scriptWasm) {
		t.Error("the code does not come back as it was", err)
	}
}

func loadFrom(w *world, hash abi.Hash) ([]byte, error) { return w.l.codeBytes(hash) }

// Without a delay a contract is active from the next block on.
func TestActivationAtTheNextBlock(t *testing.T) {
	w := newWorld(t, nil)
	hash := w.upload(developer, scriptWasm)
	same := w.block(w.tx(developer, chain.OpDeploy, &chain.Deploy{Name: "c", Code: hash}), w.tx(nobody, chain.OpCall, &chain.Call{Contract: "c"}))
	w.want(same[1], abi.CodeContractPending)
	list := w.block(w.tx(nobody, chain.OpCall, &chain.Call{Contract: "c"}))
	if len(list) != 2 || list[0].Code != abi.OK || list[1].Code != abi.OK {
		t.Fatalf("outcomes are %v", list)
	}
}

// A contract whose init fails keeps nothing of it but the reason, and its
// owner may deploy it anew.
func TestInitFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		init  script
		want  abi.Code
		abort uint16
	}{
		{"abort", do('s', 0, "k", "v").add('t', start+9_000_000, "", "").add('e', 0, "t", "").add('x', 77, "no", ""), abi.CodeAborted, 77},
		{"trap", do('s', 0, "k", "v").add('u', 0, "", ""), abi.CodeUnreachable, 0},
		{"loop", do('s', 0, "k", "v").add('l', 0, "", ""), abi.CodeOutOfGas, 0},
	} {
		w := newWorld(t, nil)
		hash := w.upload(developer, scriptWasm)
		w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "c", Code: hash, Init: c.init})
		list := w.tickOver()
		if list[0].Code != c.want || list[0].Abort != c.abort || list[0].Events != nil {
			t.Errorf("%s: outcome is %+v", c.name, list[0])
		}
		r := record(w, chain.ContractKey("c"), chain.ParseContract)
		if r.Status != chain.ContractFailed || r.Failure != c.want || r.FailureCode != c.abort || r.Timers != 0 {
			t.Errorf("%s: contract is %+v", c.name, r)
		}
		if w.count(chain.StatePrefix("c")) != 0 {
			t.Errorf("%s: init left state behind", c.name)
		}
		w.try([]attempt{
			{"call", nobody, chain.OpCall, &chain.Call{Contract: "c"}, abi.CodeContractFailed},
			{"deployed by another", other, chain.OpDeploy, &chain.Deploy{Name: "c", Code: hash}, abi.CodeContractExists},
			{"deployed anew", developer, chain.OpDeploy, &chain.Deploy{Name: "c", Code: hash, Init: do('s', 0, "k", "v")}, abi.OK},
		})
		w.tickOver()
		if r := record(w, chain.ContractKey("c"), chain.ParseContract); r.Status != chain.ContractActive || r.Failure != 0 {
			t.Errorf("%s: contract is %+v", c.name, r)
		}
		if got := record(w, chain.StateKey("c", []byte("k")), raw); string(got) != "v" {
			t.Errorf("%s: init wrote %q", c.name, got)
		}
	}
}

// made counts codes that no test had before, in however many runs of one
// process: the contract host is shared.
var made atomic.Uint32

func fresh() byte { return byte(made.Add(1)) & 0x7f }

// What is deployed is compiled in the background.
func TestRunCompiles(t *testing.T) {
	w := newWorld(t, nil)
	// A code of its own: the name of a custom section makes another hash.
	blob := append(append([]byte{}, scriptWasm...), 0, 3, 2, 'h', fresh())
	hash := w.upload(developer, blob)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "c", Code: hash})
	if w.l.runtime.Ready(chain.Protocol, hash) {
		t.Fatal("compiled already: the test shows nothing")
	}
	w.l.compiles <- abi.Hash{0xee} // not on this ledger
	go func() { done <- w.l.Run(ctx) }()
	if err := <-done; err == nil {
		t.Error("a code that is missing goes unnoticed")
	}
	if !w.l.runtime.Ready(chain.Protocol, hash) {
		t.Error("the deployed code was not compiled")
	}
	cancel()
	if err := w.l.Run(ctx); err != nil {
		t.Error(fmt.Errorf("an ended context is no error: %w", err))
	}
}

// After a restart, Run begins with what will be needed: contracts that wait
// for their activation, and those that decide.
func TestRunBeginsWithContracts(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy(developer, "idle", "policy")
	w.must(operator, chain.OpBind, &chain.Bind{Domain: "d", Contract: "policy"})
	pending := w.upload(developer, append(append([]byte{}, scriptWasm...), 0, 3, 2, 'p', 'p'))
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "pending", Code: pending})
	w.reopen()
	if err := w.l.wantContracts(); err != nil {
		t.Fatal(err)
	}
	first, second := <-w.l.compiles, <-w.l.compiles
	if first != pending || second != abi.Hash(sha256.Sum256(scriptWasm)) || len(w.l.compiles) != 0 {
		t.Errorf("%x and %x are wanted", first[:4], second[:4])
	}
}

// A deployment that is rolled back at the very end leaves nothing to compile:
// its code is not on the ledger, and asking for it would end the node.
func TestRefusedDeploymentIsNotCompiled(t *testing.T) {
	w := newWorld(t, func(g *chain.Genesis) { g.Params.StorageRefill = 0 })
	blob := append(append([]byte{}, scriptWasm...), 0, 3, 2, 'n', 'o')
	w.must(operator, chain.OpGrant, &chain.Grant{Key: nobody.Public(), Roles: abi.RoleDeveloper, StorageQuota: uint64(len(blob)) + 600})
	hash := w.upload(nobody, blob)
	w.want(w.do(nobody, chain.OpDeploy, &chain.Deploy{Name: "c", Code: hash, Init: make([]byte, 1000)}), abi.CodeStorageQuota)
	if len(w.l.compiles) != 0 || w.count([]byte{'h'}) != 0 {
		t.Error("the refused deployment is remembered")
	}
	w.want(w.do(nobody, chain.OpDeploy, &chain.Deploy{Name: "c", Code: hash}), abi.OK)
	if code := <-w.l.compiles; code != hash {
		t.Errorf("%x is wanted", code[:4])
	}
}

// The timer of an upload that was dropped does not end the one that was begun
// after it.
func TestUploadBegunAnewOutlivesTheOldTimer(t *testing.T) {
	w := newWorld(t, nil)
	hash, begun := abi.Hash{1}, w.now
	w.must(developer, chain.OpUpload, &chain.Upload{Code: hash, Length: 5})
	w.must(developer, chain.OpChunk, &chain.Chunk{Code: hash, Data: []byte("wrong")})
	w.want(w.do(developer, chain.OpDeploy, &chain.Deploy{Name: "c", Code: hash}), abi.CodeHashMismatch)
	w.now = begun + 10_000
	w.must(developer, chain.OpUpload, &chain.Upload{Code: hash, Length: 5})
	w.tickOver()
	if w.count([]byte{'u'}) != 1 {
		t.Error("the new upload went with the old one's timer")
	}
	w.tickOver()
	if w.count([]byte{'u'}) != 0 || w.count(chain.TimerPrefix()) != 0 {
		t.Error("the new upload does not end")
	}
}
