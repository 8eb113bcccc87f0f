package custody

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// ErrIncomplete is returned for a document of which not all events are there.
var ErrIncomplete = errors.New("the document is not there in full")

// ExportDocument gives a document back as it was brought in, as JSON. It checks
// that the document is what its id says, and that each event did what it says.
func ExportDocument(ask Ask, id abi.Hash, key *Key) ([]byte, error) {
	d, err := documentOf(ask, id)
	if err != nil {
		return nil, err
	}
	places, err := placesOf(ask, id, d.count)
	if err != nil {
		return nil, err
	}
	if uint64(len(places)) != d.count {
		return nil, fmt.Errorf("document %x: %d of %d events: %w", id[:4], len(places), d.count, ErrIncomplete)
	}
	events := make([][]byte, d.count)
	for place, number := range places {
		e, err := eventOf(ask, number)
		if err == nil {
			events[place-1], err = contentOf(ask, e, key)
		}
		if err != nil {
			return nil, err
		}
	}
	header, err := headerOf(ask, id, d.sealed, key)
	if err != nil {
		return nil, err
	}
	whole, err := withEvents(header, events)
	if err != nil {
		return nil, err
	}
	if own := sha256.Sum256(whole); !d.sealed && own != id || d.sealed && key.name(whole) != id {
		return nil, fmt.Errorf("document %x is not what its id says: %w", id[:4], ErrForm)
	}
	return cbor.AppendAsJSON(nil, whole)
}

func headerOf(ask Ask, id abi.Hash, sealed bool, key *Key) (header []byte, err error) {
	_, err = answer(ask, cbor.AppendBytes(message(askHeader, 1), id[:]), func(r *cbor.Reader) { header = r.Bytes() })
	if err == nil && sealed {
		header, err = key.open(header)
	}
	return header, err
}

// withEvents puts events into the empty list of a document's header.
func withEvents(header []byte, events [][]byte) ([]byte, error) {
	list := cbor.AppendArray(nil, len(events))
	for _, e := range events {
		list = append(list, e...)
	}
	whole, found, err := replaced(header, list, []string{"epcisBody", "queryResults", "resultsBody"})
	if err == nil && !found {
		err = fmt.Errorf("a header without a list of events: %w", ErrForm)
	}
	return whole, err
}

// replaced puts a list in place of the map's eventList, in the map itself or in
// those that the fields of a path hold, whichever has it first.
func replaced(m, list []byte, path []string) (out []byte, found bool, err error) {
	r := cbor.NewReader(m)
	pairs := r.Map()
	out = cbor.AppendMap(nil, pairs)
	for ; pairs > 0 && r.Err() == nil; pairs-- {
		name := r.Text()
		value := r.Raw()
		switch {
		case r.Err() != nil:
		case name == "eventList" && !found:
			value, found = list, true
		case len(path) > 0 && name == path[0] && !found:
			if value, found, err = replaced(value, list, path[1:]); err != nil {
				return nil, false, err
			}
		}
		out = append(cbor.AppendText(out, name), value...)
	}
	return out, found, r.Done()
}

// Export hands each document to each, in the order in which they were begun, then
// the events that came alone. Documents that are not there in full are passed
// over, and so is what is false or sealed with another key: the error, which comes
// at the end, joins what is wrong with them.
func Export(ask Ask, key *Key, each func(document []byte) error) error {
	var ids []abi.Hash
	err := numbered(ask, func(after uint64) []byte {
		return cbor.AppendUint(cbor.AppendUint(message(askDocuments, 2), after), pageLimit)
	}, func(_ uint64, r *cbor.Reader) { ids = append(ids, readHash(r)) })
	if err != nil {
		return err
	}
	var wrong wrongs
	for _, id := range ids {
		text, err := ExportDocument(ask, id, key)
		if err := wrong.or(text, err, each); err != nil {
			return err
		}
	}
	if err := exportBare(ask, key, &wrong, each); err != nil {
		return err
	}
	return errors.Join(wrong.errs...)
}

// wrongs gathers what is wrong with contents, 20 at most, so that one does not
// stand in the way of all others.
type wrongs struct{ errs []error }

// or hands a text on, or keeps what is wrong with it. Other errors it gives back.
func (w *wrongs) or(text []byte, err error, each func([]byte) error) error {
	switch {
	case err == nil:
		return each(text)
	case errors.Is(err, ErrIncomplete):
	case errors.Is(err, ErrForm), errors.Is(err, ErrUnfaithful), errors.Is(err, ErrSealed):
		if len(w.errs) < maxMistakes {
			w.errs = append(w.errs, err)
		}
	default:
		return err
	}
	return nil
}

func exportBare(ask Ask, key *Key, wrong *wrongs, each func(document []byte) error) error {
	var bare []*storedEvent
	err := numbered(ask, func(after uint64) []byte {
		return cbor.AppendUint(cbor.AppendUint(message(askEvents, 2), after), pageLimit)
	}, func(number uint64, r *cbor.Reader) {
		if e := readEvent(number, r); e.document == nil {
			bare = append(bare, e)
		}
	})
	if err != nil {
		return err
	}
	for _, e := range bare {
		text, err := textOf(ask, e, key)
		if err := wrong.or(text, err, each); err != nil {
			return err
		}
	}
	return nil
}

// textOf is an event as JSON.
func textOf(ask Ask, e *storedEvent, key *Key) ([]byte, error) {
	content, err := contentOf(ask, e, key)
	if err != nil {
		return nil, err
	}
	return cbor.AppendAsJSON(nil, content)
}

// ExportItem gives the events of an item's life as one document. Where they came
// in documents of different contexts, each has its own.
func ExportItem(ask Ask, item string, key *Key) ([]byte, error) {
	numbers, err := eventsOf(ask, item)
	if err != nil {
		return nil, err
	}
	if len(numbers) == 0 {
		return nil, fmt.Errorf("%s: no event about it was taken in: %w", item, ErrNotThere)
	}
	x := exporter{ask: ask, key: key, contexts: map[abi.Hash]json.RawMessage{}}
	for _, number := range numbers {
		if err := x.add(number); err != nil {
			return nil, err
		}
	}
	return x.document()
}

// eventsOf are the numbers of the events in an item's life, in order.
func eventsOf(ask Ask, item string) (numbers []uint64, err error) {
	err = numbered(ask, func(after uint64) []byte {
		b := cbor.AppendText(message(askChain, 3), item)
		return cbor.AppendUint(cbor.AppendUint(b, after), pageLimit)
	}, func(_ uint64, r *cbor.Reader) {
		for f := r.Fields(); f.Next(); {
			if f.Key() == 9 {
				numbers = append(numbers, r.Uint())
			} else {
				r.Skip()
			}
		}
	})
	slices.Sort(numbers)
	return slices.Compact(numbers), err
}

// exporter gathers events of several documents.
type exporter struct {
	ask      Ask
	key      *Key
	contexts map[abi.Hash]json.RawMessage // by document
	events   []map[string]json.RawMessage
	own      []json.RawMessage // each event's context
	newest   int64
}

func (x *exporter) add(number uint64) error {
	e, err := eventOf(x.ask, number)
	if err != nil {
		return err
	}
	text, err := textOf(x.ask, e, x.key)
	if err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	context := fields["@context"]
	if context == nil && e.document != nil {
		if context, err = x.context(*e.document, e.sealed); err != nil {
			return err
		}
	}
	x.events, x.own, x.newest = append(x.events, fields), append(x.own, context), max(x.newest, e.time)
	return nil
}

// context is what a document declares for its events.
func (x *exporter) context(id abi.Hash, sealed bool) (json.RawMessage, error) {
	if context, ok := x.contexts[id]; ok {
		return context, nil
	}
	header, err := headerOf(x.ask, id, sealed, x.key)
	if err != nil {
		return nil, err
	}
	text, err := cbor.AppendAsJSON(nil, header)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	x.contexts[id] = fields["@context"]
	return fields["@context"], nil
}

func (x *exporter) document() ([]byte, error) {
	shared := x.own[0]
	if slices.ContainsFunc(x.own, func(c json.RawMessage) bool { return string(c) != string(shared) }) || shared == nil {
		shared = json.RawMessage(`"` + epcisContext + `2.0.0/epcis-context.jsonld"`)
		for i, context := range x.own {
			if context != nil {
				x.events[i]["@context"] = context
			}
		}
	}
	return json.Marshal(map[string]any{
		"@context": shared, "type": "EPCISDocument", "schemaVersion": "2.0",
		"creationDate": time.UnixMilli(x.newest).UTC().Format("2006-01-02T15:04:05.000Z"),
		"epcisBody":    map[string]any{"eventList": x.events},
	})
}
