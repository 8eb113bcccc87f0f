package scratch

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Script is a story about contracts: steps, and what must hold of each. Steps
// begin at the margin, what must hold of one stands indented below it. Where a
// contract has a schema, operations, fields, events and codes are written by its
// names; raw messages are always allowed.
//
//	# comment; above the first step: "# about: TEXT", "# nodes: N"
//	say TEXT                         tell the reader what follows
//	account NAME [ROLE ...]          make an account
//	device NAME OWNER [LABELS]       enrol a device; labels are a JSON object
//	deploy [MESSAGE]                 deploy the contract under test, run init
//	with NAME FILE [MESSAGE]         deploy another contract: FILE, or a standard contract's name
//	upgrade FILE [MESSAGE]           put another code in its place, run migrate
//	call WHO [@NAME] [MESSAGE]       run execute by a transaction
//	query [@NAME] [MESSAGE]          ask query
//	decide WHO [@NAME] REQUEST       ask for a decision: an AuthZEN request in JSON
//	bind DEVICE [@NAME ...]          have contracts judge a device, as its owner
//	report DEVICE [by WHO] [signed] [telemetry|location|flows] JSON
//	                                 tell what was seen of a device: SenML, or flows
//	set DEVICE STATUS WHO [REASON]   change a device's status
//	status DEVICE STATUS             compare a device's status on the ledger
//	wait DURATION                    let time pass and run the timers due: 90s, 1h
//	state [@NAME] KEY VALUE|none     compare an entry of the contract's state
//	at N                             talk to node N from here on, 1 is the first
//	let NAME VALUE                   name a value: ${NAME}
//	sign NAME WHO [@NAME TYPE] VALUE name a signature over bytes
//	hash NAME [@NAME TYPE] VALUE     name the SHA-256 of bytes
//	run COMMAND ...                  run the program's own command line
//	write FILE TEXT                  make a file for commands
//
//	  ok                             it was done; holds if nothing else is said
//	  CODE                           it failed so: out-of-gas, not-permitted ...
//	  aborted N|NAME                 the contract refused with its own code
//	  permit, deny [CODE]            the decision; one of them must be said
//	  level NAME                     how a report was judged: fine, alert ...
//	  reason N|TEXT                  the decision's reason, its name, or its reason id
//	  obligations JSON               the decision's obligations
//	  result VALUE|none              what it returned
//	  has PATH VALUE                 a part of what it returned: holder, items.0.name
//	  event TOPIC [VALUE]            the events, all of them in order
//	  no events
//	  gas < N                        units that contracts used, timers' too
//	  save NAME PATH                 name a part of what it returned; of a decision
//	                                 decision, reason and record
//	  save NAME event TOPIC PATH     name a part of an event
//	  save NAME stdout PATH          name a part of the JSON that a command printed
//	  stdout REGEXP                  run: it printed that
//	  stderr REGEXP                  run: it complained so
//	  fails                          run: it ended with another code than 0
//
// A message or value is JSON (which becomes canonical CBOR), "hex:" and bytes,
// or "text:" and text; in what is expected "*" in quotes stands for any value. A
// key of the state is text in quotes, or "hex:" and bytes. References are put in
// before a line is read:
//
//	${NAME}       what let, save, sign or hash named so; else a person's account id
//	${NAME.key}   a person's public key       ${NAME.file}  the file of their key
//	${NAME.serial} a device's serial
//	${@NAME}      a contract's name on the chain, ${@} of the one under test
//	${now+90s}    a time in ms since 1970     ${hour+12h}   an hour in UTC: 21:00
//	${chain}      the chain's id
//
// A line that ends with a backslash goes on in the next.
type Script struct {
	Name  string // of the file, for reports
	About string // what the script shows, "" where it does not say
	Nodes int    // how many nodes it needs, 1 where it does not say
	steps []source
}

// source is a step as it is written.
type source struct {
	line  int
	text  string
	wants []string
}

// maxNodes bounds the network that a script may ask for.
const maxNodes = 16

// ParseScript reads a script. The error names the line.
func ParseScript(name, text string) (*Script, error) {
	s := &Script{Name: name, Nodes: 1}
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		at, line := i+1, lines[i]
		for strings.HasSuffix(line, "\\") && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, "\\") + strings.TrimSpace(lines[i])
		}
		trimmed := strings.TrimSpace(line)
		if trimmed == "" {
			continue
		}
		if err := s.line(at, trimmed, trimmed[0] != line[0]); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, at, err)
		}
	}
	for i := range s.steps {
		if err := s.steps[i].check(); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, s.steps[i].line, err)
		}
	}
	return s, nil
}

// line takes one line, and parses it with something in place of what it refers
// to, so that mistakes are found before anything is played.
func (s *Script) line(at int, text string, indented bool) error {
	if text[0] == '#' {
		return s.header(text)
	}
	filled, err := placeholders(text)
	if err != nil {
		return err
	}
	if indented {
		if len(s.steps) == 0 {
			return errors.New("an indented line says what holds of a step, and there is none above it")
		}
		above := &s.steps[len(s.steps)-1]
		above.wants = append(above.wants, text)
		return new(wants).add(filled)
	}
	s.steps = append(s.steps, source{line: at, text: text})
	_, err = parseStep(filled)
	return err
}

// header takes what a comment above the first step says of the script.
func (s *Script) header(comment string) (err error) {
	key, value, _ := strings.Cut(strings.TrimSpace(comment[1:]), ":")
	value = strings.TrimSpace(value)
	switch {
	case len(s.steps) > 0:
	case key == "about" && s.About == "":
		s.About = value
	case key == "nodes":
		if s.Nodes, err = strconv.Atoi(value); err != nil || s.Nodes < 1 || s.Nodes > maxNodes {
			err = fmt.Errorf("nodes: %q is no number from 1 to %d", value, maxNodes)
		}
	}
	return err
}

// check holds a step and what must hold of it against each other.
func (s *source) check() error {
	verb, _ := cut(s.text)
	w := new(wants)
	for _, text := range s.wants {
		filled, err := placeholders(text)
		if err == nil {
			err = w.add(filled)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case verb == "decide" && w.verdict == "":
		return errors.New("say below it whether the decision is permit or deny")
	case verb != "run" && (w.fails || w.stdout != nil || w.stderr != nil):
		return errors.New("stdout, stderr and fails are said of run")
	}
	return nil
}

// cut takes the first word off a text.
func cut(text string) (word, rest string) {
	word, rest, _ = strings.Cut(text, " ")
	return word, strings.TrimSpace(rest)
}
