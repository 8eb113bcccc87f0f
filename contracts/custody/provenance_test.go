package custody_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/seed79541315/postern/contracts/custody"
	"github.com/seed79541315/postern/runtime/wasm"
)

// An item's record commits to each step of its life: none can be left out,
// changed, added or moved.
func TestStepsAreWhatTheRecordCommitsTo(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	c.Execute(c.call(`{"make": {"things": [{"id": "a"}, {"id": "box"}]}}`))
	for range 40 {
		c.Execute(c.call(`{"pack": {"container": "box", "items": ["a"]}}`))
		c.Execute(c.call(`{"unpack": {"container": "box", "items": ["a"]}}`))
	}
	c.Execute(c.call(fmt.Sprintf(`{"offer": {"item": "a", "to": "%x", "expiry": "now+1h"}}`, carrier)))
	c.As(carrier)
	c.Execute(c.call(`{"accept": {"item": "a", "offer": 1}}`))
	record := c.Get(custody.ItemKey("a"))
	steps, err := custody.Steps(c.ask, "a")
	if err != nil || len(steps) != 82 {
		t.Fatalf("%d steps, %v", len(steps), err)
	}
	if err := custody.VerifySteps("a", record, steps); err != nil {
		t.Fatal(err)
	}
	changed := slices.Clone(steps)
	changed[3] = bytes.Clone(changed[3])
	changed[3][len(changed[3])-1] ^= 1
	moved := slices.Clone(steps)
	moved[1], moved[2] = moved[2], moved[1]
	for name, wrong := range map[string][][]byte{
		"left out": steps[1:], "cut": steps[:81], "added": append(slices.Clone(steps), steps[0]), "changed": changed, "moved": moved, "none": nil,
	} {
		if err := custody.VerifySteps("a", record, wrong); !errors.Is(err, custody.ErrChain) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := custody.VerifySteps("box", record, steps); !errors.Is(err, custody.ErrChain) {
		t.Errorf("another item: %v", err)
	}
	if err := custody.VerifySteps("a", []byte{0xff}, steps); !errors.Is(err, custody.ErrForm) {
		t.Errorf("no record: %v", err)
	}
}
