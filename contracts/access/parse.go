package access

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/seed79541315/postern/abi/cbor"
)

// ParseDocument reads a policy document. The error joins a *Mistake for each
// thing that is wrong, up to 20.
func ParseDocument(src []byte) (*Document, error) {
	root, err := parseTree(src)
	if err != nil {
		return nil, err
	}
	r := &reader{}
	d := r.document(root)
	r.checkUnique(d)
	r.checkSizes(d)
	if len(r.mistakes) > 0 {
		return nil, errors.Join(r.mistakes...)
	}
	slices.SortStableFunc(d.Entities, compareEntities)
	return d, nil
}

// compareEntities orders entities as the contract's keys do.
func compareEntities(a, b Entity) int {
	if len(a.Type) != len(b.Type) {
		return len(a.Type) - len(b.Type)
	}
	if c := strings.Compare(a.Type, b.Type); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}

func (r *reader) document(root *node) *Document {
	d := &Document{}
	zones := map[string]Zone{}
	r.object(root, "", map[string]func(*node, string){
		"title": r.text(MaxTitle, &d.Title),
		"roles": func(n *node, path string) { d.Roles = r.roles(n, path) },
		"entities": func(n *node, path string) {
			r.all(n, path, func(n *node, path string) { d.Entities = append(d.Entities, r.entity(n, path)) })
		},
		"rules": func(n *node, path string) {
			r.all(n, path, func(n *node, path string) { d.Rules = append(d.Rules, r.rule(n, path, zones)) })
		},
	})
	r.need(root, "", "rules")
	if len(zones) > MaxZones {
		r.fail(root.line, "rules", "hours name %d time zones, want at most %d", len(zones), MaxZones)
	}
	for _, name := range sortedKeys(zones) {
		d.Zones = append(d.Zones, zones[name])
	}
	return d
}

// roles reads {"admin": ["editor"]}.
func (r *reader) roles(n *node, path string) []Role {
	if n.value != json.Delim('{') {
		r.fail(n.line, path, "found %s, want an object", n.kind())
		return nil
	}
	var list []Role
	implied := 0
	for _, f := range n.fields {
		if f.name == "" || len(f.name) > MaxName {
			r.fail(f.line, path, "a role's name has 1 to %d bytes", MaxName)
		}
		role := Role{Name: f.name}
		r.texts(MaxImplied, MaxName, &role.Implies)(f.node, join(path, f.name))
		implied += len(role.Implies)
		list = append(list, role)
	}
	if len(list) > MaxRoleRows || implied > MaxImplied {
		r.fail(n.line, path, "has %d roles that imply %d, want at most %d and %d", len(list), implied, MaxRoleRows, MaxImplied)
	}
	slices.SortFunc(list, func(a, b Role) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// all is list for the two lists of a document, which may be empty and long.
func (r *reader) all(n *node, path string, parse func(*node, string)) {
	if n.value == json.Delim('[') && len(n.items) == 0 {
		return
	}
	r.list(n, path, 1<<30, parse)
}

func (r *reader) entity(n *node, path string) Entity {
	e := Entity{Line: n.line}
	r.object(n, path, map[string]func(*node, string){
		"type":  r.text(MaxName, &e.Type),
		"id":    r.text(MaxID, &e.ID),
		"roles": r.texts(MaxRoles, MaxName, &e.Roles),
		"properties": func(n *node, path string) {
			if n.value != json.Delim('{') {
				r.fail(n.line, path, "found %s, want an object", n.kind())
			} else if len(n.fields) > 0 {
				e.Properties = r.encoded(n, path)
			}
		},
		"relations": func(n *node, path string) { e.Relations = r.relations(n, path) },
		"owner": func(n *node, path string) {
			r.text(64, &e.Owner)(n, path)
			if !isAccount(e.Owner) {
				r.fail(n.line, path, "want an account id: 64 lower-case hex digits")
			}
		},
	})
	r.need(n, path, "type", "id")
	return e
}

func isAccount(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// relations reads {"member_of": [{"type": …, "id": …}]}.
func (r *reader) relations(n *node, path string) []Relation {
	if n.value != json.Delim('{') {
		r.fail(n.line, path, "found %s, want an object", n.kind())
		return nil
	}
	var list []Relation
	for _, f := range n.fields {
		if f.name == "" || len(f.name) > MaxName {
			r.fail(f.line, path, "a relation's name has 1 to %d bytes", MaxName)
		}
		r.list(f.node, join(path, f.name), MaxRelations, func(n *node, path string) {
			list = append(list, Relation{f.name, r.ref(n, path)})
		})
	}
	if len(list) > MaxRelations {
		r.fail(n.line, path, "has %d relations, want at most %d", len(list), MaxRelations)
	}
	return list
}

func (r *reader) ref(n *node, path string) Ref {
	var ref Ref
	r.object(n, path, map[string]func(*node, string){
		"type": r.text(MaxName, &ref.Type),
		"id":   r.text(MaxID, &ref.ID),
	})
	r.need(n, path, "type", "id")
	return ref
}

func (r *reader) rule(n *node, path string, zones map[string]Zone) Rule {
	rule := Rule{Line: n.line}
	r.object(n, path, map[string]func(*node, string){
		"id":          r.text(MaxName, &rule.ID),
		"description": r.text(MaxDescription, &rule.Description),
		"effect":      func(n *node, path string) { rule.Permit = r.effect(n, path) },
		"actions":     r.texts(MaxActions, MaxName, &rule.Actions),
		"resource":    func(n *node, path string) { r.resource(n, path, &rule) },
		"subject":     func(n *node, path string) { r.subject(n, path, &rule) },
		"relation":    r.text(MaxName, &rule.Relation),
		"through":     func(n *node, path string) { r.through(n, path, &rule) },
		"when": func(n *node, path string) {
			nodes := 0
			when := r.condition(n, path, 0, &nodes)
			rule.When = &when
		},
		"hours":  func(n *node, path string) { rule.Hours = r.hours(n, path, zones) },
		"reason": r.text(MaxName, &rule.Reason),
		"obligations": func(n *node, path string) {
			if n.value != json.Delim('[') {
				r.fail(n.line, path, "found %s, want an array", n.kind())
			} else if len(n.items) > 0 {
				rule.Obligations = r.encoded(n, path)
			}
		},
		"ttl_ms": r.milliseconds(&rule.TTL),
		"max_staleness_ms": func(n *node, path string) {
			rule.MaxStaleness = new(uint64)
			r.milliseconds(rule.MaxStaleness)(n, path)
		},
		"break_glass_ms": func(n *node, path string) {
			r.milliseconds(&rule.BreakGlass)(n, path)
			if rule.BreakGlass < MinGlass {
				r.fail(n.line, path, "want at least %d", MinGlass)
			}
		},
	})
	r.need(n, path, "id", "effect", "actions", "resource")
	r.checkTogether(n, path, &rule)
	return rule
}

// checkTogether refuses fields that mean nothing without others.
func (r *reader) checkTogether(n *node, path string, rule *Rule) {
	if rule.BreakGlass != 0 && !rule.Permit {
		r.fail(n.line, join(path, "break_glass_ms"), "only a permit waits for a glass to be broken")
	}
	if rule.Through.Resource != "" && rule.Relation == "" {
		r.fail(n.line, join(path, "through.resource"), "hands nothing on without a relation")
	}
	if rule.Through.Subject != "" && rule.Relation == "" && len(rule.Groups) == 0 {
		r.fail(n.line, join(path, "through.subject"), "hands nothing on without a relation or groups")
	}
}

func (r *reader) through(n *node, path string, rule *Rule) {
	r.object(n, path, map[string]func(*node, string){
		"subject":  r.text(MaxName, &rule.Through.Subject),
		"resource": r.text(MaxName, &rule.Through.Resource),
	})
}

func (r *reader) effect(n *node, path string) bool {
	if n.value != "permit" && n.value != "deny" {
		r.fail(n.line, path, "want \"permit\" or \"deny\"")
	}
	return n.value == "permit"
}

func (r *reader) resource(n *node, path string, rule *Rule) {
	r.object(n, path, map[string]func(*node, string){
		"type": r.text(MaxName, &rule.ResourceType),
		"ids":  r.texts(MaxList, MaxID, &rule.ResourceIDs),
	})
	r.need(n, path, "type")
}

func (r *reader) subject(n *node, path string, rule *Rule) {
	r.object(n, path, map[string]func(*node, string){
		"types":  r.texts(MaxList, MaxName, &rule.SubjectTypes),
		"ids":    r.texts(MaxList, MaxID, &rule.SubjectIDs),
		"roles":  r.texts(MaxList, MaxName, &rule.SubjectRoles),
		"groups": func(n *node, path string) { rule.Groups = r.relations(n, path) },
	})
}

var dayNames = [...]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

const everyDay = 1<<len(dayNames) - 1

func (r *reader) hours(n *node, path string, zones map[string]Zone) *Hours {
	h := &Hours{Days: everyDay}
	r.object(n, path, map[string]func(*node, string){
		"zone": func(n *node, path string) {
			r.text(MaxName, &h.Zone)(n, path)
			if _, known := zones[h.Zone]; known {
				return
			}
			zone, err := ZoneTable(h.Zone)
			if err != nil {
				r.fail(n.line, path, "%v", err)
				return
			}
			zones[h.Zone] = zone
		},
		"days": func(n *node, path string) {
			h.Days = 0
			r.list(n, path, len(dayNames), func(n *node, path string) { h.Days |= r.days(n, path) })
		},
		"from": func(n *node, path string) { h.From = r.minutes(n, path, 23) },
		"to":   func(n *node, path string) { h.To = r.minutes(n, path, 24) },
	})
	r.need(n, path, "zone", "from", "to")
	return h
}

// days reads a day or a span of days such as mon-fri or sat-mon.
func (r *reader) days(n *node, path string) uint8 {
	text, _ := n.value.(string)
	first, last, span := strings.Cut(text, "-")
	if !span {
		last = first
	}
	from, to := slices.Index(dayNames[:], first), slices.Index(dayNames[:], last)
	if from < 0 || to < 0 {
		r.fail(n.line, path, "want a day or a span of days: mon, tue, wed, thu, fri, sat, sun, mon-fri")
		return 0
	}
	days := uint8(1) << to
	for day := from; day != to; day = (day + 1) % len(dayNames) {
		days |= 1 << day
	}
	return days
}

// minutes reads hh:mm; the last hour of a day is 23, or 24 for its end.
func (r *reader) minutes(n *node, path string, lastHour int) int {
	text, _ := n.value.(string)
	if len(text) == 5 && text[2] == ':' {
		hour, err1 := strconv.ParseUint(text[:2], 10, 8)
		minute, err2 := strconv.ParseUint(text[3:], 10, 8)
		total := int(hour)*60 + int(minute)
		if err1 == nil && err2 == nil && minute < 60 && int(hour) <= lastHour && total <= 24*60 {
			return total
		}
	}
	r.fail(n.line, path, "want a time such as 07:30")
	return 0
}

// checkUnique refuses two entities or rules of one name.
func (r *reader) checkUnique(d *Document) {
	entities := map[Ref]int{}
	for i, e := range d.Entities {
		if line, ok := entities[e.Ref]; ok {
			r.fail(e.Line, "entities["+strconv.Itoa(i)+"]", "%s %q stands on line %d already", e.Type, e.ID, line)
		}
		entities[e.Ref] = e.Line
	}
	rules := map[string]int{}
	for i, rule := range d.Rules {
		if line, ok := rules[rule.ID]; ok {
			r.fail(rule.Line, "rules["+strconv.Itoa(i)+"].id", "%q stands on line %d already", rule.ID, line)
		}
		rules[rule.ID] = rule.Line
	}
}

// checkSizes refuses what the contract refuses for its size.
func (r *reader) checkSizes(d *Document) {
	if len(r.mistakes) > 0 {
		return
	}
	for i, e := range d.Entities {
		path := "entities[" + strconv.Itoa(i) + "]"
		record := appendRecord(nil, &e)
		if len(record) > MaxRecord {
			r.fail(e.Line, path, "is %d bytes encoded, want at most %d", len(record), MaxRecord)
		}
		if err := cbor.Validate(record); err != nil {
			r.fail(e.Line, path, "%v", err)
		}
	}
	for i, rule := range d.Rules {
		path := "rules[" + strconv.Itoa(i) + "]"
		if n := len(rule.Obligations); n > MaxObligations {
			r.fail(rule.Line, path+".obligations", "is %d bytes encoded, want at most %d", n, MaxObligations)
		}
		if n := len(appendBody(nil, &rule)); n > MaxBody {
			r.fail(rule.Line, path, "is %d bytes encoded, want at most %d", n, MaxBody)
		}
	}
}
