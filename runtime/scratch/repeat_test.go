package scratch_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed79541315/postern/runtime/scratch"
)

func TestRepeat(t *testing.T) {
	for _, c := range []struct{ last, want string }{
		{"call ann " + do('s', 0, "k", "v") + "\n  no events", "call ann"},
		{"query", "query"},
		{"decide ann " + opening + "\n  permit", "decide ann"},
		{"call ann\nquery\nwait 1s\nstate \"k\" none", "query"},
	} {
		s, err := scratch.ParseScript("test", "account ann\ndeploy\n"+c.last)
		if err != nil {
			t.Fatal(err)
		}
		b, err := trial(t).Repeat(t.Context(), s, time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(b.Step, c.want) || b.Runs < 1 || b.Median <= 0 || b.Gas == 0 || b.Pages == 0 {
			t.Errorf("%s: %+v", c.last, b)
		}
	}
}

func TestRepeatRefuses(t *testing.T) {
	for _, c := range []struct {
		text string
		want error
		says string
	}{
		{"", scratch.ErrNotRepeatable, ""},
		{"account ann\ndeploy", scratch.ErrNotRepeatable, ""},
		{"account ann\ndeploy\ncall ann\n  aborted 1", nil, "want aborted, got ok"},
	} {
		s, err := scratch.ParseScript("test", c.text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = trial(t).Repeat(t.Context(), s, time.Millisecond)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v", c.text, err)
		}
	}
}
