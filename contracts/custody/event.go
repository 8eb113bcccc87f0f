package custody

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed79541315/postern/abi/cbor"
)

// eventTypes are the types of events, each with the fields that it has beside
// commonFields (EPCIS 2.0, section 7.4).
var eventTypes = map[string][]string{
	"ObjectEvent":         {"action", "epcList", "quantityList", "ilmd"},
	"AggregationEvent":    {"action", "parentID", "childEPCs", "childQuantityList"},
	"TransactionEvent":    {"action", "parentID", "epcList", "quantityList"},
	"TransformationEvent": {"transformationID", "inputEPCList", "inputQuantityList", "outputEPCList", "outputQuantityList", "ilmd"},
	"AssociationEvent":    {"action", "parentID", "childEPCs", "childQuantityList"},
}

var commonFields = []string{
	"@context", "type", "eventID", "eventTime", "recordTime", "eventTimeZoneOffset", "errorDeclaration", "certificationInfo",
	"bizStep", "disposition", "persistentDisposition", "readPoint", "bizLocation", "bizTransactionList", "sourceList",
	"destinationList", "sensorElementList",
}

// fieldKinds are what fields hold that this package does not look into.
var fieldKinds = map[string]string{
	"eventID": "text", "recordTime": "text", "bizStep": "text", "disposition": "text", "transformationID": "text",
	"readPoint": "an object", "bizLocation": "an object", "persistentDisposition": "an object", "errorDeclaration": "an object",
	"ilmd": "an object", "bizTransactionList": "an array", "sourceList": "an array", "destinationList": "an array",
	"sensorElementList": "an array",
}

// wellKnown are the prefixes of names that the context of EPCIS itself declares.
var wellKnown = []string{"cbv", "cbvmda", "dcterms", "epcis", "gs1", "owl", "rdf", "rdfs", "schema", "xsd"}

// epcisContext is where the context of EPCIS stands, in all its versions.
const epcisContext = "https://ref.gs1.org/standards/epcis/"

// declared are the prefixes that a context declares; nil where it names a
// document that may declare others.
func declared(context *node) map[string]bool {
	prefixes := map[string]bool{}
	for _, name := range wellKnown {
		prefixes[name] = true
	}
	if context == nil {
		return prefixes
	}
	parts := context.items
	if context.value != json.Delim('[') {
		parts = []*node{context}
	}
	for _, part := range parts {
		if url := part.text(); url != "" && !strings.HasPrefix(url, epcisContext) {
			return nil
		}
		for _, f := range part.fields {
			prefixes[f.name] = true
		}
	}
	return prefixes
}

// event reads one event.
func (p *parser) event(n *node, path string) Event {
	e := Event{Line: n.line}
	if n.value != json.Delim('{') {
		p.fail(n.line, path, "found %s, want an event", n.kind())
		return e
	}
	e.Type = n.field("type").text()
	own, ok := eventTypes[e.Type]
	if !ok {
		p.fail(n.line, join(path, "type"), "%q is no event of EPCIS 2.0; there are %s", e.Type, strings.Join(slices.Sorted(maps.Keys(eventTypes)), ", "))
		return e
	}
	p.fields(n, path, own)
	p.times(n, path)
	r := &eventReader{p: p, n: n, path: path}
	e.Effect, e.Lists = r.read(e.Type)
	r.check(&e.Lists)
	content := p.encode(p.src[n.start:n.end], n.line, path)
	p.noPersons(content, n.line, path)
	e.Content = p.stored(content, n.line, path, "the event")
	if p.key != nil {
		e.Lists.disguise(p.key)
	}
	return e
}

// fields refuses fields that are neither of the event's type nor extensions, and
// those that hold something else than they should.
func (p *parser) fields(n *node, path string, own []string) {
	prefixes := p.prefixesOf(n)
	for _, f := range n.fields {
		switch {
		case !strings.Contains(f.name, ":"):
			if !slices.Contains(own, f.name) && !slices.Contains(commonFields, f.name) {
				p.fail(f.line, join(path, f.name), "no such field in this event; an extension's name has a prefix")
			}
		case prefixes != nil && !prefixes[f.name[:strings.IndexByte(f.name, ':')]] && !strings.Contains(f.name, "://"):
			p.fail(f.line, join(path, f.name), "@context does not declare the prefix %s", f.name[:strings.IndexByte(f.name, ':')])
		}
		if want := fieldKinds[f.name]; want != "" && f.node.kind() != want {
			p.fail(f.node.line, join(path, f.name), "found %s, want %s", f.node.kind(), want)
		}
	}
}

// prefixesOf are the prefixes that an event's names may have: those of the
// document, and of its own context.
func (p *parser) prefixesOf(n *node) map[string]bool {
	context := n.field("@context")
	if context == nil || p.prefixes == nil {
		return p.prefixes
	}
	own := declared(context)
	if own != nil {
		maps.Copy(own, p.prefixes)
	}
	return own
}

var zoneOffset = regexp.MustCompile(`^[+-](0\d|1[0-4]):[0-5]\d$`)

// times checks when the event was: EPCIS 2.0, section 7.4.1.
func (p *parser) times(n *node, path string) {
	for _, name := range []string{"eventTime", "eventTimeZoneOffset"} {
		f := n.field(name)
		if f == nil {
			p.fail(n.line, join(path, name), "the field is missing")
			continue
		}
		_, err := time.Parse(time.RFC3339Nano, f.text())
		if name == "eventTime" && err != nil {
			p.fail(f.line, join(path, name), "%q is no time such as 2026-01-05T08:00:00.000Z", f.text())
		}
		if name != "eventTime" && !zoneOffset.MatchString(f.text()) {
			p.fail(f.line, join(path, name), "%q is no offset such as +01:00", f.text())
		}
	}
}

// eventReader finds out what an event does to which items.
type eventReader struct {
	p    *parser
	n    *node
	path string
}

func (r *eventReader) read(kind string) (Effect, Lists) {
	if r.n.field("errorDeclaration") != nil { // what another event did stays done
		return Observe, Lists{}
	}
	switch kind {
	case "ObjectEvent":
		return r.object()
	case "TransformationEvent":
		return r.transformation()
	case "TransactionEvent":
		r.action()
		return Observe, Lists{Container: r.id("parentID"), Items: r.ids("epcList")}
	}
	return r.aggregation()
}

func (r *eventReader) action() string {
	f := r.n.field("action")
	action := f.text()
	if f == nil || !slices.Contains([]string{"ADD", "OBSERVE", "DELETE"}, action) {
		r.p.fail(r.n.line, join(r.path, "action"), "want ADD, OBSERVE or DELETE, found %q", action)
	}
	return action
}

func (r *eventReader) object() (Effect, Lists) {
	action := r.action()
	if r.n.field("epcList") == nil && r.n.field("quantityList") == nil {
		r.p.fail(r.n.line, r.path, "has neither epcList nor quantityList")
	}
	switch action {
	case "ADD":
		return Make, Lists{Outputs: r.outputs("epcList", "quantityList")}
	case "DELETE":
		return Destroy, Lists{Inputs: r.inputs("epcList", "quantityList")}
	}
	r.quantities("quantityList")
	return Observe, Lists{Items: r.ids("epcList")}
}

// aggregation reads what is packed; quantities of a class move nothing.
func (r *eventReader) aggregation() (Effect, Lists) {
	action := r.action()
	l := Lists{Container: r.id("parentID"), Items: r.ids("childEPCs")}
	quantities := r.quantities("childQuantityList")
	if action != "OBSERVE" && l.Container == "" {
		r.p.fail(r.n.line, join(r.path, "parentID"), "the field is missing")
	}
	switch {
	case action == "ADD" && len(l.Items) > 0:
		return Pack, l
	case action == "DELETE" && (len(l.Items) > 0 || len(quantities) == 0):
		return Unpack, l
	}
	return Observe, l
}

// transformation reads what is used up and made. Where one transformation is told
// by several events, some have inputs only and some outputs only.
func (r *eventReader) transformation() (Effect, Lists) {
	l := Lists{Inputs: r.inputs("inputEPCList", "inputQuantityList"), Outputs: r.outputs("outputEPCList", "outputQuantityList")}
	switch {
	case len(l.Inputs) == 0 && len(l.Outputs) == 0:
		r.p.fail(r.n.line, r.path, "has neither inputs nor outputs")
	case len(l.Inputs) == 0:
		return Make, l
	case len(l.Outputs) == 0:
		return Destroy, l
	}
	return Transform, l
}

// id reads one item's id.
func (r *eventReader) id(name string) string {
	f := r.n.field(name)
	if f == nil {
		return ""
	}
	return r.idOf(f, join(r.path, name))
}

func (r *eventReader) idOf(n *node, path string) string {
	id := n.text()
	switch {
	case id == "":
		r.p.fail(n.line, path, "found %s, want an item's id", n.kind())
	case len(id) > MaxID || strings.ContainsRune(id, 0):
		r.p.fail(n.line, path, "an item's id has at most %d bytes, none of them zero", MaxID)
	}
	return id
}

func (r *eventReader) list(name string) []*node {
	f := r.n.field(name)
	if f == nil {
		return nil
	}
	if f.value != json.Delim('[') {
		r.p.fail(f.line, join(r.path, name), "found %s, want an array", f.kind())
	}
	return f.items
}

func (r *eventReader) ids(name string) (ids []string) {
	for i, item := range r.list(name) {
		ids = append(ids, r.idOf(item, join(r.path, name)+"["+strconv.Itoa(i)+"]"))
	}
	return ids
}

// quantities reads a list of quantities of classes: {epcClass, quantity, uom}.
func (r *eventReader) quantities(name string) (list []New) {
	for i, item := range r.list(name) {
		path := join(r.path, name) + "[" + strconv.Itoa(i) + "]"
		if item.value != json.Delim('{') {
			r.p.fail(item.line, path, "found %s, want an object", item.kind())
			continue
		}
		class := item.field("epcClass")
		if class == nil {
			r.p.fail(item.line, join(path, "epcClass"), "the field is missing")
			continue
		}
		q := New{ID: r.idOf(class, join(path, "epcClass"))}
		q.Class, q.Lot = classOf(q.ID)
		if f := item.field("quantity"); f != nil {
			q.Quantity = r.quantity(f, join(path, "quantity"))
		}
		if f := item.field("uom"); f != nil {
			if q.Unit = f.text(); q.Unit == "" || len(q.Unit) > maxUnit || q.Quantity == nil {
				r.p.fail(f.line, join(path, "uom"), "want the unit of a quantity, of at most %d letters", maxUnit)
			}
		}
		list = append(list, q)
	}
	return list
}

// quantity reads a number above 0 with at most 6 decimal places, as the contract
// wants it.
func (r *eventReader) quantity(n *node, path string) *cbor.Decimal {
	number, _ := n.value.(json.Number)
	d, err := cbor.ParseDecimal(number.String())
	if err != nil || d.Mantissa <= 0 || d.Exponent < -6 || d.Exponent == 0 && d.Mantissa > 1_000_000_000_000 {
		r.p.fail(n.line, path, "want a number above 0, at most 10^12, with at most 6 decimal places")
		return nil
	}
	return &d
}

// outputs are the items and batches that an event makes.
func (r *eventReader) outputs(epcs, quantities string) (list []New) {
	lot := r.lot()
	for _, id := range r.ids(epcs) {
		n := New{ID: id, Lot: lot}
		if n.Class, _ = classOf(id); n.Class == "" {
			n.Lot = ""
		}
		list = append(list, n)
	}
	return append(list, r.quantities(quantities)...)
}

func (r *eventReader) inputs(epcs, quantities string) (list []Use) {
	for _, id := range r.ids(epcs) {
		list = append(list, Use{ID: id})
	}
	for _, q := range r.quantities(quantities) {
		list = append(list, Use{q.ID, q.Quantity})
	}
	return list
}

// lot is the lot that instance or lot master data name (CBV 2.0, section 9.3.1).
func (r *eventReader) lot() string {
	ilmd := r.n.field("ilmd")
	if ilmd == nil {
		return ""
	}
	lot := ilmd.field("cbvmda:lotNumber")
	if len(lot.text()) > maxLot {
		r.p.fail(lot.line, join(r.path, "ilmd.cbvmda:lotNumber"), "a lot has at most %d bytes", maxLot)
	}
	return lot.text()
}

// check refuses lists that the contract would.
func (r *eventReader) check(l *Lists) {
	ids := slices.Clone(l.Items)
	for _, input := range l.Inputs {
		ids = append(ids, input.ID)
	}
	made := len(ids)
	for _, output := range l.Outputs {
		ids = append(ids, output.ID)
	}
	if max(made, len(ids)-made) > MaxItems {
		r.p.fail(r.n.line, r.path, "is about %d items; an event here is about %d at most: split it", len(ids), MaxItems)
		return
	}
	slices.Sort(ids)
	for i := 1; i < len(ids); i++ {
		if ids[i] == ids[i-1] && ids[i] != "" {
			r.p.fail(r.n.line, r.path, "%s is listed twice", ids[i])
			return
		}
	}
}
