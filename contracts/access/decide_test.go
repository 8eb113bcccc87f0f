package access_test

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/contracts/access"
	"github.com/seed79541315/postern/runtime/wasm"
)

// jsonEntity and the types below are the shape of the AuthZEN vectors.
type jsonEntity struct {
	Type, ID, Name string
	Properties     json.RawMessage
}

type jsonRequest struct {
	Subject, Action, Resource *jsonEntity
	Evaluations               []jsonRequest
}

type vectors struct {
	Evaluation []struct {
		Request  jsonRequest
		Expected bool
	}
	Evaluations []struct {
		Request  jsonRequest
		Expected []struct{ Decision bool }
	}
}

func (r *jsonRequest) decision(t *testing.T) *abi.DecisionRequest {
	entity := func(e *jsonEntity) abi.Entity {
		out := abi.Entity{Type: e.Type, ID: e.ID}
		if e.Properties != nil {
			out.Properties = properties(t, string(e.Properties))
		}
		return out
	}
	subject := entity(r.Subject)
	return &abi.DecisionRequest{Subject: &subject, Action: abi.Action{Name: r.Action.Name}, Resource: entity(r.Resource)}
}

func TestAuthZENTodoVectors(t *testing.T) {
	src, err := os.ReadFile("testdata/authzen-todo-decisions.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(src, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Evaluation) != 40 || len(v.Evaluations) != 3 {
		t.Fatalf("%d and %d vectors", len(v.Evaluation), len(v.Evaluations))
	}
	c := newChain(t, wasm.EngineAuto)
	c.load(parseFile(t, "todo.json"), 0)
	for i, e := range v.Evaluation {
		if got := c.decide(e.Request.decision(t)); got.Permit != e.Expected {
			t.Errorf("evaluation %d: %+v, want %v", i, got, e.Expected)
		}
	}
	for i, batch := range v.Evaluations {
		for j, item := range batch.Request.Evaluations {
			item.Subject, item.Action = batch.Request.Subject, batch.Request.Action
			if got := c.decide(item.decision(t)); got.Permit != batch.Expected[j].Decision {
				t.Errorf("batch %d, item %d: %+v", i, j, got)
			}
		}
	}
}

func TestCertificationScenario(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	c.load(parseFile(t, "certification.json"), 0)
	for _, test := range []struct {
		subject, action, resource       string
		ofSubject, ofAction, ofResource string
		permit                          bool
		reason                          string
	}{
		{"alice", "read", "record-1", "", "", "", true, "readers-read"},
		{"alice", "write", "record-1", "", "", "", true, "writers-write"},
		{"bob", "read", "record-1", "", "", "", true, "readers-read"},
		{"bob", "write", "record-1", "", "", "", false, ""},
		{"alice", "write", "record-1", "", "", `{"status":"archived"}`, false, "record-is-archived"},
		{"alice", "write", "record-2", "", "", "", false, "record-is-archived"},
		{"bob", "write", "record-2", "", "", "", true, "admins-write-archived"},
		{"bob", "write", "record-1", "", "", `{"status":"archived"}`, true, "admins-write-archived"},
		{"alice", "write", "record-2", `{"role":"admin"}`, "", "", true, "admins-write-archived"},
		{"bob", "write", "record-2", `{"role":"clerk"}`, "", "", false, "record-is-archived"},
		{"bob", "write", "record-2", "", "", `{"status":"active"}`, false, ""},
		{"alice", "delete", "record-1", "", `{"soft":true}`, "", true, "writers-delete-softly"},
		{"alice", "delete", "record-1", "", `{"soft":false}`, "", false, ""},
		{"alice", "delete", "record-1", "", `{"soft":"true"}`, "", false, ""},
		{"alice", "delete", "record-1", "", "", "", false, ""},
		{"carol", "read", "record-1", "", "", "", false, ""},
		{"alice", "read", "record-3", "", "", "", false, ""},
		{"alice", "shred", "record-1", "", "", "", false, ""},
	} {
		q := &abi.DecisionRequest{
			Subject:  &abi.Entity{Type: "user", ID: test.subject, Properties: maybe(t, test.ofSubject)},
			Action:   abi.Action{Name: test.action, Properties: maybe(t, test.ofAction)},
			Resource: abi.Entity{Type: "record", ID: test.resource, Properties: maybe(t, test.ofResource)},
		}
		if got := c.decide(q); got.Permit != test.permit || got.ReasonID != test.reason {
			t.Errorf("%+v: %+v", test, got)
		}
	}
}

func maybe(t *testing.T, src string) []byte {
	if src == "" {
		return nil
	}
	return properties(t, src)
}

func device(t *testing.T, role string) *abi.Entity {
	props := properties(t, `{"manufacturer":"acme","model":"b2","serial":"0007","labels":{"role":"`+role+`"}}`)
	return &abi.Entity{Type: "device", ID: "00ff", Properties: props}
}

func TestSmartBuilding(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	c.load(parseFile(t, "building.json"), 0)
	vienna, err := time.LoadLocation("Europe/Vienna")
	if err != nil {
		t.Fatal(err)
	}
	monday := time.Date(2026, 11, 23, 9, 0, 0, 0, vienna)
	for _, test := range []struct {
		role, action, kind, resource string
		now                          time.Time
		permit                       bool
		code                         access.Reason
		reason                       string
	}{
		{"technician", "unlock", "lock", "front-door", monday, true, access.ReasonRule, "technicians-mon-fri-07-18"},
		{"technician", "unlock", "lock", "front-door", monday.Add(12 * time.Hour), false, access.ReasonOutsideHours, "technicians-mon-fri-07-18"},
		{"technician", "unlock", "lock", "front-door", monday.AddDate(0, 0, -1), false, access.ReasonOutsideHours, "technicians-mon-fri-07-18"},
		{"technician", "unlock", "lock", "front-door", time.Time{}, false, access.ReasonTimeUnknown, "technicians-mon-fri-07-18"},
		{"technician", "unlock", "lock", "front-door", monday.AddDate(100, 0, 0), false, access.ReasonTimeUnknown, "technicians-mon-fri-07-18"},
		{"camera", "unlock", "lock", "front-door", monday, false, access.ReasonDenyRule, "cameras-open-no-doors"},
		{"door-lock", "report", "lock", "front-door", time.Time{}, true, access.ReasonRule, "locks-report"},
		{"camera", "stream", "camera", "lobby-camera", monday, true, access.ReasonRule, "cameras-stream-public-zones"},
		{"visitor", "unlock", "lock", "front-door", monday, false, access.ReasonNoRule, ""},
	} {
		c.env.now = test.now
		q := &abi.DecisionRequest{
			Subject: device(t, test.role), Action: abi.Action{Name: test.action},
			Resource: abi.Entity{Type: test.kind, ID: test.resource},
		}
		got := c.decide(q)
		if got.Permit != test.permit || access.Reason(got.Reason) != test.code || got.ReasonID != test.reason {
			t.Errorf("%+v: %+v", test, got)
		}
	}
}
