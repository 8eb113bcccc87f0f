package access

import (
	"bytes"
	"fmt"
	"slices"
)

// Finding is something in a document that is allowed, but hardly meant.
type Finding struct {
	Line int // 0 when the document was not parsed from text
	Rule string
	Text string
}

func (f Finding) String() string {
	if f.Line == 0 {
		return fmt.Sprintf("rule %q %s", f.Rule, f.Text)
	}
	return fmt.Sprintf("line %d: rule %q %s", f.Line, f.Rule, f.Text)
}

// checker collects findings about one document.
type checker struct {
	doc      *Document
	entities map[Ref]bool
	roles    map[string]bool
	groups   map[Relation]bool
	names    map[string]bool // of relations
	findings []Finding
}

// Check looks for rules that repeat another, name roles, relations or
// entities that the document does not hold, or can never decide. What it finds
// may be right: entities are added later, and requests bring properties.
func (d *Document) Check() []Finding {
	c := &checker{
		doc: d, entities: map[Ref]bool{}, roles: map[string]bool{},
		groups: map[Relation]bool{}, names: map[string]bool{},
	}
	for _, e := range d.Entities {
		c.entities[e.Ref] = true
		for _, role := range e.Roles {
			c.roles[role] = true
		}
		for _, rel := range e.Relations {
			c.groups[rel], c.names[rel.Name] = true, true
		}
	}
	for _, role := range d.Roles {
		for _, implied := range role.Implies {
			c.roles[implied] = true
		}
	}
	for i := range d.Rules {
		c.references(&d.Rules[i])
		c.reachable(i)
	}
	return c.findings
}

func (c *checker) report(r *Rule, format string, args ...any) {
	c.findings = append(c.findings, Finding{r.Line, r.ID, fmt.Sprintf(format, args...)})
}

// references reports names that nothing in the document bears.
func (c *checker) references(r *Rule) {
	for _, role := range r.SubjectRoles {
		if !c.roles[role] {
			c.report(r, "names the role %q, which no entity has", role)
		}
	}
	if r.Relation != "" && !c.names[r.Relation] {
		c.report(r, "needs the relation %q, which no entity has", r.Relation)
	}
	for _, g := range r.Groups {
		if !c.groups[g] {
			c.report(r, "names %q to %s %q, which no entity has", g.Name, g.To.Type, g.To.ID)
		}
	}
	for _, id := range r.ResourceIDs {
		if !c.entities[Ref{r.ResourceType, id}] {
			c.report(r, "names the %s %q, which is no entity", r.ResourceType, id)
		}
	}
	for _, id := range r.SubjectIDs {
		known := slices.ContainsFunc(r.SubjectTypes, func(kind string) bool { return c.entities[Ref{kind, id}] })
		if len(r.SubjectTypes) > 0 && !known {
			c.report(r, "names the subject %q, which is no entity of its types", id)
		}
	}
}

// reachable reports a rule that repeats an earlier one, or that a rule without
// any test stands above.
func (c *checker) reachable(index int) {
	r := &c.doc.Rules[index]
	for i := range c.doc.Rules {
		other := &c.doc.Rules[i]
		if i == index || other.ResourceType != r.ResourceType || !covers(other.Actions, r.Actions) {
			continue
		}
		switch {
		case i < index && sameTests(other, r):
			c.report(r, "repeats rule %q", other.ID)
			return
		case !other.Permit && unconditional(other) && (r.Permit || i < index):
			c.report(r, "never decides: rule %q denies all that it concerns", other.ID)
			return
		case i < index && other.Permit && r.Permit && unconditional(other):
			c.report(r, "never decides: rule %q permits all that it concerns", other.ID)
			return
		}
	}
}

func covers(all, part []string) bool {
	return !slices.ContainsFunc(part, func(s string) bool { return !slices.Contains(all, s) })
}

// unconditional says whether a rule holds for all requests of its actions and
// resource type.
func unconditional(r *Rule) bool { return bytes.Equal(tests(r), tests(&Rule{Permit: r.Permit})) }

func sameTests(a, b *Rule) bool { return bytes.Equal(tests(a), tests(b)) }

// tests encodes effect and tests of a rule, without what only names it.
func tests(r *Rule) []byte {
	bare := *r
	bare.ID, bare.Reason, bare.Obligations, bare.TTL, bare.MaxStaleness = "", "", nil, 0, nil
	bare.BreakGlass = min(r.BreakGlass, 1) // that there is a glass, not for how long
	return appendBody(nil, &bare)
}
