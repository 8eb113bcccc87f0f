package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/contracts/access"
)

// TestLoadAfterBrokenLoad breaks a load off in the middle: the old policy goes
// on deciding, and the next load takes over.
func TestLoadAfterBrokenLoad(t *testing.T) {
	const file = "../../contracts/access/testdata/certification.json"
	n := newTestNode(t, map[string]string{"cert": file})
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := access.ParseDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	doc.Title = "another"
	messages := doc.Messages(2, 1)
	for _, m := range messages[:len(messages)-1] {
		if err := callPolicy(t.Context(), n.cl, "access-cert", m); err != nil {
			t.Fatal(err)
		}
	}
	q := abi.DecisionRequest{
		Subject: &abi.Entity{Type: "user", ID: "alice"}, Action: abi.Action{Name: "read"}, Resource: abi.Entity{Type: "record", ID: "record-1"},
	}
	if a, err := n.point.Decide(t.Context(), "cert", &q); err != nil || !a.Permit {
		t.Fatalf("while a load is broken off: %+v %v", a, err)
	}
	for i := range 3 {
		changed := fmt.Appendf(nil, `{"title":"take %d","rules":[{"id":"all","effect":"permit","actions":["read"],"resource":{"type":"record"}}]}`, i)
		v, err := loadPolicy(t.Context(), n.cl, "access-cert", changed, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := uint32(3 + i); v.Version != want {
			t.Errorf("version %d, want %d", v.Version, want)
		}
		// The same document again is a no-op.
		if again, err := loadPolicy(t.Context(), n.cl, "access-cert", changed, nil); err != nil || again.Version != v.Version || again.Messages != 0 {
			t.Errorf("the same document again: %+v %v", again, err)
		}
	}
}
