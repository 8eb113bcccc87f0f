package scratch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrNotRepeatable is the error of a script without a decide, query or call.
var ErrNotRepeatable = errors.New("the script has no decide, query or call to repeat")

// Bench is what repeating a step measured.
type Bench struct {
	Step   string
	Runs   int
	Median time.Duration // of one run
	Gas    uint64        // of the last run
	Pages  int           // of memory at most, 64 KiB each
}

// maxRuns bounds the times that are kept for the median.
const maxRuns = 1 << 20

// Repeat plays a script and then runs its last decide, query or call again and
// again for a time, over the state that the whole script left. What must hold
// of the step is compared in the script only: state that it changes makes the
// later runs differ. The error tells what does not hold.
func (t *Trial) Repeat(ctx context.Context, s *Script, length time.Duration) (*Bench, error) {
	last := s.repeatable()
	if last == nil {
		return nil, fmt.Errorf("%s: %w", s.Name, ErrNotRepeatable)
	}
	m, p, r, err := t.play(ctx, s)
	if err != nil {
		return nil, err
	}
	defer m.chain.Close()
	if r.Failed() {
		end := r.Steps[len(r.Steps)-1]
		return nil, fmt.Errorf("%s:%d: %s: %v", s.Name, end.Line, end.Text, end.Failures)
	}
	b := &Bench{Step: last.text}
	var times []time.Duration
	for began := time.Now(); len(times) == 0 || time.Since(began) < length && len(times) < maxRuns; {
		st, err := p.parse(last)
		if err != nil {
			return nil, err
		}
		at := time.Now()
		if _, err := p.do(ctx, st); err != nil {
			return nil, err
		}
		times = append(times, time.Since(at))
	}
	slices.Sort(times)
	b.Runs, b.Median, b.Gas = len(times), times[len(times)/2], m.gas
	for _, e := range m.entries {
		b.Pages = max(b.Pages, e.Pages)
	}
	return b, nil
}

// repeatable is the last step that can be run again and again, nil if there is
// none.
func (s *Script) repeatable() *source {
	for i := range slices.Backward(s.steps) {
		switch verb, _ := cut(s.steps[i].text); verb {
		case "decide", "query", "call":
			return &s.steps[i]
		}
	}
	return nil
}
