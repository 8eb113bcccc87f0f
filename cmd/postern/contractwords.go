package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/schema"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/sdk/client"
)

var schemaFlag = &cli.StringFlag{Name: "schema", Usage: "`FILE` with the names of the contract's messages (default: those of a standard contract, known by its code)"}

// words are the schemas of a chain's contracts, as far as they are known: of
// standard contracts, and of one that the command line gives.
type words struct {
	cl    *client.Client
	given *schema.Schema            // for every contract, nil where none was
	known map[string]*schema.Schema // by the contract's name, nil for one without
}

func wordsOf(c *cli.Context, cl *client.Client) (*words, error) {
	w := &words{cl: cl, known: map[string]*schema.Schema{}}
	file := c.String("schema")
	if file == "" {
		return w, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if w.given, err = schema.Parse(text); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return w, nil
}

// of is the schema of a contract, nil where there is none. What goes wrong while
// it is looked for takes names away and nothing else.
func (w *words) of(ctx context.Context, contract string) *schema.Schema {
	if w == nil || contract == "" {
		return nil
	}
	if w.given != nil {
		return w.given
	}
	if s, ok := w.known[contract]; ok {
		return s
	}
	w.known[contract] = nil
	k, err := w.cl.Contract(ctx, contract)
	if err != nil {
		return nil
	}
	if c, ok := contracts.Known(k.Code); ok {
		w.known[contract] = c.Schema
	}
	return w.known[contract]
}

// operationWord is an operation without fields, as it may be written without
// quotes.
var operationWord = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// spoken makes a message of JSON in a schema's names, or of raw JSON where
// there is no schema.
func spoken(s *schema.Schema, encode func(*schema.Schema, []byte, time.Time) ([]byte, error), hexText, text string) ([]byte, error) {
	if hexText != "" || text == "" || s == nil {
		return message(hexText, text)
	}
	if operationWord.MatchString(text) {
		text = `"` + text + `"`
	}
	b, err := encode(s, []byte(text), time.Now())
	if err != nil {
		return nil, usagef("the message: %v%s", err, hint(s))
	}
	return b, nil
}

// hint says where all that a standard contract understands stands.
func hint(s *schema.Schema) string {
	if c, ok := contracts.Named(s.Name); ok && c.Schema == s {
		return "; postern contract standard " + s.Name + " tells what it understands"
	}
	return ""
}

// namedAbort is a contract's refusal with the name that its schema gives the
// code. Its text ends with what the code means.
type namedAbort struct {
	err  error
	code schema.Code
}

func (n *namedAbort) Error() string { return n.err.Error() + ", " + n.code.Name + ": " + n.code.About }

func (n *namedAbort) Unwrap() error { return n.err }

// nameRefusal gives a contract's refusal its name.
func nameRefusal(s *schema.Schema, err error) error {
	own, ok := client.AbortOf(err)
	if !ok || s == nil {
		return err
	}
	code, ok := s.Codes[own]
	if !ok {
		return err
	}
	return &namedAbort{err, code}
}

// valueOf is bytes as a field of JSON, nil where they have no such form.
func valueOf(b []byte, t *schema.Type) json.RawMessage {
	if len(b) == 0 {
		return nil
	}
	if t != nil {
		if text, err := t.JSON(b); err == nil {
			return text
		}
	}
	text, err := cbor.AppendAsJSON(nil, b)
	if err != nil {
		return nil
	}
	return text
}

func eventType(s *schema.Schema, topic string) *schema.Type {
	if s == nil || s.Events[topic] == nil {
		return nil
	}
	return s.Events[topic].Data
}

func resultType(o *schema.Operation) *schema.Type {
	if o == nil {
		return nil
	}
	return o.Result
}

// called is the operation that a message of execute names, nil where that is
// not known.
func called(s *schema.Schema, message []byte) *schema.Operation {
	if s == nil {
		return nil
	}
	return s.Called(message)
}

// name gives what a transaction returned, told and refused its names.
func (w *words) name(ctx context.Context, t *txOutput, contract string, message []byte) {
	s := w.of(ctx, contract)
	t.Value = valueOf(t.Result, resultType(called(s, message)))
	for i := range t.Events {
		e := &t.Events[i]
		e.Value = valueOf(e.Data, eventType(w.of(ctx, e.Contract), e.Topic))
	}
	if code, ok := codeOf(s, t.Abort); ok && t.Code == abi.CodeAborted.Name() {
		t.AbortName, t.AbortAbout = code.Name, code.About
	}
}

func codeOf(s *schema.Schema, n uint16) (schema.Code, bool) {
	if s == nil {
		return schema.Code{}, false
	}
	code, ok := s.Codes[n]
	return code, ok
}

// isNamed finds the name of a refusal in an error.
func isNamed(err error) (schema.Code, bool) {
	n, ok := errors.AsType[*namedAbort](err)
	if !ok {
		return schema.Code{}, false
	}
	return n.code, true
}
