package scratch

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/seed79541315/postern/abi"
)

// wants is what must hold of a step.
type wants struct {
	verdict        string // "permit", "deny" or ""
	level          string
	code           abi.Code
	said           bool // code was said
	abort          string
	reason         *string
	obligations    *string
	result         *string // "none": it returned nothing
	parts          []part
	events         []eventWant
	listed         bool // events were listed
	gas            uint64
	saves          []save
	stdout, stderr *regexp.Regexp
	fails          bool
}

// part is a value within what was returned.
type part struct{ path, value string }

type eventWant struct {
	topic, value string
	any          bool // whatever it says
}

// save names a value: of the result, or of an event.
type save struct{ name, topic, path string }

// add reads one line of what must hold.
func (w *wants) add(line string) error {
	word, rest := cut(line)
	switch word {
	case "permit", "deny":
		w.verdict = word
		if word == "deny" && rest != "" {
			return w.named(rest)
		}
	case "level":
		w.level = rest
		if _, ok := abi.LevelByName(rest); !ok {
			return fmt.Errorf("level %q: fine, alert, suspected-stolen or quarantine", rest)
		}
	case "reason":
		w.reason = &rest
	case "obligations":
		w.obligations = &rest
		return checkValue(rest)
	case "result":
		w.result = &rest
		return checkValue(rest)
	case "has":
		return w.has(rest)
	case "event":
		return w.event(rest)
	case "no":
		if rest != "events" {
			return fmt.Errorf("no %s: only \"no events\" is known", rest)
		}
		w.listed = true
	case "gas":
		return w.gasBelow(rest)
	case "save":
		return w.save(rest)
	case "aborted":
		return w.aborted(rest)
	case "stdout", "stderr", "fails":
		return w.printed(word, rest)
	default:
		return w.named(word)
	}
	return nil
}

func checkValue(text string) error {
	if text == "none" || text == "*" {
		return nil
	}
	_, err := rawValue(text)
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
	w.code, w.said, w.abort = abi.CodeAborted, true, rest
	if rest == "" || (rest[0] < '0' || rest[0] > '9') && abi.ValidName(rest) {
		return nil
	}
	if _, err := strconv.ParseUint(rest, 10, 16); err != nil {
		return fmt.Errorf("aborted: %q is no code of a contract, which has a name or a number up to 65535", rest)
	}
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

func (w *wants) has(rest string) error {
	path, value := cut(rest)
	if value == "" {
		return errors.New("write has PATH VALUE")
	}
	w.parts = append(w.parts, part{path, value})
	return checkValue(value)
}

func (w *wants) event(rest string) error {
	topic, value := cut(rest)
	if topic == "" {
		return errors.New("name the event's topic")
	}
	w.listed = true
	w.events = append(w.events, eventWant{topic, value, value == "*"})
	return checkValue(value)
}

func (w *wants) save(rest string) error {
	words := strings.Fields(rest)
	switch {
	case len(words) == 2:
		w.saves = append(w.saves, save{words[0], "", words[1]})
	case len(words) == 3 && words[1] == "stdout":
		w.saves = append(w.saves, save{words[0], words[1], words[2]})
	case len(words) == 4 && words[1] == "event":
		w.saves = append(w.saves, save{words[0], words[2], words[3]})
	default:
		return errors.New("write save NAME PATH, save NAME stdout PATH or save NAME event TOPIC PATH; . is the whole")
	}
	return nil
}

func (w *wants) printed(word, rest string) error {
	if word == "fails" {
		w.fails = true
		return nil
	}
	pattern, err := regexp.Compile("(?m)" + rest)
	if err != nil || rest == "" {
		return fmt.Errorf("%s: %q is no regular expression", word, rest)
	}
	if word == "stdout" {
		w.stdout = pattern
	} else {
		w.stderr = pattern
	}
	return nil
}
