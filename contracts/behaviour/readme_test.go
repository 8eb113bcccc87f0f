package behaviour_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seed79541315/postern/contracts/behaviour"
)

// The worked example of README.md loads, and its tables say what the code does.
func TestREADME(t *testing.T) {
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	src := string(raw)
	_, rest, ok := strings.Cut(src, "```json\n")
	example, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("README.md has no example")
	}
	c := withProfile(t, example)
	if len(c.env.state) < 3 {
		t.Error("the example loads nothing")
	}
	for code := behaviour.Code(1); code <= behaviour.CodeBadHours; code++ {
		text, _, _ := strings.Cut(code.String(), ":")
		if !strings.Contains(src, fmt.Sprintf("| %d | %s |", code, text)) {
			t.Errorf("code %d is not told as %q", code, text)
		}
	}
	for reason := behaviour.ReasonFlowNotAdmitted; reason <= behaviour.ReasonSignOfTheft; reason++ {
		if !strings.Contains(src, fmt.Sprintf("| %d | %v | ", reason, reason)) {
			t.Errorf("reason %v is not told", reason)
		}
	}
}
