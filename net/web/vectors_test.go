package web

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
)

// todoVectors is testdata/todo-decisions-1_0-02.json: the decisions of the
// AuthZEN interop's todo scenario, Authorization API 1.0 draft 02, unchanged
// from openid/authzen, interop/authzen-todo-backend/test.
type todoVectors struct {
	Evaluation []struct {
		Request  json.RawMessage
		Expected bool
	}
	Evaluations []struct {
		Request  json.RawMessage
		Expected []struct{ Decision bool }
	}
}

// todoEntities is a request as the standard library reads it.
type todoEntities struct {
	Subject, Action, Resource *struct {
		Type, ID, Name string
		Properties     struct{ OwnerID string }
	}
	Evaluations []todoEntities
}

func (e *todoEntities) key() string {
	return strings.Join([]string{e.Subject.ID, e.Action.Name, e.Resource.Type, e.Resource.ID, e.Resource.Properties.OwnerID}, "|")
}

func readTodo(t *testing.T) (v todoVectors, policy map[string]bool) {
	t.Helper()
	file, err := os.ReadFile("testdata/todo-decisions-1_0-02.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(file, &v); err != nil {
		t.Fatal(err)
	}
	policy = map[string]bool{}
	for _, c := range v.Evaluation {
		var e todoEntities
		if err := json.Unmarshal(c.Request, &e); err != nil {
			t.Fatal(err)
		}
		policy[e.key()] = c.Expected
	}
	for _, c := range v.Evaluations {
		var all todoEntities
		if err := json.Unmarshal(c.Request, &all); err != nil {
			t.Fatal(err)
		}
		for i, e := range all.Evaluations {
			if e.Subject == nil {
				e.Subject = all.Subject
			}
			if e.Action == nil {
				e.Action = all.Action
			}
			if e.Resource == nil {
				e.Resource = all.Resource
			}
			policy[e.key()] = c.Expected[i].Decision
		}
	}
	return v, policy
}

// TestTodoVectors plays the interop scenario against a table made from its
// expectations: what is tested is that every request reaches the node intact
// and every answer its place.
func TestTodoVectors(t *testing.T) {
	vectors, table := readTodo(t)
	if len(vectors.Evaluation) != 40 || len(vectors.Evaluations) != 3 {
		t.Fatalf("%d single and %d batch requests, want 40 and 3", len(vectors.Evaluation), len(vectors.Evaluations))
	}
	s, _ := newServer(t, &fakeNode{policy: func(q *abi.DecisionRequest) bool {
		key := strings.Join([]string{q.Subject.ID, q.Action.Name, q.Resource.Type, q.Resource.ID, strings.Trim(value(q.Resource.Properties, "ownerID"), `"`)}, "|")
		permit, known := table[key]
		if !known {
			t.Errorf("the node was asked what nobody asked: %s", key)
		}
		return permit
	}}, nil)
	sign := map[bool]string{true: "+", false: "-"}
	for i, c := range vectors.Evaluation {
		if got := decode(t, call(s, "POST", evaluationPath, string(c.Request))); got.decisions() != sign[c.Expected] {
			t.Errorf("evaluation %d: %s, want %s", i, got.decisions(), sign[c.Expected])
		}
	}
	for i, c := range vectors.Evaluations {
		want := "["
		for _, e := range c.Expected {
			want += sign[e.Decision]
		}
		if got := decode(t, call(s, "POST", evaluationsPath, string(c.Request))); got.decisions() != want+"]" {
			t.Errorf("evaluations %d: %s, want %s]", i, got.decisions(), want)
		}
	}
}
