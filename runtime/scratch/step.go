package scratch

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// step is a parsed step: references are put in, values are still text, since
// only the contract's schema tells what they are.
type step struct {
	verb     string
	who      string
	contract string // "" is the one under test
	others   []string
	name     string // what let, sign and hash name; the owner of a device
	file     string
	typ      string // of a value, by the contract's schema; "" is none
	roles    abi.Role
	labels   chain.Labels
	key      []byte
	value    string // message, request, or expected value
	absent   bool   // state: there is no entry
	kind     abi.ObservationKind
	signed   bool
	status   abi.Status
	number   int
	wait     time.Duration
	args     []string
}

var verbs = map[string]func(*step, string) error{
	"say":     func(s *step, rest string) error { s.value = rest; return nil },
	"account": (*step).parseAccount,
	"device":  (*step).parseDevice,
	"deploy":  func(s *step, rest string) error { return s.take(rest) },
	"with":    (*step).parseWith,
	"upgrade": (*step).parseUpgrade,
	"call":    func(s *step, rest string) error { return s.take(s.contractOf(s.whoOf(rest))) },
	"query":   func(s *step, rest string) error { return s.take(s.contractOf(rest)) },
	"decide":  (*step).parseDecide,
	"bind":    (*step).parseBind,
	"report":  (*step).parseReport,
	"set":     (*step).parseSet,
	"status":  (*step).parseStatus,
	"wait":    (*step).parseWait,
	"state":   (*step).parseState,
	"at":      (*step).parseAt,
	"let":     (*step).parseLet,
	"sign":    (*step).parseSign,
	"hash":    (*step).parseHash,
	"run":     (*step).parseRun,
	"write":   (*step).parseWrite,
}

// parseStep reads a step whose references are put in.
func parseStep(text string) (*step, error) {
	verb, rest := cut(text)
	parse, ok := verbs[verb]
	if !ok {
		return nil, fmt.Errorf("%q is no step; see postern contract test --help", verb)
	}
	s := &step{verb: verb}
	if err := parse(s, rest); err != nil {
		return nil, fmt.Errorf("%s: %w", verb, err)
	}
	return s, nil
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

// take takes a message or value.
func (s *step) take(text string) error {
	s.value = text
	_, err := rawValue(text)
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
	s.name, rest = cut(s.whoOf(rest))
	if s.name == "" {
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
	return s.take(rest)
}

func (s *step) parseUpgrade(rest string) error {
	s.file, rest = cut(rest)
	if s.file == "" {
		return errors.New("name the file of the new code")
	}
	return s.take(rest)
}

func (s *step) parseDecide(rest string) error {
	s.value = s.contractOf(s.whoOf(rest))
	_, err := parseRequest(s.value)
	return err
}

func (s *step) parseBind(rest string) error {
	if rest = s.whoOf(rest); s.who == "" {
		return errors.New("name the device")
	}
	for _, word := range strings.Fields(rest) {
		name, ok := strings.CutPrefix(word, "@")
		if !ok {
			return fmt.Errorf("%q: contracts are written @NAME", word)
		}
		s.others = append(s.others, name)
	}
	return nil
}

func (s *step) parseReport(rest string) error {
	rest = s.whoOf(rest)
	s.name = s.who // who tells
	s.kind = abi.ObserveTelemetry
	for rest != "" && rest[0] != '[' && rest[0] != '{' {
		var word string
		switch word, rest = cut(rest); word {
		case "by":
			s.name, rest = cut(rest)
		case "signed":
			s.signed = true
		case "telemetry":
		case "location":
			s.kind = abi.ObserveLocation
		case "flows":
			s.kind = abi.ObserveFlows
		default:
			return fmt.Errorf("%q: write by WHO, signed, telemetry, location or flows, and then JSON", word)
		}
	}
	if s.signed && s.name != s.who {
		return errors.New("only the device itself signs what it reports")
	}
	if s.value = rest; rest == "" {
		return errors.New("say what was seen")
	}
	_, err := rawValue(rest)
	return err
}

func (s *step) parseSet(rest string) (err error) {
	words := strings.SplitN(rest, " ", 4)
	if len(words) < 3 {
		return errors.New("name the device, its new status and who sets it")
	}
	s.who, s.name = words[2], words[0]
	if len(words) == 4 {
		s.value = words[3]
	}
	s.status, err = statusOf(words[1])
	return err
}

func (s *step) parseStatus(rest string) (err error) {
	s.status, err = statusOf(s.whoOf(rest))
	return err
}

func statusOf(word string) (abi.Status, error) {
	status, ok := abi.StatusByName(word)
	if !ok {
		return 0, fmt.Errorf("%q is no status: active, suspended, quarantined, stolen or retired", word)
	}
	return status, nil
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
	key, value, err := cutKey(s.contractOf(rest))
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
	return s.take(value)
}

func (s *step) parseAt(rest string) (err error) {
	if s.number, err = strconv.Atoi(rest); err != nil || s.number < 1 || s.number > maxNodes {
		err = fmt.Errorf("%q is no number of a node from 1 to %d", rest, maxNodes)
	}
	return err
}

func (s *step) parseLet(rest string) error {
	if s.name, s.value = cut(rest); s.value == "" {
		return errors.New("write let NAME VALUE")
	}
	return nil
}

func (s *step) parseSign(rest string) error {
	s.name, rest = cut(rest)
	rest = s.typedOf(s.whoOf(rest))
	if rest == "" {
		return errors.New("write sign NAME WHO VALUE")
	}
	return s.take(rest)
}

func (s *step) parseHash(rest string) error {
	s.name, rest = cut(rest)
	if rest = s.typedOf(rest); rest == "" {
		return errors.New("write hash NAME VALUE")
	}
	return s.take(rest)
}

// typedOf takes a contract and a type of its schema off a text, if they stand
// there.
func (s *step) typedOf(rest string) string {
	if !strings.HasPrefix(rest, "@") {
		return rest
	}
	s.typ, rest = cut(s.contractOf(rest))
	return rest
}

func (s *step) parseRun(rest string) (err error) {
	s.args, err = fields(rest)
	if err == nil && len(s.args) == 0 {
		err = errors.New("name a command")
	}
	return err
}

func (s *step) parseWrite(rest string) error {
	if s.file, s.value = cut(rest); s.value == "" || !filepath.IsLocal(s.file) {
		return errors.New("write write FILE TEXT, with a file of the script's own")
	}
	return nil
}

// fields splits a command line at its spaces; what stands in single quotes is
// one word.
func fields(text string) (words []string, err error) {
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		word, rest, found := "", "", false
		if text[0] != '\'' {
			word, rest = cut(text)
		} else if word, rest, found = strings.Cut(text[1:], "'"); !found {
			return nil, errors.New("a quote is not closed")
		}
		words, text = append(words, word), rest
	}
	return slices.Clip(words), nil
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
