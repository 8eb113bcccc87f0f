package web

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// TestAnswers holds the exact form of what the node's answers become.
func TestAnswers(t *testing.T) {
	obligations, err := cbor.AppendJSON(nil, []byte(`[{"log":true,"level":1.5},"<notify>"]`))
	if err != nil {
		t.Fatal(err)
	}
	hash := abi.Hash{0xab, 0xcd}
	floats := []byte{0x81, 0xfa, 0x3f, 0x80, 0, 0} // [1.0]: not of this CBOR
	for _, c := range []struct {
		name   string
		answer abi.Answer
		want   string
	}{
		{"permit", abi.Answer{Permit: true, Reason: 3, ReasonID: "staff", Obligations: obligations, TTL: 900, Record: 7, Height: 42, Contract: "access", CodeHash: hash, Staleness: 5, Now: 1700000000000},
			`{"decision":true,"context":{"code":"ok","code_number":0,"reason":"staff","reason_number":3,"obligations":[{"log":true,"level":1.5},"\u003cnotify\u003e"],"ttl_ms":900,"record":7,"height":42,"contract":"access","code_hash":"` + hex.EncodeToString(hash[:]) + `","staleness_ms":5,"now_ms":1700000000000}}`},
		{"bare permit", abi.Answer{Permit: true},
			`{"decision":true,"context":{"code":"ok","code_number":0,"record":0,"height":0,"staleness_ms":0,"now_ms":0}}`},
		{"policy denies", abi.Answer{Code: abi.CodeDenied, Reason: 9, ReasonID: "night \"x\"\n", Record: 8},
			`{"decision":false,"context":{"code":"denied","code_number":300,"reason":"night \"x\"\n","reason_number":9,"record":8,"height":0,"staleness_ms":0,"now_ms":0}}`},
		{"policy traps", abi.Answer{Code: abi.CodeOutOfGas, Contract: "access"},
			`{"decision":false,"context":{"code":"out-of-gas","code_number":151,"reason":"out-of-gas","reason_number":151,"record":0,"height":0,"contract":"access","staleness_ms":0,"now_ms":0}}`},
		{"host's code hides a policy's reason", abi.Answer{Code: abi.CodeTooStale, Reason: 1, ReasonID: "fine"},
			`{"decision":false,"context":{"code":"too-stale","code_number":308,"reason":"too-stale","reason_number":308,"record":0,"height":0,"staleness_ms":0,"now_ms":0}}`},
		{"a denial without a code", abi.Answer{},
			`{"decision":false,"context":{"code":"denied","code_number":300,"record":0,"height":0,"staleness_ms":0,"now_ms":0}}`},
		{"a permit with a code", abi.Answer{Permit: true, Code: abi.CodePolicyFailed},
			`{"decision":false,"context":{"code":"policy-failed","code_number":303,"reason":"policy-failed","reason_number":303,"record":0,"height":0,"staleness_ms":0,"now_ms":0}}`},
		{"a permit whose obligations cannot be told", abi.Answer{Permit: true, Obligations: floats, TTL: 5},
			`{"decision":false,"context":{"code":"bad-result","code_number":164,"reason":"bad-result","reason_number":164,"record":0,"height":0,"staleness_ms":0,"now_ms":0}}`},
		{"large numbers", abi.Answer{Permit: true, Record: 1<<64 - 1, Now: -1},
			`{"decision":true,"context":{"code":"ok","code_number":0,"record":18446744073709551615,"height":0,"staleness_ms":0,"now_ms":-1}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := newServer(t, &fakeNode{answers: map[string]abi.Answer{"record-1": c.answer}}, nil)
			single := body(t, call(s, "POST", evaluationPath, goodAsk))
			if single != strings.ReplaceAll(c.want, "\n", `\n`) {
				t.Errorf("got  %s\nwant %s", single, c.want)
			}
			batch := body(t, call(s, "POST", evaluationsPath, `{"evaluations":[`+goodAsk+`,`+goodAsk+`]}`))
			if batch != `{"evaluations":[`+single+`,`+single+`]}` {
				t.Errorf("batch %s", batch)
			}
		})
	}
}

// TestRequestReachesNode holds the request that the node gets, byte for byte
// the one that the device port would carry.
func TestRequestReachesNode(t *testing.T) {
	node := &fakeNode{}
	s, _ := newServer(t, node, nil)
	call(s, "POST", evaluationPath, `{"resource":{"id":"r","type":"door","properties":{"zz":1,"b":{"y":-1.50,"x":[null,true]}}},
		"action":{"name":"open","properties":{"n":9223372036854775807}},"context":{"t":1e3,"small":0.000000000000000001},
		"subject":{"id":"\u0061\u00e9","type":"user","x":{"dropped":1}}}`)
	asked := node.questions()
	if len(asked) != 1 {
		t.Fatalf("the node was asked %d times", len(asked))
	}
	q := asked[0].request
	if q.Subject.ID != "aé" || q.Subject.Type != "user" || q.Subject.Properties != nil || q.Action.Name != "open" || q.Resource.Type != "door" || q.Resource.ID != "r" {
		t.Errorf("request %+v", q)
	}
	for _, c := range []struct {
		got  []byte
		want string
	}{
		{q.Resource.Properties, `{"b":{"x":[null,true],"y":-1.5},"zz":1}`},
		{q.Action.Properties, `{"n":9223372036854775807}`},
		{q.Context, `{"t":1000,"small":0.000000000000000001}`},
	} {
		got, err := cbor.AppendAsJSON(nil, c.got)
		if err != nil || string(got) != c.want {
			t.Errorf("got %s (%v), want %s", got, err, c.want)
		}
	}
}
