package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

func TestTransactionsAreUnlikeOneAnother(t *testing.T) {
	l := newLedger(t)
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	c, _ := dial(t, l, address)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := c.Transact(t.Context(), chain.OpCall, &chain.Call{Contract: "x"}, 0); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if h := l.height(); h != 20 {
		t.Errorf("%d blocks, want 20", h)
	}
	tx, err := c.Sign(chain.OpCall, &chain.Call{Contract: "x"}, 5)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := chain.ParseTx(tx)
	if err != nil || parsed.Gas != 5 || parsed.Chain != c.Chain() || parsed.Envelope().Verify() != nil {
		t.Errorf("%+v, %v", parsed, err)
	}
}

func TestOutcomesThatAreRefusals(t *testing.T) {
	l := newLedger(t)
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	c, _ := dial(t, l, address)
	answer := func(f func(tx *chain.Tx) chain.Outcome) { l.with(func() { l.outcome = f }) }
	answer(func(tx *chain.Tx) chain.Outcome {
		return chain.Outcome{ID: tx.ID, Code: abi.CodeAborted, Abort: 42}
	})
	_, err := c.Transact(t.Context(), chain.OpCall, &chain.Call{Contract: "x"}, 0)
	var outcome *client.OutcomeError
	if !errors.As(err, &outcome) || outcome.Outcome.Abort != 42 || outcome.Height != 1 || !errors.Is(err, abi.CodeAborted) {
		t.Errorf("%+v, %v", outcome, err)
	}
	answer(func(*chain.Tx) chain.Outcome { return chain.Outcome{ID: abi.Hash{1}} })
	if _, err := c.Transact(t.Context(), chain.OpCall, &chain.Call{Contract: "x"}, 0); !errors.Is(err, abi.CodeMalformed) {
		t.Errorf("another's outcome: %v", err)
	}
	// An outcome that no frame holds is read from the block.
	answer(func(tx *chain.Tx) chain.Outcome {
		return chain.Outcome{ID: tx.ID, Result: make([]byte, 200_000)}
	})
	done, err := c.Transact(t.Context(), chain.OpCall, &chain.Call{Contract: "x"}, 0)
	if err != nil || len(done.Outcome.Result) != 200_000 {
		t.Errorf("large outcome: %v", err)
	}
}

// The connection is lost after the gateway took the transaction: the client
// asks again and learns that it was committed, once.
func TestSubmitSurvivesALostConnection(t *testing.T) {
	l := newLedger(t)
	var lost atomic.Bool
	address := script(t, l, func(s *quic.Stream, q abi.Request) {
		if q.Op == abi.OpTx {
			id := abi.Hash(q.Body[4:])
			result, err := l.Tx(id)
			if err != nil {
				t.Error(err)
			}
			respond(s, &abi.Response{ID: q.ID, Body: abi.AppendTxResult(nil, &result)})
			return
		}
		raw := q.Body[5 : len(q.Body)-2] // {1: bytes of two length bytes, 2: wait}
		result, err := l.Submit(t.Context(), raw, true)
		if lost.CompareAndSwap(false, true) {
			s.CancelWrite(quic.StreamErrorCode(abi.CodeShuttingDown))
			s.CancelRead(quic.StreamErrorCode(abi.CodeShuttingDown))
			return
		}
		respond(s, &abi.Response{ID: q.ID, Code: client.CodeOf(err), Body: bodyOf(&result, err)})
	})
	c, _ := dial(t, l, address)
	done, err := c.Transact(t.Context(), chain.OpCall, &chain.Call{Contract: "x", Message: make([]byte, 300)}, 0)
	l.with(func() {
		if err != nil || done.Height != 1 || l.submitted != 2 || l.header.Height != 1 {
			t.Errorf("%+v, %v; submitted %d times, %d blocks", done, err, l.submitted, l.header.Height)
		}
	})
}

func bodyOf(t *abi.TxResult, err error) []byte {
	if err != nil {
		return nil
	}
	return abi.AppendTxResult(nil, t)
}

func TestHammer(t *testing.T) {
	l := newLedger(t)
	l.decide = permit
	l.commit(map[string][]byte{"k": []byte("v")}, nil, nil)
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	c, _ := dial(t, l, address)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			domain := fmt.Sprintf("d%d", i)
			for range 30 {
				if answer, err := c.Decide(t.Context(), domain, request()); err != nil || answer.ReasonID != domain {
					t.Errorf("%+v, %v", answer, err)
				}
				message := bytes.Repeat([]byte{byte(i)}, 1000*i)
				if q, err := c.Query(t.Context(), "echo", message); err != nil || !bytes.Equal(q.Unproven, message) {
					t.Error(err)
				}
				if e, err := c.Get(t.Context(), []byte("k")); err != nil || string(e.Value) != "v" {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for range 3 {
				if _, err := c.Transact(t.Context(), chain.OpCall, &chain.Call{Contract: "x"}, 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// Large requests and large answers on one stream: neither side may wait for
// the other to read.
func TestLargePipeline(t *testing.T) {
	l := newLedger(t)
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	c, _ := dial(t, l, address)
	message := make([]byte, 70_000)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if q, err := c.Query(t.Context(), "echo", message); err != nil || len(q.Unproven) != len(message) {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// deployer is a ledger's side of uploads and deployments.
type deployer struct {
	*ledger
	account abi.Hash
	upload  chain.Upload
	chunks  map[uint64][]byte
	arrived []uint64 // chunks in the order they came
	status  chain.ContractStatus
	version chain.VersionStatus // of an upgrade
	fail    uint64              // the chunk that is refused once, counted from 1
}

func (d *deployer) apply(tx *chain.Tx) chain.Outcome {
	o := chain.Outcome{ID: tx.ID}
	switch tx.Op {
	case chain.OpUpload:
		a, _ := chain.ParseUpload(tx.Args)
		if d.state[string(chain.CodeKey(a.Code))] != nil {
			o.Code = abi.CodeCodeExists
		} // declaring it again changes nothing
		d.upload = a
	case chain.OpChunk:
		a, _ := chain.ParseChunk(tx.Args)
		if a.Index+1 == d.fail {
			d.fail, o.Code = 0, abi.CodeGasQuota
			return o
		}
		d.chunks[a.Index] = bytes.Clone(a.Data)
		d.arrived = append(d.arrived, a.Index)
		bits := make([]byte, 1)
		for i := range d.chunks {
			bits[0] |= 1 << i
		}
		pending := chain.PendingUpload{Length: d.upload.Length, Arrived: bits}
		d.state[string(chain.UploadKey(d.account, d.upload.Code))] = pending.Append(nil)
	case chain.OpDeploy:
		a, _ := chain.ParseDeploy(tx.Args)
		var code []byte
		for i := range uint64(len(d.chunks)) {
			code = append(code, d.chunks[i]...)
		}
		if sha256.Sum256(code) != a.Code {
			o.Code = abi.CodeUnknownUpload
			return o
		}
		d.state[string(chain.CodeKey(a.Code))] = []byte{1}
		record := chain.Contract{Code: a.Code, Status: d.status, Height: d.header.Height + 1, Failure: abi.CodeAborted, FailureCode: 7}
		d.state[string(chain.ContractKey(a.Name))] = record.Append(nil)
	case chain.OpUpgrade:
		a, _ := chain.ParseUpgrade(tx.Args)
		o.Result = []byte{2}
		record := chain.Contract{Status: chain.ContractActive, Version: 1, Versions: 2}
		d.state[string(chain.ContractKey(a.Name))] = record.Append(nil)
		for i, status := range []chain.VersionStatus{chain.VersionActive, d.version} {
			v := chain.ContractVersion{Code: a.Code, Status: status, Note: a.Note, Failure: abi.CodeAborted, FailureCode: 7}
			d.state[string(chain.VersionKey(a.Name, uint64(i+1)))] = v.Append(nil)
		}
	}
	return o
}

func newDeployer(t *testing.T) (*deployer, *client.Client) {
	d := &deployer{ledger: newLedger(t), chunks: map[uint64][]byte{}, status: chain.ContractActive}
	d.outcome = d.apply
	address, _ := d.serve(t, d.gateway, "127.0.0.1:0")
	c, k := dial(t, d.ledger, address)
	d.with(func() { d.account = k.AccountID() })
	return d, c
}

func TestDeploy(t *testing.T) {
	d, c := newDeployer(t)
	code := bytes.Repeat([]byte("wasm"), 25_000) // four chunks
	var progress []int
	deployment := client.Deployment{Name: "access", Code: code, Progress: func(done, total int) {
		progress = append(progress, done)
		if total != len(code) {
			t.Errorf("total %d", total)
		}
	}}
	d.with(func() { d.fail = 3 })
	if err := c.Deploy(t.Context(), deployment); !errors.Is(err, abi.CodeGasQuota) {
		t.Fatalf("a refused chunk: %v", err)
	}
	// It goes on where it stopped.
	if err := c.Deploy(t.Context(), deployment); err != nil {
		t.Fatal(err)
	}
	d.with(func() {
		if fmt.Sprint(d.arrived) != "[0 1 2 3]" || progress[len(progress)-1] != len(code) {
			t.Errorf("chunks %v, progress %v", d.arrived, progress)
		}
	})
	// The code is there: it is not sent again.
	deployment.Name = "second"
	if err := c.Deploy(t.Context(), deployment); err != nil {
		t.Fatal(err)
	}
	d.with(func() {
		if len(d.arrived) != 4 {
			t.Errorf("chunks %v", d.arrived)
		}
	})
}

func TestDeployOfAContractThatFails(t *testing.T) {
	d, c := newDeployer(t)
	d.with(func() { d.status = chain.ContractFailed })
	err := c.Deploy(t.Context(), client.Deployment{Name: "x", Code: []byte("code")})
	if own, ok := client.AbortOf(err); !ok || own != 7 || client.CodeOf(err) != abi.CodeContractFailed {
		t.Error(err)
	}
}

func TestDeployWaitsUntilActive(t *testing.T) {
	d, c := newDeployer(t)
	polls := 0
	d.with(func() {
		d.status = chain.ContractPending
		d.proof = func(key []byte) ([]byte, error) {
			if polls++; polls == 3 {
				record := chain.Contract{Code: sha256.Sum256([]byte("code")), Status: chain.ContractActive, Height: d.header.Height}
				d.commitLocked(map[string][]byte{string(chain.ContractKey("x")): record.Append(nil)}, nil, nil)
			}
			e := d.entryLocked(key)
			return e.Append(nil), nil
		}
	})
	if err := c.Deploy(t.Context(), client.Deployment{Name: "x", Code: []byte("code")}); err != nil {
		t.Error(err)
	}
	d.with(func() {
		if polls < 3 {
			t.Errorf("active after %d polls", polls)
		}
	})
}

// Who stops an upload is told that it goes on where it stopped, and so it does.
func TestDeployThatIsInterrupted(t *testing.T) {
	d, c := newDeployer(t)
	deployment := client.Deployment{Name: "access", Code: bytes.Repeat([]byte("wasm"), 25_000)} // four chunks
	ctx, cancel := context.WithCancel(t.Context())
	deployment.Progress = func(done, _ int) {
		if done == 2*abi.MaxChunk {
			cancel()
		}
	}
	err := c.Deploy(ctx, deployment)
	var interrupted *client.InterruptedError
	if !errors.As(err, &interrupted) || interrupted.Done != 2*abi.MaxChunk || interrupted.Total != 100_000 || !strings.Contains(err.Error(), "goes on where it stopped") {
		t.Fatal(err)
	}
	if !errors.Is(err, abi.CodeUnavailable) {
		t.Errorf("its code is lost: %v", err)
	}
	if err := c.Deploy(t.Context(), deployment); err != nil {
		t.Fatal(err)
	}
	d.with(func() {
		if n := len(d.chunks); n != 4 {
			t.Errorf("%d chunks", n)
		}
	})
}

// Governance may lower what a transaction is allowed, or allow more, at any time.
func TestTransactGoesOnWhenParametersChange(t *testing.T) {
	l := newLedger(t)
	l.commit(nil, nil, nil)
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	c, _ := dial(t, l, address)
	call := &chain.Call{Contract: "x"}
	for _, most := range []uint64{20_000_000, 2_000_000, 3_000_000, 1_000_000} {
		params := chain.DefaultParams()
		params.TxGas = most
		l.commit(map[string][]byte{string(chain.ParamsKey()): params.Append(nil)}, nil, nil)
		if _, err := c.Transact(t.Context(), chain.OpCall, call, 0); err != nil {
			t.Errorf("at most %d: %v", most, err)
		}
		if _, err := c.Transact(t.Context(), chain.OpCall, call, most+1); !errors.Is(err, abi.CodeGasCap) {
			t.Errorf("more than %d, by the caller's own choice: %v", most, err)
		}
	}
	l.commit(map[string][]byte{string(chain.ParamsKey()): []byte("no parameters")}, nil, nil)
	if _, err := c.Transact(t.Context(), chain.OpCall, call, 0); err == nil {
		t.Error("parameters that cannot be read were passed over")
	}
}
