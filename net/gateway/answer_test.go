package gateway

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// anyNode answers everything, and checks what it is handed.
type anyNode struct{ t *testing.T }

func (n anyNode) Decide(_ context.Context, _ abi.Caller, domain string, request []byte) abi.Answer {
	n.canonical(request)
	if domain == "" {
		n.t.Error("an empty domain")
	}
	return abi.Answer{Permit: true}
}

func (n anyNode) canonical(item []byte) {
	if err := cbor.Validate(item); err != nil {
		n.t.Errorf("%x was handed on: %v", item, err)
	}
}

func (n anyNode) Standing(key []byte) (abi.Standing, error) {
	return abi.Standing{Known: true, Device: abi.StatusActive, Roles: abi.RoleEnforcementPoint}, nil
}
func (n anyNode) Device(id abi.Hash) (chain.Device, error) { return chain.Device{Owner: id}, nil }
func (n anyNode) Report(_ context.Context, o *abi.Observation, _ []byte) (abi.Judgement, error) {
	if _, err := abi.ParseObservation(abi.AppendObservation(nil, o)); err != nil {
		n.t.Errorf("observation %+v: %v", o, err)
	}
	return abi.Judgement{Score: int64(len(o.Payload))}, nil
}
func (n anyNode) Receipt(_ context.Context, _ abi.Standing, record uint64, _ bool) ([]byte, error) {
	return make([]byte, record%(1<<20)), nil
}
func (n anyNode) Events(after uint64, _ *abi.EventFilter) ([]abi.EventFrame, uint64, error) {
	return nil, after, nil
}
func (n anyNode) Committed() <-chan struct{} { return nil }
func (n anyNode) Submit(_ context.Context, raw []byte, _ bool) (abi.TxResult, error) {
	return abi.TxResult{Tx: raw}, nil
}
func (n anyNode) Status() abi.NodeStatus { return abi.NodeStatus{} }
func (n anyNode) Prove(key []byte) ([]byte, error) {
	return cbor.AppendBytes(nil, key), nil
}
func (n anyNode) Query(_ context.Context, contract string, message []byte) ([]byte, uint64, error) {
	return message, 1, nil
}
func (n anyNode) Scan(prefix, start []byte, limit int) ([][2][]byte, bool, uint64, error) {
	if limit < 1 || limit > maxScan {
		n.t.Errorf("asked to scan %d", limit)
	}
	if len(prefix) == 33 && len(start) == 41 { // of evidence
		return [][2][]byte{{start, {0xa0}}}, true, 1, nil
	}
	return [][2][]byte{{prefix, start}}, true, 1, nil
}
func (n anyNode) Block(uint64) (block, certificate, outcomes []byte, err error) {
	return make([]byte, 100_000), nil, nil, nil
}
func (n anyNode) Tx(id abi.Hash) (abi.TxResult, error) { return abi.TxResult{ID: id}, nil }
func (n anyNode) Steps(after uint64, limit int) ([][]byte, bool, error) {
	return [][]byte{make([]byte, after%100_000)}, after%2 == 0, nil
}

// FuzzAnswer feeds frames to the parser and the dispatcher: whatever comes,
// one well-formed response goes back, with the id if it was readable, and what
// the Node is handed is canonical.
func FuzzAnswer(f *testing.F) {
	for op := range opCount + 1 {
		for _, body := range [][]byte{{0xa0}, {0x80}, {0xa1, 1, 0x41, 'k'}, {0xa2, 1, 0x61, 'x', 2, 0xa0}, {0xa2, 1, 0x61, 'x', 2, 0x81, 0xa0}, {0xa2, 1, 4, 2, 9}} {
			f.Add(abi.AppendRequest(nil, &abi.Request{ID: 7, Op: op, Body: body}))
		}
	}
	for _, r := range []abi.Report{
		{Kind: abi.ObserveTelemetry, Payload: []byte{0x80}}, {Kind: abi.ObserveFlows, Payload: []byte{0x80}, Device: &abi.Hash{1}},
		{Kind: abi.ObserveTelemetry, Format: "senml+json", Pack: []byte(`[{"n":"a","v":1.5}]`)},
		{Kind: abi.ObserveLocation, Format: "senml+cbor", Pack: []byte{0x81, 0xa2, 0, 0x61, 'a', 2, 1}},
		{Kind: abi.ObserveTelemetry, Statement: []byte{0xd2, 0x84}},
	} {
		f.Add(abi.AppendRequest(nil, &abi.Request{ID: 7, Op: abi.OpReport, Body: abi.AppendReport(nil, &r)}))
	}
	receipt := abi.AppendReceiptRequest(nil, &abi.ReceiptRequest{Record: 100_000, Offset: 90_000})
	f.Add(abi.AppendRequest(nil, &abi.Request{ID: 7, Op: abi.OpReceipt, Body: receipt}))
	f.Add(abi.AppendRequest(nil, &abi.Request{ID: 7, Op: abi.OpSubscribe, Body: abi.AppendSubscription(nil, &abi.Subscription{})}))
	f.Add(abi.AppendRequest(nil, &abi.Request{ID: 7, Op: abi.OpEvidence, Body: append([]byte{0xa1, 1, 0x58, 32}, make([]byte, 32)...)}))
	f.Add(bytes.Repeat([]byte{0x81}, 100))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) > abi.MaxFrame {
			return
		}
		s := newServer(Config{Node: anyNode{t}, MaxLarge: 4, MaxWaiting: 4, MaxSubscriptions: 4, RequestRate: -1, FrameTimeout: 1, SubmitTimeout: 1, MaxConnections: 1})
		st := &stream{conn: &conn{server: s, ctx: t.Context(), account: s.admission.newAccount(nil)}, buffers: bufferPool.New().(*buffers)}
		err := st.answer(bytes.Clone(frame))
		if len(st.out) < frameHead || int(binary.BigEndian.Uint32(st.out)) != len(st.out)-frameHead || len(st.out)-frameHead > abi.MaxFrame {
			t.Fatalf("answered %d bytes with head %x", len(st.out), st.out[:min(len(st.out), frameHead)])
		}
		p, perr := abi.ParseResponse(st.out[frameHead:])
		if perr != nil {
			t.Fatalf("response %x: %v", st.out, perr)
		}
		q, qerr := abi.ParseRequest(frame)
		if (qerr == nil) != (err == nil) || qerr == nil && p.ID != q.ID || (p.Code == abi.OK) != (p.Body != nil) {
			t.Errorf("%x: request %v, stream goes on %v, response %+v", frame, qerr, err == nil, p)
		}
	})
}

// stillNode is a Node that costs nothing.
type stillNode struct{ anyNode }

func (stillNode) Decide(context.Context, abi.Caller, string, []byte) abi.Answer {
	return abi.Answer{Permit: true, ReasonID: "technicians-by-day", Record: 123_456, Height: 4711, Contract: "access", CodeHash: abi.Hash{1}, Now: 1_790_000_000_000}
}

// BenchmarkAnswer is what the package itself does for a decision: parse,
// bucket, standing, dispatch, encode, count.
func BenchmarkAnswer(b *testing.B) {
	s := newServer(Config{Node: stillNode{}, RequestRate: 1 << 30})
	st := &stream{conn: &conn{server: s, ctx: b.Context(), account: s.admission.newAccount(nil)}, buffers: bufferPool.New().(*buffers)}
	body := cbor.AppendText(cbor.AppendUint(cbor.AppendMap(nil, 2), 1), "lab")
	body = abi.AppendDecisionRequest(cbor.AppendUint(body, 2), &abi.DecisionRequest{
		Action: abi.Action{Name: "open"}, Resource: abi.Entity{Type: "door", ID: "front-door-7"}})
	frame := abi.AppendRequest(nil, &abi.Request{ID: 1, Op: abi.OpDecide, Body: body})
	b.ReportAllocs()
	for b.Loop() {
		st.out = st.out[:0]
		if err := st.answer(frame); err != nil {
			b.Fatal(err)
		}
	}
}
