package custody

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// MaxDocument is how many bytes of a document are read: tens of thousands of
// events. Longer ones are split by whoever writes them.
const MaxDocument = 64 << 20

// maxMistakes is how many mistakes one parse reports.
const maxMistakes = 20

// Document is an EPCIS document, or one event alone, ready to be brought in.
type Document struct {
	// ID is SHA-256 of the whole document's canonical CBOR; of a sealed one an
	// HMAC, that nobody can guess who has not the key.
	ID abi.Hash
	// Header is the document without its events as canonical CBOR, sealed where
	// the document is; nil where there is one event alone.
	Header []byte
	Sealed bool
	Events []Event
}

// Event is one event of a document.
type Event struct {
	Line    int
	Type    string // such as ObjectEvent
	Content []byte // canonical CBOR, sealed where the document is
	Effect  Effect
	Lists   Lists
}

// Parse reads an EPCIS document or a single event, in JSON-LD. Without a key an
// event that names a person is refused. The error joins a *Mistake for each thing
// that is wrong, 20 at most.
func Parse(src []byte, key *Key) (*Document, error) {
	if len(src) > MaxDocument {
		return nil, fmt.Errorf("a document of %d bytes; at most %d are read", len(src), MaxDocument)
	}
	root, err := parseTree(src)
	if err != nil {
		return nil, err
	}
	p := &parser{src: src, key: key}
	d := p.document(root)
	if len(p.mistakes) > 0 {
		return nil, errors.Join(p.mistakes...)
	}
	return d, nil
}

// parser reads events out of a tree and collects mistakes.
type parser struct {
	src      []byte
	key      *Key
	prefixes map[string]bool // that names may have; nil: any
	mistakes []error
}

func (p *parser) fail(line int, path, format string, args ...any) {
	if len(p.mistakes) < maxMistakes {
		p.mistakes = append(p.mistakes, &Mistake{line, path, fmt.Sprintf(format, args...)})
	}
}

// encode is the canonical CBOR of a JSON text within the document.
func (p *parser) encode(text []byte, line int, path string) []byte {
	b, err := cbor.AppendJSON(nil, text)
	if err != nil {
		p.fail(line, path, "%v", err)
	}
	return b
}

// stored is how a content lies on the ledger.
func (p *parser) stored(content []byte, line int, path, what string) []byte {
	if p.key != nil {
		content = p.key.seal(content)
	}
	if len(content) > MaxContent {
		p.fail(line, path, "%s takes %d bytes; at most %d have room on the ledger", what, len(content), MaxContent)
	}
	return content
}

func (p *parser) document(root *node) *Document {
	d := &Document{Sealed: p.key != nil}
	if root.value != json.Delim('{') {
		p.fail(root.line, "", "found %s, want an EPCIS document or event", root.kind())
		return d
	}
	p.prefixes = declared(root.field("@context"))
	if _, ok := eventTypes[root.field("type").text()]; ok {
		d.Events = append(d.Events, p.event(root, ""))
		return d
	}
	list, path := p.eventList(root)
	if list == nil {
		return d
	}
	whole := p.encode(p.src, root.line, "")
	head := slices.Concat(p.src[:list.start], []byte("[]"), p.src[list.end:])
	header := p.encode(head, root.line, "")
	d.Header = p.stored(header, root.line, "", "the document without its events")
	p.noPersons(header, root.line, "the document")
	d.ID = sha256.Sum256(whole)
	if p.key != nil {
		d.ID = p.key.name(whole)
	}
	for i, item := range list.items {
		d.Events = append(d.Events, p.event(item, path+"["+strconv.Itoa(i)+"]"))
	}
	return d
}

// Documents hold their events in one of two places (EPCIS 2.0, section 9.5): that
// of a document, and that of the answer to a query.
var bodies = map[string][]string{
	"EPCISDocument":      {"epcisBody", "eventList"},
	"EPCISQueryDocument": {"epcisBody", "queryResults", "resultsBody", "eventList"},
}

func (p *parser) eventList(root *node) (*node, string) {
	kind := root.field("type").text()
	steps, ok := bodies[kind]
	if !ok {
		p.fail(root.line, "type", "%q is neither a document nor an event of EPCIS 2.0", kind)
		return nil, ""
	}
	if version := root.field("schemaVersion").text(); version != "2.0" {
		p.fail(root.line, "schemaVersion", "want \"2.0\", found %q", version)
	}
	if root.field("@context") == nil {
		p.fail(root.line, "@context", "the field is missing")
	}
	at, path := root, ""
	for _, step := range steps {
		path = join(path, step)
		if at = at.field(step); at == nil {
			p.fail(root.line, path, "the field is missing")
			return nil, ""
		}
	}
	if at.value != json.Delim('[') || len(at.items) == 0 || len(at.items) > 1<<16 {
		p.fail(at.line, path, "want an array of 1 to 65536 events")
		return nil, ""
	}
	return at, path
}
