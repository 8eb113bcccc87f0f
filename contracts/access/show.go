package access

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/seed79541315/postern/abi/cbor"
)

// The types below give JSON its field order.

type documentJSON struct {
	Title    string       `json:"title,omitempty"`
	Roles    orderedRoles `json:"roles,omitempty"`
	Entities []entityJSON `json:"entities,omitempty"`
	Rules    []ruleJSON   `json:"rules"`
}

type entityJSON struct {
	Type       string          `json:"type"`
	ID         string          `json:"id"`
	Roles      []string        `json:"roles,omitempty"`
	Properties json.RawMessage `json:"properties,omitempty"`
	Relations  orderedRefs     `json:"relations,omitempty"`
	Owner      string          `json:"owner,omitempty"`
}

type refJSON struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

type ruleJSON struct {
	ID           string          `json:"id"`
	Description  string          `json:"description,omitempty"`
	Effect       string          `json:"effect"`
	Actions      []string        `json:"actions"`
	Resource     resourceJSON    `json:"resource"`
	Subject      *subjectJSON    `json:"subject,omitempty"`
	Relation     string          `json:"relation,omitempty"`
	Through      *throughJSON    `json:"through,omitempty"`
	When         json.RawMessage `json:"when,omitempty"`
	Hours        *hoursJSON      `json:"hours,omitempty"`
	Reason       string          `json:"reason,omitempty"`
	Obligations  json.RawMessage `json:"obligations,omitempty"`
	TTL          uint64          `json:"ttl_ms,omitempty"`
	MaxStaleness *uint64         `json:"max_staleness_ms,omitempty"`
	BreakGlass   uint64          `json:"break_glass_ms,omitempty"`
}

type throughJSON struct {
	Subject  string `json:"subject,omitempty"`
	Resource string `json:"resource,omitempty"`
}

// orderedRoles writes roles as an object in their order.
type orderedRoles []Role

func (list orderedRoles) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, role := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, quote(role.Name)...), ':')
		implies, err := json.Marshal(role.Implies)
		if err != nil {
			return nil, err
		}
		b = append(b, implies...)
	}
	return append(b, '}'), nil
}

type resourceJSON struct {
	Type string   `json:"type"`
	IDs  []string `json:"ids,omitempty"`
}

type subjectJSON struct {
	Types  []string    `json:"types,omitempty"`
	IDs    []string    `json:"ids,omitempty"`
	Roles  []string    `json:"roles,omitempty"`
	Groups orderedRefs `json:"groups,omitempty"`
}

type hoursJSON struct {
	Zone string   `json:"zone"`
	Days []string `json:"days,omitempty"`
	From string   `json:"from"`
	To   string   `json:"to"`
}

// orderedRefs writes relations as an object in the order of their names'
// first use, which a Go map would lose.
type orderedRefs []Relation

func (list orderedRefs) MarshalJSON() ([]byte, error) {
	var names []string
	refs := map[string][]refJSON{}
	for _, rel := range list {
		if !slices.Contains(names, rel.Name) {
			names = append(names, rel.Name)
		}
		refs[rel.Name] = append(refs[rel.Name], refJSON(rel.To))
	}
	b := []byte{'{'}
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, quote(name)...), ':')
		encoded, err := json.Marshal(refs[name])
		if err != nil {
			return nil, err
		}
		b = append(b, encoded...)
	}
	return append(b, '}'), nil
}

// JSON writes the document as ParseDocument reads it, indented.
func (d *Document) JSON() ([]byte, error) {
	out := documentJSON{Title: d.Title, Roles: d.Roles, Rules: []ruleJSON{}}
	for i := range d.Entities {
		e, err := d.Entities[i].json()
		if err != nil {
			return nil, fmt.Errorf("entity %s %q: %w", d.Entities[i].Type, d.Entities[i].ID, err)
		}
		out.Entities = append(out.Entities, e)
	}
	for i := range d.Rules {
		r, err := d.Rules[i].json()
		if err != nil {
			return nil, fmt.Errorf("rule %q: %w", d.Rules[i].ID, err)
		}
		out.Rules = append(out.Rules, r)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(&out)
	return b.Bytes(), err
}

func (e *Entity) json() (entityJSON, error) {
	out := entityJSON{Type: e.Type, ID: e.ID, Roles: e.Roles, Relations: e.Relations, Owner: e.Owner}
	var err error
	out.Properties, err = itemJSON(e.Properties)
	return out, err
}

func (r *Rule) json() (ruleJSON, error) {
	out := ruleJSON{
		ID: r.ID, Description: r.Description, Effect: "deny", Actions: r.Actions,
		Resource: resourceJSON{r.ResourceType, r.ResourceIDs},
		Relation: r.Relation, Hours: r.Hours.json(), Reason: r.Reason,
		TTL: r.TTL, MaxStaleness: r.MaxStaleness, BreakGlass: r.BreakGlass,
	}
	if r.Through != (Through{}) {
		out.Through = &throughJSON{r.Through.Subject, r.Through.Resource}
	}
	if r.Permit {
		out.Effect = "permit"
	}
	if len(r.SubjectTypes)+len(r.SubjectIDs)+len(r.SubjectRoles)+len(r.Groups) > 0 {
		out.Subject = &subjectJSON{r.SubjectTypes, r.SubjectIDs, r.SubjectRoles, r.Groups}
	}
	var err error
	if out.Obligations, err = itemJSON(r.Obligations); err != nil {
		return out, err
	}
	if r.When != nil {
		out.When, err = r.When.appendJSON(nil)
	}
	return out, err
}

func (h *Hours) json() *hoursJSON {
	if h == nil {
		return nil
	}
	clock := func(m int) string { return fmt.Sprintf("%02d:%02d", m/60, m%60) }
	out := &hoursJSON{Zone: h.Zone, From: clock(h.From), To: clock(h.To)}
	for day, name := range dayNames {
		if h.Days != everyDay && h.Days>>day&1 == 1 {
			out.Days = append(out.Days, name)
		}
	}
	return out
}

func (c *Condition) appendJSON(b []byte) ([]byte, error) {
	b = append(append(b, '{'), quote(c.Op)...)
	b = append(b, ':')
	var err error
	switch c.Op {
	case "all", "any":
		b, err = appendTermsJSON(b, c.Terms)
	case "not":
		if len(c.Terms) != 1 {
			return nil, errUnknownForm
		}
		b, err = c.Terms[0].appendJSON(b)
	case "exists":
		b = append(b, quote(joinPath(c.Left.Path))...)
	default:
		b, err = c.appendComparisonJSON(b)
	}
	return append(b, '}'), err
}

func appendTermsJSON(b []byte, terms []Condition) ([]byte, error) {
	b = append(b, '[')
	for i := range terms {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = terms[i].appendJSON(b); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func (c *Condition) appendComparisonJSON(b []byte) ([]byte, error) {
	if len(c.Left.Path) == 0 {
		return nil, fmt.Errorf("the left side of %s is no path", c.Op)
	}
	b = append(append(b, '['), quote(joinPath(c.Left.Path))...)
	b = append(b, ',')
	if len(c.Right.Path) > 0 {
		b = append(append(b, `{"path":`...), quote(joinPath(c.Right.Path))...)
		return append(b, "}]"...), nil
	}
	value, err := itemJSON(c.Right.Value)
	if err != nil {
		return nil, err
	}
	// A constant map might be taken for {"path": …} or {"value": …}.
	if bytes.HasPrefix(value, []byte("{")) {
		value = append(append([]byte(`{"value":`), value...), '}')
	}
	return append(append(b, value...), ']'), nil
}

// itemJSON writes an encoded item as JSON; nil gives nil.
func itemJSON(item []byte) (json.RawMessage, error) {
	if item == nil {
		return nil, nil
	}
	return cbor.AppendAsJSON(nil, item)
}

// quote writes text as JSON; any text marshals.
func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic("BUG: text does not marshal: " + err.Error())
	}
	return b
}
