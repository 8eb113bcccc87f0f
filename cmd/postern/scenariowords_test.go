package main

import (
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/scratch"
)

func TestMessageText(t *testing.T) {
	for message, want := range map[string]string{
		`{"hand_over":{"item":"p1","to":"bob","note":null,"at":7,"list":["a"]}}`: `hand_over of c: item p1, to bob, at 7, list ["a"]`,
		`{"list":{}}`:           "list of c",
		`{"a":1,"b":2}`:         `{"a":1,"b":2} of c`,
		`{"a":1}`:               `{"a":1} of c`,
		`[1,2]`:                 `[1,2] of c`,
		`hex:00`:                "hex:00 of c",
		`{"a":{"b":`:            `{"a":{"b": of c`,
		``:                      "of c",
		`{"a":{"b":"x\u0041"}}`: "a of c: b xA",
	} {
		if got := messageText("c", message); got != want {
			t.Errorf("%s: %q, want %q", message, got, want)
		}
	}
}

// TestStepText holds how steps read.
func TestStepText(t *testing.T) {
	long := "aaaaaaaabbbbbbbbccccccccddddddddeeeeeeeeffffffff"
	for want, r := range map[string]scratch.StepReport{
		"Ann has a lamp.": {Verb: "say", Text: "say Ann has a lamp."},
		"  ann gets an account, as owner, auditor\n    → ok (block 2, 5 gas, 0 ms)": {Verb: "account", Who: "ann", Text: "account ann owner auditor", Outcome: "ok", Height: 2, Gas: 5},
		"  lamp is enrolled, a device of ann":                                       {Verb: "device", Who: "lamp", Text: `device lamp ann {"a":"b"}`, Outcome: "ok"},
		"  the contract custody is deployed":                                        {Verb: "with", Contract: "custody", Text: "with custody custody", Outcome: "ok"},
		"  ann calls list of custody\n    → refused, as it should be: not-holder: somebody else holds it": {
			Verb: "call", Who: "ann", Contract: "custody", Message: `{"list":{}}`, Text: "call ann", Outcome: "aborted 7 not-holder",
			Code: abi.CodeAborted, Abort: 7, AbortName: "not-holder", About: "somebody else holds it", Expected: true},
		"  asked for list of custody\n    FAILED result: want 1, got 2": {Verb: "query", Contract: "custody", Message: `{"list":{}}`, Text: "query", Outcome: "ok", Failures: []string{"result: want 1, got 2"}},
		"  lamp asks doors: open door:1?\n    → permit":                 {Verb: "decide", Who: "lamp", Contract: "doors", Message: "open door:1", Text: "decide lamp {}", Outcome: "permit"},
		"  lamp is bound to behaviour, custody":                         {Verb: "bind", Who: "lamp", Contract: "custody", Text: "bind lamp @behaviour @", Outcome: "ok"},
		"  $ postern contract show custody-1 aaaaaaaa…\n    → one\n      two": {
			Verb: "run", Contract: "custody-1", Text: "run contract show ${@} " + long, Outcome: "ok", Printed: "one\ntwo\n"},
		"  ann declares lamp stolen": {Verb: "set", Who: "ann", Text: "set lamp stolen ann taken", Outcome: "ok",
			Events: []scratch.EventReport{{Topic: "device.status", Data: "{}"}}},
		"  wait 1s\n      the ledger tells device.status\n      custody tells late": {Verb: "wait", Text: "wait 1s", Outcome: "ok",
			Events: []scratch.EventReport{{Topic: "device.status", Data: "{}"}, {Contract: "custody", Topic: "late"}}},
	} {
		if got := stepText(&r); got != want {
			t.Errorf("%q\nwant %q", got, want)
		}
	}
}
