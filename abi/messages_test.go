package abi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi/cbor"
)

var update = flag.Bool("update", false, "write testdata/vectors.json and docs/errors.md anew")

const vectorFile = "testdata/vectors.json"

// vector is one message of testdata/vectors.json, which other implementations
// check themselves against. 32-byte values are SHA-256 of a word. A frame is
// the message with its length before it.
type vector struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Hex   string `json:"hex"`
	Frame string `json:"frame,omitempty"`
}

func hash(name string) Hash { return sha256.Sum256([]byte(name)) }

func ref(h Hash) *Hash { return &h }

func fromJSON(t testing.TB, s string) []byte {
	t.Helper()
	b, err := cbor.AppendJSON(nil, []byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// codec reads a message and writes it again. A strict one has one encoding; of
// the others a reader skips keys it does not know, or admits explicit zeros.
type codec struct {
	kind   string
	strict bool
	again  func([]byte) ([]byte, error)
}

func codecOf[T any](kind string, strict bool, parse func([]byte) (T, error), appendTo func([]byte, *T) []byte) codec {
	return codec{kind, strict, func(b []byte) ([]byte, error) {
		v, err := parse(b)
		if err != nil {
			return nil, err
		}
		return appendTo(nil, &v), nil
	}}
}

var codecs = []codec{
	codecOf("request", true, ParseRequest, AppendRequest),
	codecOf("response", true, ParseResponse, AppendResponse),
	codecOf("decision-request", true, ParseDecisionRequest, AppendDecisionRequest),
	codecOf("verdict", false, ParseVerdict, AppendVerdict),
	codecOf("observation", true, ParseObservation, AppendObservation),
	codecOf("input", false, ParseInput, AppendInput),
	codecOf("answer", false, ParseAnswer, AppendAnswer),
	codecOf("tx-result", false, ParseTxResult, AppendTxResult),
	codecOf("node-status", false, ParseNodeStatus, AppendNodeStatus),
	codecOf("hello", false, ParseHello, AppendHello),
	codecOf("steps", false, ParseSteps, AppendSteps),
	codecOf("report", true, ParseReport, AppendReport),
	codecOf("judgement", false, ParseJudgement, AppendJudgement),
	codecOf("receipt-request", true, ParseReceiptRequest, AppendReceiptRequest),
	codecOf("part", false, ParsePart, AppendPart),
	codecOf("sealed-page", false, ParseSealedPage, AppendSealedPage),
	codecOf("event", false, ParseEventFrame, AppendEventFrame),
	codecOf("subscription", true, ParseSubscription, AppendSubscription),
	codecOf("answers", false, ParseAnswers, func(b []byte, list *[]Answer) []byte {
		b = cbor.AppendArray(b, len(*list))
		for i := range *list {
			b = AppendAnswer(b, &(*list)[i])
		}
		return b
	}),
}

func buildVectors(t testing.TB) (list []vector) {
	add := func(name, kind string, enc []byte) {
		list = append(list, vector{Name: name, Kind: kind, Hex: hex.EncodeToString(enc)})
	}
	framed := func(name, kind string, enc []byte) {
		add(name, kind, enc)
		frame := EndFrame(append(BeginFrame(nil), enc...), 0)
		list[len(list)-1].Frame = hex.EncodeToString(frame)
	}
	self := &DecisionRequest{Action: Action{Name: "open"}, Resource: Entity{Type: "door", ID: "d-17"}}
	full := &DecisionRequest{
		Subject:  &Entity{Type: "user", ID: "alice", Properties: fromJSON(t, `{"role":"technician","level":3}`)},
		Action:   Action{Name: "open", Properties: fromJSON(t, `{"soft":true}`)},
		Resource: Entity{Type: "door", ID: "d-17", Properties: fromJSON(t, `{"temperature":21.5,"tags":["a","b"]}`)},
		Context:  fromJSON(t, `{"reason":null}`),
	}
	add("decision request/of the device itself", "decision-request", AppendDecisionRequest(nil, self))
	add("decision request/all", "decision-request", AppendDecisionRequest(nil, full))
	add("verdict/permit", "verdict", AppendVerdict(nil, &Verdict{Permit: true}))
	add("verdict/all", "verdict", AppendVerdict(nil, &Verdict{Reason: 7, ReasonID: "night", Obligations: fromJSON(t, `["log"]`), TTL: 1000,
		MaxStaleness: 30000, FollowUp: []byte{0xa0}, ByTransaction: true}))
	add("input/decide", "input", AppendInput(nil, &Input{Chain: hash("chain"), Height: 42, Time: 1_700_000_000_000, Contract: "access",
		Caller: ref(hash("device")), Device: fromJSON(t, `{}`), Owner: hash("owner"), Domain: "default", Message: AppendDecisionRequest(nil, self)}))
	add("input/execute", "input", AppendInput(nil, &Input{Chain: hash("chain"), Height: 42, Time: 1_700_000_000_000, Contract: "access",
		Caller: ref(hash("owner")), Roles: RoleOwner | RoleDeveloper, Transaction: ref(hash("transaction")), Owner: hash("owner"), Message: []byte{0xa0}}))
	add("input/called", "input", AppendInput(nil, &Input{Chain: hash("chain"), Height: 42, Time: 1_700_000_000_000, Contract: "access",
		Caller: ref(hash("owner")), Transaction: ref(hash("transaction")), Owner: hash("owner"), ParentContract: "market", Message: []byte{0xa0}}))
	add("input/timer", "input", AppendInput(nil, &Input{Chain: hash("chain"), Height: 42, Time: 1_700_000_000_000, Contract: "access",
		Owner: hash("owner"), Message: []byte{0xa0}}))
	denial := &Answer{Code: CodeDenied, Reason: 7, ReasonID: "night", Obligations: fromJSON(t, `["log"]`), TTL: 1000, Record: 5, Height: 42,
		Contract: "access", CodeHash: hash("code"), Staleness: 12, Now: 1_700_000_000_123}
	permit := &Answer{Permit: true, Record: 4, Height: 42, Contract: "access", CodeHash: hash("code"), Staleness: 12, Now: 1_700_000_000_100}
	add("answer/permit", "answer", AppendAnswer(nil, permit))
	add("answer/denial", "answer", AppendAnswer(nil, denial))
	add("answer/no contract", "answer", AppendAnswer(nil, &Answer{Code: CodeNoDomain, Record: 6, Height: 42, Now: 1_700_000_000_124}))
	add("answers", "answers", AppendAnswer(AppendAnswer([]byte{0x82}, permit), denial))
	add("transaction result/waiting", "tx-result", AppendTxResult(nil, &TxResult{ID: hash("transaction")}))
	add("transaction result/all", "tx-result", AppendTxResult(nil, &TxResult{ID: hash("transaction"), Height: 42, Index: 3, Outcome: []byte{0xa0}, Tx: []byte{1}}))
	status := NodeStatus{Chain: hash("chain"), Name: "example", Height: 42, Block: hash("block"), Time: 1_700_000_000_000, State: hash("state"),
		Protocol: 1, Engine: "compiler", Program: "0.1.0", Staleness: 12}
	add("node status/stranger", "node-status", AppendNodeStatus(nil, &status))
	status.Account, status.Device, status.Roles = ref(hash("device")), StatusActive, RoleOwner
	add("node status/device", "node-status", AppendNodeStatus(nil, &status))
	status.Role, status.Validators, status.Peers, status.Base, status.Target = NodeFollower, 4, 3, 40, 50
	add("node status/follower", "node-status", AppendNodeStatus(nil, &status))
	status.Device, status.Isolated, status.Reason = StatusQuarantined, 1_700_000_600_000, "quarantine: scans"
	add("node status/isolated device", "node-status", AppendNodeStatus(nil, &status))
	add("hello/without steps", "hello", AppendHello(nil, &Hello{Account: hash("gateway"), Entry: []byte{0xa0}}))
	add("hello/all", "hello", AppendHello(nil, &Hello{Account: hash("gateway"), Entry: []byte{0xa0}, Steps: [][]byte{{1}, {2}}}))
	add("steps/none", "steps", AppendSteps(nil, &Steps{}))
	add("steps/more", "steps", AppendSteps(nil, &Steps{Steps: [][]byte{{1}, {2}}, More: true}))
	list = append(list, reportVectors()...)
	add("observation", "observation", AppendObservation(nil, &Observation{Kind: ObserveFlows, Device: hash("device"), Time: 1_700_000_000_000, Payload: []byte{0x81, 0xa0}}))
	add("input/evidence", "input", AppendInput(nil, &Input{Chain: hash("chain"), Height: 42, Time: 1_700_000_000_000, Contract: "thermostat",
		Caller: ref(hash("gateway")), Roles: RoleGateway, Transaction: ref(hash("transaction")), Owner: hash("owner"), Evidence: ref(hash("device")), Message: []byte{0xa0}}))
	add("subscription/all events from now on", "subscription", AppendSubscription(nil, &Subscription{}))
	after, bell := uint64(41), "bell"
	add("subscription/all", "subscription", AppendSubscription(nil, &Subscription{After: &after,
		Filter: EventFilter{Contract: &bell, Device: ref(hash("device")), Topic: []byte("ring")}}))
	event := EventFrame{Height: 42, Index: 1, ID: hash("transaction"), Contract: "bell", Topic: []byte("ring"), Data: []byte{1}, Time: 1_700_000_000_000}
	add("event/of a contract", "event", AppendEventFrame(nil, &event))
	add("event/the ledger's own", "event", AppendEventFrame(nil, &EventFrame{Height: 42, ID: hash("transaction"), Topic: []byte("device.status"),
		Data: []byte{0xa0}, Time: 1_700_000_000_000}))
	add("event/mark", "event", AppendEventFrame(nil, &EventFrame{Height: 42}))
	decide := append(append(cbor.AppendText([]byte{0xa2, 1}, DefaultDomain), 2), AppendDecisionRequest(nil, self)...)
	framed("frame/decide", "request", AppendRequest(nil, &Request{ID: 1, Op: OpDecide, Body: decide}))
	framed("frame/status", "request", AppendRequest(nil, &Request{ID: 2, Op: OpStatus, Body: []byte{0xa0}}))
	framed("frame/answer", "response", AppendResponse(nil, &Response{ID: 1, Body: AppendAnswer(nil, permit)}))
	framed("frame/refusal", "response", AppendResponse(nil, &Response{ID: 2, Code: CodeUnknownKey}))
	report := AppendReport(nil, &Report{Kind: ObserveTelemetry, Payload: []byte{0x81, 0xa2, 1, 0x64, 't', 'e', 'm', 'p', 4, 0x15}})
	framed("frame/report", "request", AppendRequest(nil, &Request{ID: 4, Op: OpReport, Body: report}))
	framed("frame/judgement", "response", AppendResponse(nil, &Response{ID: 4, Body: AppendJudgement(nil, &Judgement{Level: LevelAlert, ReasonID: "warm"})}))
	framed("frame/receipt", "request", AppendRequest(nil, &Request{ID: 5, Op: OpReceipt, Body: AppendReceiptRequest(nil, &ReceiptRequest{Record: 5, Now: true})}))
	framed("frame/evidence", "request", AppendRequest(nil, &Request{ID: 6, Op: OpEvidence, Body: cbor.AppendBytes([]byte{0xa1, 1}, event.ID[:])}))
	framed("frame/subscribe", "request", AppendRequest(nil, &Request{ID: 7, Op: OpSubscribe, Body: AppendSubscription(nil, &Subscription{After: &after})}))
	framed("frame/subscribed", "response", AppendResponse(nil, &Response{ID: 7, Body: AppendEventFrame(nil, &EventFrame{Height: after})}))
	framed("frame/event", "response", AppendResponse(nil, &Response{ID: 7, Body: AppendEventFrame(nil, &event)}))
	framed("frame/mark", "response", AppendResponse(nil, &Response{ID: 7, Body: AppendEventFrame(nil, &EventFrame{Height: 42})}))
	framed("frame/end of a subscription", "response", AppendResponse(nil, &Response{ID: 7, Code: CodeDeviceInactive}))
	framed("frame/contract's refusal", "response", AppendResponse(nil, &Response{ID: 3, Code: CodeAborted, Abort: 7}))
	framed("frame/unreadable request", "response", AppendResponse(nil, &Response{Code: CodeMalformed}))
	return list
}

// reportVectors are of the operations report, receipt and evidence.
func reportVectors() (list []vector) {
	add := func(name, kind string, enc []byte) {
		list = append(list, vector{Name: name, Kind: kind, Hex: hex.EncodeToString(enc)})
	}
	telemetry := []byte{0x81, 0xa2, 1, 0x64, 't', 'e', 'm', 'p', 4, 0x15} // [{1: "temp", 4: 21}]
	add("report/payload", "report", AppendReport(nil, &Report{Kind: ObserveTelemetry, Payload: telemetry}))
	add("report/of another device", "report", AppendReport(nil, &Report{Kind: ObserveFlows, Payload: []byte{0x80}, Device: ref(hash("device"))}))
	add("report/pack", "report", AppendReport(nil, &Report{Kind: ObserveTelemetry, Format: "senml+json", Pack: []byte(`[{"n":"temp","v":21}]`)}))
	add("report/signed", "report", AppendReport(nil, &Report{Kind: ObserveLocation, Statement: []byte{1, 2, 3}}))
	add("judgement/fine", "judgement", AppendJudgement(nil, &Judgement{}))
	add("judgement/all", "judgement", AppendJudgement(nil, &Judgement{Level: LevelQuarantine, Score: -3, Reason: 7, ReasonID: "scan", Timer: 60_000,
		Findings: []string{"port 23"}}))
	add("receipt request/of an anchored record", "receipt-request", AppendReceiptRequest(nil, &ReceiptRequest{Record: 5}))
	add("receipt request/all", "receipt-request", AppendReceiptRequest(nil, &ReceiptRequest{Record: 5, Now: true, Offset: 80000}))
	add("part/the last", "part", AppendPart(nil, &Part{Bytes: []byte{1, 2}, Total: 80002, Hash: hash("receipt")}))
	add("sealed page/none", "sealed-page", AppendSealedPage(nil, &SealedPage{}))
	add("sealed page/all", "sealed-page", AppendSealedPage(nil, &SealedPage{Items: []NumberedItem{{63, []byte{0xa0}}, {64, []byte{0xa0}}}, More: true}))
	return list
}

func loadVectors(t testing.TB) (list []vector) {
	t.Helper()
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// checkFile compares a committed file with what this code makes of it.
func checkFile(t *testing.T, name string, made []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if stored, err := os.ReadFile(name); err != nil || !bytes.Equal(stored, made) {
		t.Errorf("%s is not what this code makes (%v); run this test with -update", name, err)
	}
}

func TestVectors(t *testing.T) {
	made, err := json.MarshalIndent(buildVectors(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	checkFile(t, vectorFile, append(made, '\n'))
}

// TestVectorsRead: each vector is read, written the same, and no part of it is
// accepted. An unknown key is refused, or skipped where messages may grow.
func TestVectorsRead(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range loadVectors(t) {
		in, err := hex.DecodeString(v.Hex)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range codecs {
			if c.kind != v.Kind {
				continue
			}
			seen[c.kind] = true
			if again, err := c.again(in); err != nil || !bytes.Equal(again, in) {
				t.Errorf("%s: %x is written as %x, %v", v.Name, in, again, err)
			}
			for n := range in {
				if _, err := c.again(in[:n]); err == nil {
					t.Errorf("%s: the first %d bytes were accepted", v.Name, n)
				}
			}
			if _, err := c.again(append(bytes.Clone(in), 0)); err == nil {
				t.Errorf("%s: a byte too many was accepted", v.Name)
			}
			if in[0]>>5 != 5 {
				continue
			}
			grown := append(bytes.Clone(in), 0x18, 99, 0)
			grown[0]++
			again, err := c.again(grown)
			if grows := !c.strict && c.kind != "verdict" && c.kind != "judgement"; grows != (err == nil) || grows && !bytes.Equal(again, in) {
				t.Errorf("%s: with an unknown key: %x, %v", v.Name, again, err)
			}
		}
	}
	if len(seen) != len(codecs) {
		t.Errorf("vectors of %d kinds, there are %d parsers", len(seen), len(codecs))
	}
}

func TestMessagesRefused(t *testing.T) {
	resource := []byte{0xa2, 1, 0x61, 'd', 2, 0x61, '1'}
	action := []byte{0xa1, 1, 0x61, 'o'}
	request := func(parts ...[]byte) []byte {
		return append([]byte{0xa0 + byte(len(parts))}, bytes.Join(parts, nil)...)
	}
	at := func(key byte, v []byte) []byte { return append([]byte{key}, v...) }
	tests := []struct {
		kind, name string
		in         []byte
		code       Code
	}{
		{"request", "no id", []byte{0xa2, 2, 1, 3, 0xa0}, CodeBadArgument},
		{"request", "id 0", []byte{0xa3, 1, 0, 2, 1, 3, 0xa0}, CodeBadArgument},
		{"request", "operation 0", []byte{0xa3, 1, 1, 2, 0, 3, 0xa0}, CodeBadArgument},
		{"request", "no body", []byte{0xa2, 1, 1, 2, 1}, CodeBadArgument},
		{"request", "unordered body", []byte{0xa3, 1, 1, 2, 1, 3, 0xa2, 2, 0, 1, 0}, CodeMalformed},
		{"request", "float in the body", []byte{0xa3, 1, 1, 2, 1, 3, 0xf9, 0, 0}, CodeMalformed},
		{"response", "body with an error", []byte{0xa3, 1, 1, 2, 1, 3, 0xa0}, CodeMalformed},
		{"response", "own code without abort", []byte{0xa3, 1, 1, 2, 1, 4, 7}, CodeMalformed},
		{"response", "abort without own code", []byte{0xa2, 1, 1, 2, 0x18, 150}, CodeMalformed},
		{"response", "own code for code", []byte{0xa2, 1, 1, 4, 7}, CodeMalformed},
		{"response", "own code above 16 bits", []byte{0xa3, 1, 1, 2, 0x18, 150, 4, 0x1a, 0, 1, 0, 0}, CodeMalformed},
		{"response", "no code", []byte{0xa1, 1, 1}, CodeMalformed},
		{"response", "no id", []byte{0xa2, 2, 0, 3, 0xa0}, CodeMalformed},
		{"response", "code above 16 bits", []byte{0xa2, 1, 1, 2, 0x1a, 0, 1, 0, 0}, CodeMalformed},
		{"decision-request", "no action", request(at(3, resource)), CodeBadArgument},
		{"decision-request", "no resource", request(at(2, action)), CodeBadArgument},
		{"decision-request", "empty subject", request(at(1, []byte{0xa0}), at(2, action), at(3, resource)), CodeBadArgument},
		{"decision-request", "empty name", request(at(2, []byte{0xa1, 1, 0x60}), at(3, resource)), CodeBadArgument},
		{"decision-request", "empty id", request(at(2, action), at(3, []byte{0xa2, 1, 0x61, 'd', 2, 0x60})), CodeBadArgument},
		{"decision-request", "context no map", request(at(2, action), at(3, resource), at(4, []byte{0x80})), CodeBadArgument},
		{"decision-request", "integer key in context", request(at(2, action), at(3, resource), at(4, []byte{0xa1, 1, 0})), CodeMalformed},
		{"decision-request", "key 5", request(at(2, action), at(3, resource), at(5, []byte{0xa0})), CodeMalformed},
		{"decision-request", "unknown key in action", request(at(2, []byte{0xa2, 1, 0x61, 'o', 9, 0}), at(3, resource)), CodeMalformed},
		{"decision-request", "tagged value in context", request(at(2, action), at(3, resource), at(4, []byte{0xa1, 0x61, 'a', 0xc1, 0})), CodeMalformed},
		{"verdict", "no decision", []byte{0xa0}, CodeBadResult},
		{"verdict", "permit of another type", []byte{0xa1, 1, 1}, CodeBadResult},
		{"verdict", "unknown key", []byte{0xa2, 1, 0xf5, 9, 0}, CodeBadResult},
		{"verdict", "obligations no array", []byte{0xa2, 1, 0xf5, 4, 0xa0}, CodeBadResult},
		{"verdict", "nothing", nil, CodeBadResult},
		{"answer", "no decision", []byte{0xa1, 2, 0}, CodeMalformed},
		{"answer", "permit with an error", []byte{0xa2, 1, 0xf5, 2, 1}, CodeMalformed},
		{"answers", "too many", append([]byte{0x98, MaxBatch + 1}, bytes.Repeat([]byte{0xa1, 1, 0xf4}, MaxBatch+1)...), CodeTooLarge},
		{"node-status", "device status above a byte", []byte{0xa1, 12, 0x19, 1, 1}, CodeMalformed},
		{"node-status", "node role above a byte", []byte{0xa1, 14, 0x19, 1, 1}, CodeMalformed},
		{"hello", "no proof", []byte{0xa0}, CodeMalformed},
		{"hello", "short account", []byte{0xa2, 1, 0x41, 0, 2, 0xa0}, CodeMalformed},
		{"hello", "steps no byte strings", []byte{0xa2, 2, 0xa0, 3, 0x81, 0xa0}, CodeMalformed},
		{"steps", "none and more", []byte{0xa2, 1, 0x80, 2, 0xf5}, CodeMalformed},
		{"steps", "no list and more", []byte{0xa1, 2, 0xf5}, CodeMalformed},
		{"steps", "a number for more", []byte{0xa2, 1, 0x80, 2, 1}, CodeMalformed},
		{"steps", "more than there are", []byte{0xa2, 1, 0x9a, 0xff, 0xff, 0xff, 0xff, 2, 0xf4}, CodeMalformed},
		{"report", "nothing seen", []byte{0xa1, 1, 1}, CodeBadArgument},
		{"report", "payload and statement", []byte{0xa3, 1, 1, 2, 0x80, 6, 0x40}, CodeBadArgument},
		{"report", "pack without its format", []byte{0xa2, 1, 1, 5, 0x40}, CodeBadArgument},
		{"report", "format without a pack", []byte{0xa3, 1, 1, 2, 0x80, 4, 0x61, 'x'}, CodeBadArgument},
		{"report", "flows as a pack", []byte{0xa3, 1, 2, 4, 0x61, 'x', 5, 0x40}, CodeBadArgument},
		{"report", "silence", []byte{0xa2, 1, 3, 2, 0x80}, CodeBadArgument},
		{"report", "denial", []byte{0xa2, 1, 4, 2, 0x80}, CodeBadArgument},
		{"report", "unknown kind", []byte{0xa2, 1, 0x18, 200, 2, 0x80}, CodeBadArgument},
		{"report", "payload no array", []byte{0xa2, 1, 1, 2, 0xa0}, CodeMalformed},
		{"report", "payload too large", AppendReport(nil, &Report{Kind: ObserveFlows, Payload: append([]byte{0x81, 0x5a, 0, 1, 0, 0}, make([]byte, MaxObservation)...)}), CodeTooLarge},
		{"report", "unknown key", []byte{0xa3, 1, 1, 2, 0x80, 7, 0}, CodeMalformed},
		{"receipt-request", "no record", []byte{0xa1, 2, 0xf5}, CodeBadArgument},
		{"receipt-request", "not now", []byte{0xa2, 1, 5, 2, 0xf4}, CodeMalformed},
		{"receipt-request", "offset 0", []byte{0xa2, 1, 5, 3, 0}, CodeMalformed},
		{"receipt-request", "a number where a bool stands", []byte{0xa2, 1, 5, 2, 1}, CodeMalformed},
		{"part", "longer than the whole", AppendPart(nil, &Part{Bytes: []byte{1, 2}, Total: 1}), CodeMalformed},
		{"sealed-page", "none and more", []byte{0xa2, 1, 0x80, 2, 0xf5}, CodeMalformed},
		{"sealed-page", "more than there are", []byte{0xa2, 1, 0x9a, 0xff, 0xff, 0xff, 0xff, 2, 0xf4}, CodeMalformed},
		{"sealed-page", "an item without a number", []byte{0xa2, 1, 0x81, 0x81, 0xa0, 2, 0xf4}, CodeMalformed},
		{"event", "without data", []byte{0xa2, 1, 1, 2, 1}, CodeMalformed},
		{"event", "nothing", []byte{0xa0}, CodeMalformed},
		{"event", "of no id", append(append([]byte{0xa7, 1, 1, 2, 0, 3, 0x58, 0x20}, make([]byte, 32)...), 4, 0x60, 5, 0x40, 6, 0x40, 7, 0), CodeMalformed},
		{"subscription", "unknown key in the filter", []byte{0xa1, 2, 0xa1, 9, 0}, CodeMalformed},
		{"subscription", "contract of no name", []byte{0xa1, 2, 0xa1, 1, 0x61, '!'}, CodeBadArgument},
		{"subscription", "device of no id", []byte{0xa1, 2, 0xa1, 2, 0x41, 0}, CodeMalformed},
		{"subscription", "topic too long", append([]byte{0xa1, 2, 0xa1, 3, 0x58, MaxTopic + 1}, make([]byte, MaxTopic+1)...), CodeBadArgument},
		{"subscription", "filter no map", []byte{0xa1, 2, 0x80}, CodeMalformed},
		{"subscription", "negative height", []byte{0xa2, 1, 0x20, 2, 0xa0}, CodeMalformed},
		{"subscription", "no filter", []byte{0xa1, 1, 0}, CodeBadArgument},
		{"input", "no environment", []byte{0x82, 0xa0, 0x40}, CodeBadArgument},
	}
	for _, tt := range tests {
		for _, c := range codecs {
			if c.kind != tt.kind {
				continue
			}
			if out, err := c.again(tt.in); out != nil || !errors.Is(err, tt.code) {
				t.Errorf("%s, %s: %x, %v, want %v", tt.kind, tt.name, out, err, tt.code)
			}
		}
	}
}

// TestPermitIsNeverMadeUp: no truncation or corruption of a denial reads as a
// permit without being one.
func TestPermitIsNeverMadeUp(t *testing.T) {
	denial := AppendAnswer(nil, &Answer{Code: CodeDenied, Record: 1})
	for n := range denial {
		if a, err := ParseAnswer(denial[:n]); err == nil || a.Permit {
			t.Errorf("%d bytes: %+v", n, a)
		}
	}
	for i := range denial {
		for bit := range 8 {
			in := bytes.Clone(denial)
			in[i] ^= 1 << bit
			if a, err := ParseAnswer(in); err == nil && a.Permit && a.Code != OK || err != nil && a.Permit {
				t.Errorf("%x: %+v, %v", in, a, err)
			}
		}
	}
}

// FuzzMessages feeds every parser of this package.
func FuzzMessages(f *testing.F) {
	for _, v := range loadVectors(f) {
		in, err := hex.DecodeString(v.Hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, c := range codecs {
			again, err := c.again(in)
			if err != nil {
				if code, ok := errors.AsType[Code](err); !ok || code == OK {
					t.Fatalf("%s: %v has no code", c.kind, err)
				}
				continue
			}
			if err := cbor.Validate(in); err != nil && !strings.Contains(err.Error(), "nesting") {
				t.Fatalf("%s: %x was accepted: %v", c.kind, in, err)
			}
			if c.strict && !bytes.Equal(again, in) {
				t.Fatalf("%s: %x was accepted and is written as %x", c.kind, in, again)
			}
			if twice, err := c.again(again); err != nil || !bytes.Equal(twice, again) {
				t.Fatalf("%s: %x is written as %x and then as %x, %v", c.kind, in, again, twice, err)
			}
		}
	})
}
