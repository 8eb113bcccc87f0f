package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/net/gateway"
)

func TestBodiesThatAreNotTheOperations(t *testing.T) {
	n := newNode()
	n.decide = func(context.Context, abi.Caller, string, []byte) abi.Answer {
		t.Error("a contract ran")
		return abi.Answer{}
	}
	w := open(t, serve(t, n, nil).connect(t, newKey(t)))
	id := uint64(0)
	for op := abi.OpHello; op <= abi.OpEvidence; op++ {
		for name, body := range map[string][]byte{
			"an array": {0x80}, "an integer": {0}, "unknown field": {0xa1, 9, 0}, "text keys": {0xa1, 0x61, 'x', 0},
			"wrong types": {0xa3, 1, 0xf5, 2, 0xf5, 3, 0xf5},
		} {
			id++
			if got := w.ask(id, op, body); got.Code != abi.CodeMalformed || got.Body != nil {
				t.Errorf("operation %d, %s: %v", op, name, got.Code)
			}
		}
		if op == abi.OpHello || op == abi.OpStatus {
			continue
		}
		id++
		if got := w.ask(id, op, empty); got.Code != abi.CodeBadArgument {
			t.Errorf("operation %d, empty: %v", op, got.Code)
		}
	}
	for _, op := range []abi.Operation{16, 17, 1 << 40, 1<<64 - 1} {
		id++
		if got := w.ask(id, op, empty); got.Code != abi.CodeUnknownOp {
			t.Errorf("operation %d: %v", op, got.Code)
		}
	}
}

func TestDecideHandsOnDomainAndRequest(t *testing.T) {
	n := newNode()
	type call struct {
		domain  string
		request []byte
	}
	calls := make(chan call, 1)
	n.decide = func(_ context.Context, _ abi.Caller, domain string, request []byte) abi.Answer {
		calls <- call{domain, bytes.Clone(request)}
		return abi.Answer{Code: abi.CodeDenied, Reason: 4, ReasonID: "night"}
	}
	p := serve(t, n, nil)
	w := open(t, p.connect(t, newKey(t)))
	q := abi.AppendDecisionRequest(nil, decision())
	for _, test := range []struct{ sent, domain string }{{"lab", "lab"}, {"lab", "lab"}, {"", abi.DefaultDomain}, {"", abi.DefaultDomain}, {"yard", "yard"}} {
		body := cbor.AppendText(cbor.AppendUint(cbor.AppendMap(nil, 2), 1), test.sent)
		got := w.ask(1, abi.OpDecide, append(cbor.AppendUint(body, 2), q...))
		if c := <-calls; c.domain != test.domain || !bytes.Equal(c.request, q) {
			t.Errorf("%+v, want domain %q", c, test.domain)
		}
		answer, err := abi.ParseAnswer(got.Body)
		if err != nil || answer.Permit || answer.Code != abi.CodeDenied || answer.ReasonID != "night" {
			t.Errorf("%+v, %v", answer, err)
		}
	}
	got := w.ask(1, abi.OpDecide, append(cbor.AppendUint(cbor.AppendMap(nil, 1), 2), q...))
	if c := <-calls; got.Code != abi.OK || c.domain != abi.DefaultDomain {
		t.Errorf("without a domain: %v, %+v", got.Code, c)
	}
	want := gateway.RequestCount{Op: abi.OpDecide, Code: abi.CodeDenied, Count: 6}
	if st := p.Stats(); len(st.Requests) != 1 || st.Requests[0] != want {
		t.Errorf("counted %+v, want %+v", st.Requests, want)
	}
}

func TestHelloProvesTheGatewaysAccount(t *testing.T) {
	n := newNode()
	n.prove = func(key []byte) ([]byte, error) { return cbor.AppendBytes(nil, key), nil }
	w := open(t, serve(t, n, nil).connect(t, newKey(t)))
	account := abi.Hash{9}
	want := cbor.AppendBytes(cbor.AppendUint(cbor.AppendMap(nil, 2), 1), account[:])
	want = cbor.AppendBytes(cbor.AppendUint(want, 2), chain.AccountKey(account))
	if got := w.ask(1, abi.OpHello, empty); !bytes.Equal(got.Body, want) {
		t.Errorf("%x, want %x", got.Body, want)
	}
}

// A client that says which validators it trusts gets the way to today's.
func TestStepsComeWithHelloAndAlone(t *testing.T) {
	n := newNode()
	n.prove = func([]byte) ([]byte, error) { return empty, nil }
	long := bytes.Repeat([]byte{7}, 30<<10)
	n.steps = func(after uint64, limit int) ([][]byte, bool, error) {
		switch {
		case limit < 1 || limit > 16:
			t.Errorf("asked for %d steps", limit)
		case after == 4:
			return [][]byte{[]byte("five"), []byte("six")}, true, nil
		case after == 9:
			return [][]byte{long, long, long}, false, nil // more than a frame
		case after == 10:
			return [][]byte{bytes.Repeat([]byte{7}, abi.MaxFrame)}, false, nil
		case after == 11:
			return nil, false, fmt.Errorf("reading steps: %w", abi.CodeBusy)
		}
		return nil, false, nil
	}
	w := open(t, serve(t, n, nil).connect(t, newKey(t)))
	for _, test := range []struct {
		after, steps uint64
		more         bool
		hello, alone abi.Code
	}{
		{after: 0}, {after: 4, steps: 2, more: true}, {after: 9, steps: 2, more: true},
		{after: 10, alone: abi.CodeTooLarge}, {after: 11, hello: abi.CodeBusy, alone: abi.CodeBusy},
	} {
		body := cbor.AppendUint(cbor.AppendUint(cbor.AppendMap(nil, 1), 1), test.after)
		got := w.ask(1, abi.OpHello, body)
		if h, err := abi.ParseHello(got.Body); got.Code != test.hello || got.Code == abi.OK && (err != nil || uint64(len(h.Steps)) != test.steps) {
			t.Errorf("hello after %d: %v, %d steps, %v", test.after, got.Code, len(h.Steps), err)
		}
		got = w.ask(2, abi.OpSteps, body)
		if s, err := abi.ParseSteps(got.Body); got.Code != test.alone || got.Code == abi.OK && (err != nil || uint64(len(s.Steps)) != test.steps || s.More != test.more) {
			t.Errorf("steps after %d: %v, %d steps, more %v, %v", test.after, got.Code, len(s.Steps), s.More, err)
		}
	}
}

// A stranger may ask who the gateway is and why to believe it, but not for ever.
func TestHelloIsDear(t *testing.T) {
	for op, body := range map[abi.Operation][]byte{abi.OpHello: empty, abi.OpSteps: {0xa1, 1, 0}} {
		n := newNode()
		n.other = abi.Standing{}
		n.prove = func([]byte) ([]byte, error) { return empty, nil }
		n.steps = func(uint64, int) ([][]byte, bool, error) { return nil, false, nil }
		w := open(t, serve(t, n, func(c *gateway.Config) { c.RequestRate = 1 }).connect(t, newKey(t))) // the bucket holds 64
		answered := 0
		for id := range uint64(10) {
			if w.ask(id+1, op, body).Code == abi.OK {
				answered++
			}
		}
		if answered != 3 { // 16 each, and one for the stream
			t.Errorf("operation %d: %d of 10", op, answered)
		}
	}
}

// An outsider gets a code; the cause is for the operator.
func TestErrorsAreAnsweredAsCodes(t *testing.T) {
	tests := []struct {
		err   error
		code  abi.Code
		abort uint16
	}{
		{fmt.Errorf("contract x: %w", abi.CodeUnknownContract), abi.CodeUnknownContract, 0},
		{fmt.Errorf("query: %w", abi.Aborted(7)), abi.CodeAborted, 7},
		{fmt.Errorf("query: %w", abi.CodeAborted), abi.CodeAborted, 0},
		{errors.New("open /var/lib/postern: input/output error"), abi.CodeInternal, 0},
		{context.DeadlineExceeded, abi.CodeTimeout, 0}, {context.Canceled, abi.CodeUnavailable, 0},
		{fmt.Errorf("message: %w", cbor.ErrMalformed), abi.CodeMalformed, 0},
	}
	n := newNode()
	n.query = func(message []byte) ([]byte, error) { return nil, tests[message[0]].err }
	w := open(t, serve(t, n, nil).connect(t, newKey(t)))
	for i, test := range tests {
		if got := w.ask(1, abi.OpQuery, queryBody([]byte{byte(i)})); got.Code != test.code || got.Abort != test.abort || got.Body != nil {
			t.Errorf("%v: answered %v", test.err, got.Code)
		}
	}
}

// The Node keeps the transaction: the buffer it came in is used again.
func TestSubmittedBytesAreTheNodesOwn(t *testing.T) {
	n := newNode()
	kept := make(chan []byte, 3)
	n.submit = func(_ context.Context, raw []byte, _ bool) (abi.TxResult, error) {
		kept <- raw
		return abi.TxResult{Height: 1}, nil
	}
	w := open(t, serve(t, n, nil).connect(t, newKey(t)))
	for _, size := range []int{10, 3000, abi.MaxTransaction} {
		tx := bytes.Repeat([]byte{0xaa}, size)
		if got := w.ask(1, abi.OpSubmit, bytesBody(tx)); got.Code != abi.OK {
			t.Fatal(got.Code)
		}
		raw := <-kept
		w.ask(2, abi.OpQuery, queryBody(bytes.Repeat([]byte{0xbb}, size)))
		if !bytes.Equal(raw, tx) {
			t.Errorf("%d bytes were overwritten", size)
		}
	}
	if got := w.ask(3, abi.OpSubmit, bytesBody(make([]byte, abi.MaxTransaction+1))); got.Code != abi.CodeTooLarge {
		t.Error(got.Code)
	}
}

func TestSubmitThatWaitsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.submit = func(ctx context.Context, _ []byte, _ bool) (abi.TxResult, error) {
			<-ctx.Done()
			return abi.TxResult{}, ctx.Err()
		}
		p := serveSim(t, n, func(c *gateway.Config) { c.MaxWaiting, c.SubmitTimeout = 8, 30*time.Second })
		c := p.connect(t, newKey(t))
		body := cbor.AppendBool(append(cbor.AppendBytes(cbor.AppendUint(cbor.AppendMap(nil, 2), 1), []byte("tx")), 2), true)
		first, second, third := open(t, c), open(t, c), open(t, c)
		first.send(request(1, abi.OpSubmit, body))
		second.send(request(1, abi.OpSubmit, body))
		synctest.Wait()
		<-time.After(time.Second)
		if got := third.ask(1, abi.OpSubmit, body); got.Code != abi.CodeBusy {
			t.Errorf("above a key's share: %v", got.Code)
		}
		if got := third.ask(2, abi.OpDecide, decideBody()); got.Code != abi.OK {
			t.Error(got.Code)
		}
		if got := first.receive(); got.Code != abi.CodeTimeout {
			t.Error(got.Code)
		}
	})
}

func TestScanPagesFitAFrame(t *testing.T) {
	n := newNode()
	n.scan = func(limit int) ([][2][]byte, bool) {
		var pairs [][2][]byte
		for i := range limit {
			pairs = append(pairs, [2][]byte{{byte(i)}, make([]byte, 16<<10)})
		}
		return pairs, false
	}
	w := open(t, serve(t, n, nil).connect(t, newKey(t)))
	for limit, want := range map[uint64]int{1: 1, 4: 4, 64: 4, 1 << 60: 4} {
		body := cbor.AppendBytes(cbor.AppendUint(cbor.AppendMap(nil, 2), 1), []byte("k"))
		got := w.ask(1, abi.OpScan, cbor.AppendUint(cbor.AppendUint(body, 3), limit))
		if got.Code != abi.OK {
			t.Fatal(got.Code)
		}
		r := cbor.NewReader(got.Body)
		f := r.Fields()
		f.Next()
		count := r.Array()
		for range count {
			r.Skip()
		}
		f.Next()
		if more := r.Bool(); count != want || more != (limit > 4) {
			t.Errorf("limit %d: %d pairs, more %v", limit, count, more)
		}
	}
}

func TestBlocksComeInParts(t *testing.T) {
	n := newNode()
	block, certificate, outcomes := bytes.Repeat([]byte{1}, abi.MaxBlock), bytes.Repeat([]byte{2}, 300), bytes.Repeat([]byte{3}, 100_000)
	n.block = func(height uint64) ([]byte, []byte, []byte, error) {
		if height != 4 {
			return nil, nil, nil, abi.CodeNotFound
		}
		return block, certificate, outcomes, nil
	}
	w := open(t, serve(t, n, nil).connect(t, newKey(t)))
	ask := func(height uint64, offset int) abi.Response {
		body := cbor.AppendUint(cbor.AppendUint(cbor.AppendMap(nil, 2), 1), height)
		return w.ask(1, abi.OpBlock, cbor.AppendUint(cbor.AppendUint(body, 2), uint64(offset)))
	}
	var whole []byte
	for total := uint64(1); uint64(len(whole)) < total; {
		got := ask(4, len(whole))
		if got.Code != abi.OK {
			t.Fatal(got.Code)
		}
		r := cbor.NewReader(got.Body)
		f := r.Fields()
		f.Next()
		whole = append(whole, r.Bytes()...)
		f.Next()
		total = r.Uint()
	}
	want := cbor.AppendMap(nil, 3)
	for i, part := range [][]byte{block, certificate, outcomes} {
		want = cbor.AppendBytes(cbor.AppendUint(want, uint64(i+1)), part)
	}
	if !bytes.Equal(whole, want) {
		t.Errorf("%d bytes, want %d", len(whole), len(want))
	}
	if got := ask(4, len(want)+1); got.Code != abi.CodeBadArgument {
		t.Errorf("behind the end: %v", got.Code)
	}
	if got := ask(5, 0); got.Code != abi.CodeNotFound {
		t.Errorf("no such block: %v", got.Code)
	}
}

func TestResultsThatDoNotFitAreTrimmed(t *testing.T) {
	tests := []struct {
		name                  string
		outcome, tx           int
		keepsOutcome, keepsTx bool
	}{
		{"both fit", 1000, 1000, true, true}, {"together too large", 40_000, 50_000, true, false}, {"outcome too large", 100_000, 1000, false, false},
	}
	n := newNode()
	n.tx = func(id abi.Hash) (abi.TxResult, error) {
		outcome := chain.AppendOutcome(nil, &chain.Outcome{Result: make([]byte, tests[id[0]].outcome)})
		return abi.TxResult{ID: id, Height: 3, Outcome: outcome, Tx: make([]byte, tests[id[0]].tx)}, nil
	}
	w := open(t, serve(t, n, nil).connect(t, newKey(t)))
	for i, test := range tests {
		id := abi.Hash{byte(i)}
		got := w.ask(1, abi.OpTx, bytesBody(id[:]))
		result, err := abi.ParseTxResult(got.Body)
		if err != nil || result.Height != 3 || (result.Outcome != nil) != test.keepsOutcome || (result.Tx != nil) != test.keepsTx {
			t.Errorf("%s: %v %v, outcome %d, tx %d", test.name, got.Code, err, len(result.Outcome), len(result.Tx))
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	conn := listen(t)
	for name, c := range map[string]gateway.Config{
		"nothing": {}, "no key": {Conn: conn, Node: newNode()}, "no node": {Conn: conn, Key: newKey(t)}, "no socket": {Key: newKey(t), Node: newNode()},
	} {
		if _, err := gateway.New(c); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
