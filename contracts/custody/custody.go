// Package custody brings EPCIS 2.0 documents (GS1 EPCIS and CBV 2.0, JSON-LD)
// into the custody contract and out of it again.
//
// A caller parses a document with [Parse], which says by line and field what is
// wrong, and brings it in with [Import], which may be broken off and called
// again. [Export], [ExportDocument] and [ExportItem] read it back. What comes out
// is the same JSON value as what went in: arrays in order, numbers exact, fields
// that the contract does not understand as they were.
//
// A ledger forgets nothing. An event that names a person is refused in clear;
// with a [Key], which the parties share outside of the ledger, contents are
// sealed and persons get pseudonyms. What else is personal or secret in a
// document, only the caller knows.
package custody

import (
	"crypto/sha256"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Limits of the contract.
const (
	// MaxContent is how many bytes an event's canonical CBOR may take, or that of
	// a document without its events; sealed they take 28 more.
	MaxContent = 15_000
	// MaxItems is how many items one event may be about.
	MaxItems = 60
	// MaxID is how many bytes an item's id has at most.
	MaxID = 160
	// maxLot bounds a lot, maxUnit a unit.
	maxLot, maxUnit = 64, 8
)

// Effect is what an event does to the items that it is about.
type Effect uint8

// Effects of events.
const (
	Observe Effect = iota
	Make
	Destroy
	Pack
	Unpack
	Transform
)

// String names the effect as the contract's schema does.
func (e Effect) String() string {
	return [...]string{"observe", "make", "destroy", "pack", "unpack", "transform"}[e]
}

// New is an item that an event makes; a batch where it has a quantity.
type New struct {
	ID, Class, Lot string
	Quantity       *cbor.Decimal
	Unit           string
}

// Use is an item that an event uses up or destroys, or a quantity of a batch.
type Use struct {
	ID       string
	Quantity *cbor.Decimal
}

// Lists are the items that an event is about.
type Lists struct {
	Container string
	Items     []string
	Inputs    []Use
	Outputs   []New
}

// Operations and queries of the contract that documents need.
const (
	opDocument = 18
	opTake     = 19

	askChain     = 2
	askEvent     = 10
	askEvents    = 11
	askContent   = 12
	askDocument  = 13
	askDocuments = 14
	askHeader    = 15
	askPlaces    = 16
)

func message(op uint64, fields int) []byte {
	return cbor.AppendUint(cbor.AppendArray(nil, 1+fields), op)
}

// appendField appends a text under a record's key where there is one.
func appendField(b []byte, key uint64, text string) []byte {
	if text == "" {
		return b
	}
	return cbor.AppendText(cbor.AppendUint(b, key), text)
}

func countTexts(texts ...string) (n int) {
	for _, text := range texts {
		if text != "" {
			n++
		}
	}
	return n
}

// Append appends the lists as the contract reads them.
func (l *Lists) Append(b []byte) []byte {
	b = cbor.AppendMap(b, 3+countTexts(l.Container))
	b = appendField(b, 1, l.Container)
	b = cbor.AppendArray(cbor.AppendUint(b, 2), len(l.Items))
	for _, item := range l.Items {
		b = cbor.AppendText(b, item)
	}
	b = cbor.AppendArray(cbor.AppendUint(b, 3), len(l.Inputs))
	for _, input := range l.Inputs {
		b = appendQuantity(cbor.AppendText(cbor.AppendArray(b, 2), input.ID), input.Quantity)
	}
	b = cbor.AppendArray(cbor.AppendUint(b, 4), len(l.Outputs))
	for i := range l.Outputs {
		b = l.Outputs[i].append(b)
	}
	return b
}

func appendQuantity(b []byte, quantity *cbor.Decimal) []byte {
	if quantity == nil {
		return cbor.AppendNull(b)
	}
	return cbor.AppendDecimal(b, *quantity)
}

func (n *New) append(b []byte) []byte {
	fields := countTexts(n.ID, n.Class, n.Lot, n.Unit)
	if n.Quantity != nil {
		fields++
	}
	b = appendField(cbor.AppendMap(b, fields), 1, n.ID)
	b = appendField(appendField(b, 2, n.Class), 3, n.Lot)
	if n.Quantity != nil {
		b = cbor.AppendDecimal(cbor.AppendUint(b, 4), *n.Quantity)
	}
	return appendField(b, 5, n.Unit)
}

// digest is what the contract keeps of the lists.
func (l *Lists) digest() abi.Hash { return sha256.Sum256(l.Append(nil)) }

// Begin is the message that begins the document.
func (d *Document) Begin() []byte {
	b := cbor.AppendBytes(message(opDocument, 4), d.ID[:])
	b = cbor.AppendBool(cbor.AppendBytes(b, d.Header), d.Sealed)
	return cbor.AppendUint(b, uint64(len(d.Events)))
}

// Take is the message that brings the i-th event in.
func (d *Document) Take(i int) []byte {
	e := &d.Events[i]
	b := cbor.AppendBool(cbor.AppendBytes(message(opTake, 5), e.Content), d.Sealed)
	b = e.Lists.Append(cbor.AppendUint(b, uint64(e.Effect)))
	if d.Bare() {
		return cbor.AppendNull(b)
	}
	b = cbor.AppendBytes(cbor.AppendArray(b, 2), d.ID[:])
	return cbor.AppendUint(b, uint64(i+1))
}

// ID is the name under which the contract knows the event.
func (e *Event) ID() abi.Hash { return sha256.Sum256(e.Content) }

// Bare says that there is one event alone, and no document around it.
func (d *Document) Bare() bool { return d.Header == nil }

// Mistake is what is wrong with a document, and where.
type Mistake struct {
	Line  int
	Field string // such as epcisBody.eventList[2].action
	Text  string
}

func (m *Mistake) Error() string {
	if m.Field == "" {
		return fmt.Sprintf("line %d: %s", m.Line, m.Text)
	}
	return fmt.Sprintf("line %d: %s: %s", m.Line, m.Field, m.Text)
}
