package scratch

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// Script is a test of a contract: steps, and what must hold of each. Steps
// begin at the margin, what must hold of one stands indented below it:
//
//	# comment
//	account NAME [ROLE ...]          make an account
//	device NAME OWNER [LABELS]       enrol a device; labels are a JSON object
//	deploy [MESSAGE]                 deploy the contract under test, run init
//	with NAME FILE [MESSAGE]         deploy another contract
//	upgrade FILE [MESSAGE]           put another code in its place, run migrate
//	call WHO [@NAME] [MESSAGE]       run execute by a transaction
//	query [@NAME] [MESSAGE]          ask query
//	decide WHO [@NAME] REQUEST       ask for a decision: an AuthZEN request in JSON
//	wait DURATION                    move the clock and run the timers due: 90s, 1h
//	state [@NAME] KEY VALUE|none     compare an entry of the contract's state
//
//	  ok                             it was done; holds if nothing else is said
//	  CODE                           it failed so: out-of-gas, not-permitted ...
//	  aborted N                      the contract refused with its own code
//	  permit, deny [CODE]            the decision; one of them must be said
//	  reason N|TEXT                  the decision's reason or reason id
//	  obligations JSON               the decision's obligations
//	  result VALUE|none              what it returned
//	  event TOPIC [VALUE]            the events, all of them in order
//	  no events
//	  gas < N                        units that contracts used, timers' too
//
// A message or value is JSON (which becomes canonical CBOR), or "hex:" and
// bytes; a key is text in quotes, or "hex:" and bytes. ${NAME} stands for the account id of
// a name in hexadecimal digits. A line that ends with a backslash goes on in
// the next.
type Script struct {
	Name  string // of the file, for reports
	steps []step
}

// step is a parsed step.
type step struct {
	line     int
	text     string
	verb     string
	who      string
	contract string // "" is the one under test
	file     string
	roles    abi.Role
	labels   chain.Labels
	key      []byte
	value    []byte // message, request or expected value
	absent   bool   // state: there is no entry
	wait     time.Duration
	want     wants
}

// wants is what must hold of a step.
type wants struct {
	verdict     string // "permit", "deny" or ""
	code        abi.Code
	said        bool // code was said
	abort       *uint16
	reason      *string
	obligations []byte
	result      *[]byte
	events      []chain.Event
	listed      bool // events were listed
	gas         uint64
}

// ParseScript reads a script. The error names the line.
func ParseScript(name, text string) (*Script, error) {
	s := &Script{Name: name}
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		at, line := i+1, lines[i]
		for strings.HasSuffix(line, "\\") && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, "\\") + strings.TrimSpace(lines[i])
		}
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		if err := s.line(at, trimmed, trimmed[0] != line[0]); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, at, err)
		}
	}
	for i := range s.steps {
		if st := &s.steps[i]; st.verb == "decide" && st.want.verdict == "" {
			return nil, fmt.Errorf("%s:%d: say below it whether the decision is permit or deny", name, st.line)
		}
	}
	return s, nil
}

var nameReference = regexp.MustCompile(`\$\{[^}]*\}`)

// withIDs puts account ids in place of ${NAME}.
func withIDs(text string) string {
	return nameReference.ReplaceAllStringFunc(text, func(ref string) string {
		id := ID(ref[2 : len(ref)-1])
		return hex.EncodeToString(id[:])
	})
}

func (s *Script) line(at int, text string, indented bool) error {
	verb, rest := cut(withIDs(text))
	if indented {
		if len(s.steps) == 0 {
			return errors.New("an indented line says what holds of a step, and there is none above it")
		}
		return s.steps[len(s.steps)-1].want.add(verb, rest)
	}
	parse, ok := verbs[verb]
	if !ok {
		return fmt.Errorf("%q is no step; see postern contract test --help", verb)
	}
	st := step{line: at, text: text, verb: verb}
	if err := parse(&st, rest); err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	s.steps = append(s.steps, st)
	return nil
}

// cut takes the first word off a text.
func cut(text string) (word, rest string) {
	word, rest, _ = strings.Cut(text, " ")
	return word, strings.TrimSpace(rest)
}

var verbs = map[string]func(*step, string) error{
	"account": (*step).parseAccount,
	"device":  (*step).parseDevice,
	"deploy":  func(s *step, rest string) error { return s.message(rest) },
	"with":    (*step).parseWith,
	"upgrade": (*step).parseUpgrade,
	"call":    func(s *step, rest string) error { return s.message(s.contractOf(s.whoOf(rest))) },
	"query":   func(s *step, rest string) error { return s.message(s.contractOf(rest)) },
	"decide":  (*step).parseDecide,
	"wait":    (*step).parseWait,
	"state":   (*step).parseState,
}

func (s *step) whoOf(rest string) string {
	s.who, rest = cut(rest)
	return rest
}

func (s *step) contractOf(rest string) string {
	if strings.HasPrefix(rest, "@") {
		s.contract, rest = cut(rest[1:])
	}
	return rest
}

func (s *step) message(rest string) (err error) {
	s.value, err = parseValue(rest)
	return err
}

func (s *step) parseAccount(rest string) error {
	words := strings.Fields(rest)
	if len(words) == 0 {
		return errors.New("name the account")
	}
	s.who = words[0]
	for _, w := range words[1:] {
		role, ok := abi.RoleByName(w)
		if !ok {
			return fmt.Errorf("%q is no role; there are %s", w, strings.Join(abi.AllRoles.Names(), ", "))
		}
		s.roles |= role
	}
	return nil
}

func (s *step) parseDevice(rest string) error {
	s.file, rest = cut(s.whoOf(rest)) // the owner stands in file
	if s.file == "" {
		return errors.New("name the device and its owner")
	}
	if rest == "" {
		return nil
	}
	return json.Unmarshal([]byte(rest), &s.labels)
}

func (s *step) parseWith(rest string) error {
	s.contract, rest = cut(rest)
	s.file, rest = cut(rest)
	if s.file == "" {
		return errors.New("name the contract and its file")
	}
	return s.message(rest)
}

func (s *step) parseUpgrade(rest string) error {
	s.file, rest = cut(rest)
	if s.file == "" {
		return errors.New("name the file of the new code")
	}
	return s.message(rest)
}

func (s *step) parseDecide(rest string) (err error) {
	rest = s.contractOf(s.whoOf(rest))
	s.value, err = parseRequest(rest)
	return err
}

func (s *step) parseWait(rest string) (err error) {
	s.wait, err = time.ParseDuration(rest)
	switch {
	case err != nil:
		return fmt.Errorf("%q is no duration, such as 90s, 15m or 1h30m", rest)
	case s.wait < 0:
		return errors.New("time does not go back")
	}
	return nil
}

func (s *step) parseState(rest string) (err error) {
	rest = s.contractOf(rest)
	key, value, err := cutKey(rest)
	if err != nil {
		return err
	}
	if s.key, err = parseKey(key); err != nil {
		return err
	}
	if s.absent = value == "none"; s.absent {
		return nil
	}
	if value == "" {
		return errors.New("say the value, or none")
	}
	return s.message(value)
}

// cutKey takes a key off a text: a word, or what stands in quotes.
func cutKey(text string) (key, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		key, rest = cut(text)
		return key, rest, nil
	}
	key, err = strconv.QuotedPrefix(text)
	if err != nil {
		return "", "", errors.New("the key's quotes are not closed")
	}
	return key, strings.TrimSpace(text[len(key):]), nil
}

func parseKey(key string) ([]byte, error) {
	if strings.HasPrefix(key, `"`) {
		text, err := strconv.Unquote(key)
		return []byte(text), err
	}
	if digits, ok := strings.CutPrefix(key, "hex:"); ok {
		return hex.DecodeString(digits)
	}
	return nil, fmt.Errorf("key %s: write it in quotes, or as hex: and digits", key)
}

// parseValue reads bytes: nothing, hex, or JSON made into CBOR.
func parseValue(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	if digits, ok := strings.CutPrefix(text, "hex:"); ok {
		return hex.DecodeString(digits)
	}
	return cbor.AppendJSON(nil, []byte(text))
}

// add reads one line of what must hold.
func (w *wants) add(word, rest string) (err error) {
	switch word {
	case "permit", "deny":
		w.verdict = word
		if word == "deny" && rest != "" {
			return w.named(rest)
		}
	case "reason":
		w.reason = &rest
	case "obligations":
		w.obligations, err = parseValue(rest)
	case "result":
		var b []byte
		if rest != "none" {
			b, err = parseValue(rest)
		}
		w.result = &b
	case "event":
		w.listed = true
		err = w.event(rest)
	case "no":
		if rest != "events" {
			return fmt.Errorf("no %s: only \"no events\" is known", rest)
		}
		w.listed = true
	case "gas":
		return w.gasBelow(rest)
	case "aborted":
		return w.aborted(rest)
	default:
		return w.named(word)
	}
	return err
}

// named expects the code of a name.
func (w *wants) named(name string) error {
	for _, c := range abi.Codes() {
		if c.Name() == name {
			w.code, w.said = c, true
			return nil
		}
	}
	return fmt.Errorf("%q says nothing that can be checked, and is no code of docs/errors.md", name)
}

func (w *wants) aborted(rest string) error {
	w.code, w.said = abi.CodeAborted, true
	if rest == "" {
		return nil
	}
	n, err := strconv.ParseUint(rest, 10, 16)
	if err != nil {
		return fmt.Errorf("aborted: %q is no code of a contract, which is a number up to 65535", rest)
	}
	own := uint16(n)
	w.abort = &own
	return nil
}

func (w *wants) gasBelow(rest string) error {
	sign, number := cut(rest)
	n, err := strconv.ParseUint(strings.ReplaceAll(number, "_", ""), 10, 64)
	if sign != "<" || err != nil {
		return errors.New("gas: write gas < N")
	}
	w.gas = n
	return nil
}

func (w *wants) event(rest string) error {
	topic, value := cut(rest)
	data, err := parseValue(value)
	w.events = append(w.events, chain.Event{Topic: []byte(topic), Data: data})
	return err
}

// requestJSON is an AuthZEN request (Authorization API 1.0, section 6.1).
type requestJSON struct {
	Subject *entityJSON
	Action  struct {
		Name       string
		Properties json.RawMessage
	}
	Resource entityJSON
	Context  json.RawMessage
}

type entityJSON struct {
	Type, ID   string
	Properties json.RawMessage
}

// parseRequest makes an encoded abi.DecisionRequest of an AuthZEN request.
func parseRequest(text string) ([]byte, error) {
	var j requestJSON
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return nil, requestError(err)
	}
	var q abi.DecisionRequest
	var errs []error
	properties := func(raw json.RawMessage) []byte {
		if raw == nil {
			return nil
		}
		b, err := cbor.AppendJSON(nil, raw)
		errs = append(errs, err)
		return b
	}
	entity := func(e *entityJSON) abi.Entity {
		return abi.Entity{Type: e.Type, ID: e.ID, Properties: properties(e.Properties)}
	}
	if j.Subject != nil {
		subject := entity(j.Subject)
		q.Subject = &subject
	}
	q.Action = abi.Action{Name: j.Action.Name, Properties: properties(j.Action.Properties)}
	q.Resource, q.Context = entity(&j.Resource), properties(j.Context)
	if err := errors.Join(slices.DeleteFunc(errs, func(err error) bool { return err == nil })...); err != nil {
		return nil, err
	}
	return abi.AppendDecisionRequest(nil, &q), nil
}

// requestError tells what is wrong with a request, by the names that its
// author wrote.
func requestError(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		err = fmt.Errorf("%s is not a %s", strings.ToLower(wrong.Field), wrong.Value)
	}
	return fmt.Errorf(`%w; an AuthZEN request is {"action":{"name":"open"},"resource":{"type":"door","id":"1"}}`, err)
}
