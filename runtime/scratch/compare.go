package scratch

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// compare lists what should hold and does not.
func (w *wants) compare(d *done) (failures []string) {
	got := d.came
	fail := func(what string, want, have any) {
		failures = append(failures, fmt.Sprintf("%s: want %v, got %v", what, want, have))
	}
	if got.differs != "" {
		return []string{got.differs}
	}
	switch {
	case w.verdict != got.Verdict:
		fail("decision", w.verdict, d.words())
	case got.Verdict == "" && got.Code != w.code, w.said && got.Code != w.code:
		fail("outcome", w.code.Name(), d.words())
	case !d.speech.known(w.abort):
		failures = append(failures, fmt.Sprintf("aborted: the contract's schema names no code %q", w.abort))
	case !d.speech.refused(w.abort, got.Abort):
		fail("outcome", "aborted "+w.abort, d.words())
	}
	if w.level != "" && w.level != got.Level {
		fail("level", w.level, d.words())
	}
	if w.reason != nil && !d.reasoned(*w.reason) {
		fail("reason", *w.reason, fmt.Sprintf("%d %s", got.Reason, got.ReasonID))
	}
	if w.obligations != nil && !d.speech.matches(*w.obligations, got.Obligations, nil) {
		fail("obligations", *w.obligations, Show(got.Obligations))
	}
	if w.result != nil && !d.speech.matches(*w.result, got.Result, d.returned) {
		fail("result", *w.result, show(got.Result, d.returned))
	}
	for _, part := range w.parts {
		if have, ok := d.has(part); !ok {
			fail(part.path, part.value, have)
		}
	}
	if w.listed && !w.eventsMatch(d) {
		fail("events", w.eventText(), d.eventText())
	}
	if w.gas != 0 && got.Gas >= w.gas {
		fail("gas", fmt.Sprintf("less than %d", w.gas), got.Gas)
	}
	return append(failures, w.compareRun(got)...)
}

// compareRun compares what a command printed. Its exit code says whether it was
// done.
func (w *wants) compareRun(got *Came) (failures []string) {
	if w.fails != (got.Exit != 0) {
		failures = append(failures, fmt.Sprintf("exit code %d: %s", got.Exit, strings.TrimSpace(got.Complained)))
	}
	if w.stdout != nil && !w.stdout.MatchString(got.Printed) {
		failures = append(failures, fmt.Sprintf("stdout: want %s, got %s", w.stdout, got.Printed))
	}
	if w.stderr != nil && !w.stderr.MatchString(got.Complained) {
		failures = append(failures, fmt.Sprintf("stderr: want %s, got %s", w.stderr, got.Complained))
	}
	return failures
}

// reasoned says whether the decision's reason is the one named: by its id, its
// number, or the schema's name for that.
func (d *done) reasoned(want string) bool {
	got := d.came
	if want == got.ReasonID || want == strconv.FormatUint(got.Reason, 10) {
		return true
	}
	return d.speech.schema != nil && got.Reason <= 0xffff && d.speech.schema.Reasons[uint16(got.Reason)].Name == want
}

// has compares a part of the result, and gives what stands there.
func (d *done) has(p part) (have string, ok bool) {
	value, err := d.part("", p.path)
	if err != nil {
		return err.Error(), false
	}
	if p.value == "*" || p.value == `"*"` {
		return "", true
	}
	want, err := tree(p.value)
	if err != nil {
		return err.Error(), false
	}
	shown := marshal(value)
	return string(shown), bytes.Equal(marshal(fill(want, value)), shown)
}

// part is a value within the result, or within an event's data.
func (d *done) part(topic, path string) (any, error) {
	text := ""
	switch {
	case topic == "stdout":
		text = d.came.Printed
	case topic == "" && d.came.Verdict != "":
		text = fmt.Sprintf(`{"decision":%q,"record":%d,"reason":%q}`, d.came.Verdict, d.came.Record, d.reason())
	case topic == "":
		text = show(d.came.Result, d.returned)
	}
	for i := range d.came.Events {
		if e := &d.came.Events[i]; topic != "" && topic != "stdout" && string(e.Topic) == topic {
			text = show(e.Data, d.events(e).event(topic))
			break
		}
	}
	if text == "" || text == "none" {
		return nil, fmt.Errorf("there is nothing of which %s would be a part", path)
	}
	v, err := tree(text)
	if err != nil {
		return nil, fmt.Errorf("%s is no value with parts", text)
	}
	return at(v, path)
}

func (w *wants) eventsMatch(d *done) bool {
	if len(w.events) != len(d.came.Events) {
		return false
	}
	for i := range w.events {
		want, got := &w.events[i], &d.came.Events[i]
		if string(got.Topic) != want.topic || !want.any && !d.eventMatches(want, got) {
			return false
		}
	}
	return true
}

// eventMatches compares an event's data: the ledger's own has names, too.
func (d *done) eventMatches(want *eventWant, got *chain.Event) bool {
	s := d.events(got)
	if s.matches(want.value, got.Data, s.event(want.topic)) {
		return true
	}
	notice, ok := noticeText(got)
	return ok && same(want.value, notice)
}

// same says whether two JSON values are, with "*" in the first for any.
func same(want, got string) bool {
	wanted, err := tree(want)
	if err != nil {
		return false
	}
	came, err := tree(got)
	return err == nil && bytes.Equal(marshal(fill(wanted, came)), marshal(came))
}

// noticeText shows what the ledger itself tells, in the names of chain.Notice.
func noticeText(e *chain.Event) (string, bool) {
	n, err := chain.ParseNotice(e.Data)
	if e.Contract != "" || err != nil {
		return "", false
	}
	v := struct {
		Subject string `json:"subject"`
		Status  string `json:"status,omitempty"`
		Level   uint8  `json:"level,omitempty"`
		Reason  string `json:"reason,omitempty"`
		By      string `json:"by,omitempty"`
		Hash    string `json:"hash,omitempty"`
		Number  uint64 `json:"number,omitempty"`
	}{Subject: hex.EncodeToString(n.Subject[:]), Level: n.Level, Reason: n.Reason, Number: n.Number, By: hashText(n.By), Hash: hashText(n.Hash)}
	if string(e.Topic) == chain.TopicDeviceStatus {
		v.Status, v.Level = abi.Status(n.Level).String(), 0
	}
	return string(marshal(v)), true
}

func hashText(h *abi.Hash) string {
	if h == nil {
		return ""
	}
	return hex.EncodeToString(h[:])
}

func (w *wants) eventText() string {
	if len(w.events) == 0 {
		return "no events"
	}
	var list []string
	for _, e := range w.events {
		list = append(list, strings.TrimSpace(e.topic+" "+e.value))
	}
	return strings.Join(list, "; ")
}

// eventText is what was told, in the words of who told it.
func (d *done) eventText() string {
	if len(d.came.Events) == 0 {
		return "no events"
	}
	var list []string
	for i := range d.came.Events {
		list = append(list, strings.TrimSpace(string(d.came.Events[i].Topic)+" "+d.eventData(&d.came.Events[i])))
	}
	return strings.Join(list, "; ")
}

func (d *done) eventData(e *chain.Event) string {
	if len(e.Data) == 0 {
		return ""
	}
	if notice, ok := noticeText(e); ok {
		return notice
	}
	return show(e.Data, d.events(e).event(string(e.Topic)))
}

// reason is why it was decided so, by its id or the schema's name.
func (d *done) reason() string {
	c := d.came
	if c.ReasonID != "" || c.Reason == 0 {
		return c.ReasonID
	}
	if d.speech.schema != nil && c.Reason <= 0xffff {
		if r, ok := d.speech.schema.Reasons[uint16(c.Reason)]; ok {
			return r.Name
		}
	}
	return strconv.FormatUint(c.Reason, 10)
}

// words is what came of a step, for people.
func (d *done) words() string {
	c := d.came
	s := c.Code.Name()
	switch {
	case c.Verdict == "permit":
		s = "permit"
	case c.Verdict != "":
		s = "deny " + s
	case c.Level != "":
		s = c.Level
	case c.Code == abi.CodeAborted:
		s += " " + strconv.Itoa(int(c.Abort))
		if name := d.speech.code(c.Abort).Name; name != "" {
			s += " " + name
		}
	case c.differs != "":
		s = "differs"
	case c.Exit != 0:
		s = fmt.Sprintf("exit code %d", c.Exit)
	}
	if reason := d.reason(); reason != "" {
		s += ", reason " + reason
	}
	if len(c.Result) > 0 {
		s += ", result " + show(c.Result, d.returned)
	}
	return s
}
