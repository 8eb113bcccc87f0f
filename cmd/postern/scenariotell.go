package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/seed79541315/postern/runtime/scratch"
)

// teller tells people, or programs, how a scenario goes.
type teller struct {
	out   output
	began time.Time
	steps int
	said  bool  // the step before told the reader something
	err   error // of writing
}

// playedStep is a step as scenario run prints it for programs.
type playedStep struct {
	Line      int           `json:"line"`
	Verb      string        `json:"verb"`
	Step      string        `json:"step"`
	OK        bool          `json:"ok"`
	Outcome   string        `json:"outcome"`
	Expected  bool          `json:"expected_refusal,omitempty"`
	Code      string        `json:"code,omitempty"`
	Abort     uint16        `json:"abort,omitempty"`
	AbortName string        `json:"abort_name,omitempty"`
	About     string        `json:"about,omitempty"`
	Result    string        `json:"result,omitempty"`
	Events    []playedEvent `json:"events,omitempty"`
	Printed   string        `json:"printed,omitempty"`
	Height    uint64        `json:"height,omitempty"`
	Gas       uint64        `json:"gas,omitempty"`
	Millis    int64         `json:"ms"`
	Failures  []string      `json:"failures,omitempty"`
}

type playedEvent struct {
	Contract string `json:"contract,omitempty"`
	Topic    string `json:"topic"`
	Data     string `json:"data,omitempty"`
}

type playedOutput struct {
	Scenario string `json:"scenario"`
	OK       bool   `json:"ok"`
	Steps    int    `json:"steps"`
	Refusals int    `json:"expected_refusals"`
	Millis   int64  `json:"ms"`
}

func (t *teller) opening(p *play) { t.out.progressf("%s: %s", p.name, p.about) }

// step tells one step.
func (t *teller) step(r *scratch.StepReport) {
	if r.Verb != "say" {
		t.steps++
	}
	if !t.out.json {
		if r.Verb == "say" && !t.said {
			t.out.progressf("")
		}
		t.said = r.Verb == "say"
		t.out.progressf("%s", stepText(r))
		return
	}
	v := playedStep{
		Line: r.Line, Verb: r.Verb, Step: r.Text, OK: len(r.Failures) == 0, Outcome: r.Outcome, Expected: r.Expected,
		Abort: r.Abort, AbortName: r.AbortName, About: r.About, Result: r.Result, Printed: r.Printed,
		Height: r.Height, Gas: r.Gas, Millis: r.Took.Milliseconds(), Failures: r.Failures,
	}
	if r.Code != 0 {
		v.Code = r.Code.Name()
	}
	for _, e := range r.Events {
		v.Events = append(v.Events, playedEvent(e))
	}
	if err := json.NewEncoder(t.out.w).Encode(v); err != nil {
		t.err = err
	}
}

// ending sums up, and is an error where a step did not hold.
func (t *teller) ending(p *play, r *scratch.Report) error {
	if t.err != nil {
		return t.err
	}
	v := playedOutput{Scenario: p.name, OK: !r.Failed(), Steps: t.steps, Millis: time.Since(t.began).Milliseconds()}
	for i := range r.Steps {
		if r.Steps[i].Expected {
			v.Refusals++
		}
	}
	if v.OK {
		return t.out.show(v, "\nEvery step held: %d steps, %d of them refused as they should be, in %.1f s.", v.Steps, v.Refusals, float64(v.Millis)/1000)
	}
	if t.out.json {
		if err := t.out.show(v, ""); err != nil {
			return err
		}
	}
	last := &r.Steps[len(r.Steps)-1]
	return fmt.Errorf("scenario %s, line %d does not hold: %s: %s", p.name, last.Line, last.Text, strings.Join(last.Failures, "; "))
}

// shownReference is a reference in a script, shown by what it names.
var shownReference = regexp.MustCompile(`\$\{@?([^}]*)\}`)

// stepText is a step for people: what is done, and what came of it.
func stepText(r *scratch.StepReport) string {
	if r.Verb == "say" {
		_, text, _ := strings.Cut(r.Text, " ")
		return text
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  %s", deedText(r))
	switch {
	case len(r.Failures) > 0:
		for _, f := range r.Failures {
			fmt.Fprintf(&b, "\n    FAILED %s", f)
		}
	case r.AbortName != "":
		fmt.Fprintf(&b, "\n    → refused, as it should be: %s: %s", r.AbortName, r.About)
	case r.Verb == "run" && r.Expected:
		fmt.Fprintf(&b, "\n    → refused, as it should be: %s", strings.TrimSpace(r.Printed))
	case r.Expected:
		fmt.Fprintf(&b, "\n    → refused, as it should be: %s: %s", r.Outcome, r.Code.Text())
	case r.Outcome != "ok" || r.Height != 0 || r.Printed != "":
		fmt.Fprintf(&b, "\n    → %s", cameText(r))
	}
	for _, e := range toldBeside(r) {
		fmt.Fprintf(&b, "\n      %s tells %s", cmp.Or(e.Contract, "the ledger"), shorten(labelled(e.Topic, e.Data)))
	}
	return b.String()
}

// toldBeside are a step's events but for what the ledger says of a deed that
// says it itself.
func toldBeside(r *scratch.StepReport) []scratch.EventReport {
	switch r.Verb {
	case "account", "device", "bind", "set":
		return slices.DeleteFunc(slices.Clone(r.Events), func(e scratch.EventReport) bool { return e.Contract == "" })
	}
	return r.Events
}

// deedText is what is done, in words.
func deedText(r *scratch.StepReport) string {
	plain := shownReference.ReplaceAllString(strings.ReplaceAll(r.Text, "${@}", r.Contract), "$1")
	words := strings.Fields(plain)
	switch r.Verb {
	case "account":
		if len(words) > 2 {
			return fmt.Sprintf("%s gets an account, as %s", r.Who, strings.Join(words[2:], ", "))
		}
		return r.Who + " gets an account"
	case "device":
		return fmt.Sprintf("%s is enrolled, a device of %s", r.Who, words[2])
	case "deploy", "with":
		return fmt.Sprintf("the contract %s is deployed", r.Contract)
	case "call":
		return fmt.Sprintf("%s calls %s", r.Who, shorten(messageText(r.Contract, r.Message)))
	case "query":
		return "asked for " + shorten(messageText(r.Contract, r.Message))
	case "decide":
		return fmt.Sprintf("%s asks %s: %s?", r.Who, r.Contract, r.Message)
	case "report":
		return fmt.Sprintf("%s is reported: %s", r.Who, shorten(strings.Join(words[2:], " ")))
	case "set":
		return fmt.Sprintf("%s declares %s %s", r.Who, words[1], words[2])
	case "bind":
		for i, w := range words {
			words[i] = cmp.Or(strings.TrimPrefix(w, "@"), r.Contract)
		}
		return fmt.Sprintf("%s is bound to %s", r.Who, strings.Join(words[2:], ", "))
	case "write":
		return fmt.Sprintf("the file %s is written", words[1])
	case "at":
		return "from here on at node " + words[1]
	case "run":
		return "$ postern " + shorten(strings.Join(words[1:], " "))
	}
	return shorten(plain)
}

// cameText is what came of a step that holds.
func cameText(r *scratch.StepReport) string {
	text := shorten(r.Outcome)
	if r.Verb == "run" && r.Printed != "" {
		text = strings.ReplaceAll(longHex.ReplaceAllStringFunc(strings.TrimSpace(r.Printed), brief), "\n", "\n      ")
	}
	if r.Height != 0 {
		text += fmt.Sprintf(" (block %d, %d gas, %d ms)", r.Height, r.Gas, r.Took.Milliseconds())
	}
	return text
}

// longHex are digests, keys and bytes that nobody reads.
var longHex = regexp.MustCompile(`\b[0-9a-f]{40,}\b`)

func brief(digits string) string { return digits[:8] + "…" }

// maxShown is how much of a value a line for people holds, in runes.
const maxShown = 240

func shorten(text string) string {
	text = longHex.ReplaceAllStringFunc(text, brief)
	if runes := []rune(text); len(runes) > maxShown {
		return string(runes[:maxShown]) + "…"
	}
	return text
}
