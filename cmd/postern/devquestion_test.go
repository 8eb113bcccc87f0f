package main

import (
	"os"
	"testing"
)

func TestQuestionOf(t *testing.T) {
	building, err := os.ReadFile("../../contracts/access/testdata/building.json")
	if err != nil {
		t.Fatal(err)
	}
	for want, policy := range map[string][]byte{
		"--subject user:ann --action open --resource door:1":            nil,
		"--subject user:ann --action unlock --resource lock:front-door": building,
		"--subject user:bob --action read --resource file:1": []byte(`{"entities": [{"type": "user", "id": "bob"}],
			"rules": [{"id": "x", "effect": "permit", "actions": ["read"], "resource": {"type": "file"}}]}`),
		"--subject user:ann --action read --resource 'file:it'\\''s'": []byte(`{"rules": [
			{"id": "y", "effect": "deny", "actions": ["write"], "resource": {"type": "disk"}},
			{"id": "x", "effect": "permit", "actions": ["read"], "resource": {"type": "file", "ids": ["it's"]}}]}`),
	} {
		if got := questionOf(policy); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}
