package scratch

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

var reference = regexp.MustCompile(`\$\{([^}]*)\}`)

// expand puts in what a text refers to.
func expand(text string, resolve func(name string) (string, error)) (string, error) {
	var failed error
	text = reference.ReplaceAllStringFunc(text, func(ref string) string {
		value, err := resolve(ref[2 : len(ref)-1])
		if err != nil && failed == nil {
			failed = fmt.Errorf("%s: %w", ref, err)
		}
		return value
	})
	return text, failed
}

// placeholders puts in something that reads as a number, as text in quotes, and
// as hexadecimal digits; no two are the same, as they may be keys of an object.
func placeholders(text string) (string, error) {
	n := 10
	return expand(text, func(name string) (string, error) {
		if name == "" {
			return "", errors.New("it refers to nothing")
		}
		n++
		if n > 99 {
			return "", errors.New("a line refers to at most 89 things")
		}
		return strconv.Itoa(n), nil
	})
}

// rawValue reads bytes: nothing, hex, text, or JSON made into CBOR.
func rawValue(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	if raw, ok, err := bytesValue(text); ok {
		return raw, err
	}
	return cbor.AppendJSON(nil, []byte(text))
}

// bytesValue reads what is no JSON.
func bytesValue(text string) (raw []byte, ok bool, err error) {
	if digits, ok := strings.CutPrefix(text, "hex:"); ok {
		raw, err = hex.DecodeString(digits)
		return raw, true, err
	}
	if rest, ok := strings.CutPrefix(text, "text:"); ok {
		return []byte(rest), true, nil
	}
	return nil, false, nil
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

// parseRequest reads an AuthZEN request.
func parseRequest(text string) (*abi.DecisionRequest, error) {
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
	return &q, nil
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

// flowJSON is a flow as a script writes it; the names are those under which
// postern device evidence shows them.
type flowJSON struct {
	Direction  uint64     `json:"direction"`
	Protocol   uint64     `json:"protocol"`
	Address    netip.Addr `json:"address"`
	RemotePort uint64     `json:"remote_port"`
	LocalPort  uint64     `json:"local_port"`
	Bytes      uint64     `json:"bytes"`
	Packets    uint64     `json:"packets"`
	RemoteName string     `json:"remote_name"`
	Begun      *bool      `json:"begun_by_device"`
}

// parseFlows makes the payload of an observation of flows (abi.ObserveFlows).
func parseFlows(text string) ([]byte, error) {
	var list []flowJSON
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf(`%w; flows are [{"protocol": 6, "address": "192.0.2.1", "remote_port": 443}]`, err)
	}
	b := cbor.AppendArray(nil, len(list))
	for i := range list {
		b = list[i].append(b)
	}
	return b, nil
}

func (f *flowJSON) append(b []byte) []byte {
	n, items := 1, cbor.AppendUint(cbor.AppendUint(nil, 1), f.Direction)
	put := func(key, value uint64) {
		if value != 0 {
			n++
			items = cbor.AppendUint(cbor.AppendUint(items, key), value)
		}
	}
	put(2, f.Protocol)
	if f.Address.IsValid() {
		n++
		items = cbor.AppendBytes(cbor.AppendUint(items, 3), f.Address.AsSlice())
	}
	put(4, f.RemotePort)
	put(5, f.LocalPort)
	put(6, f.Bytes)
	put(7, f.Packets)
	if f.RemoteName != "" {
		n++
		items = cbor.AppendText(cbor.AppendUint(items, 8), f.RemoteName)
	}
	if f.Begun != nil {
		n++
		items = cbor.AppendBool(cbor.AppendUint(items, 9), *f.Begun)
	}
	return append(cbor.AppendMap(b, n), items...)
}
