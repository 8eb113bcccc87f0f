package behaviour

import (
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed79541315/postern/abi/cbor"
)

// maxProfile bounds a profile in JSON, its MUD file included.
const maxProfile = maxMUD + 1<<20

// ParseProfile reads what an operator writes; README.md shows its form. A MUD
// file stands in it as it is, or is added by the caller. Errors name the path.
func ParseProfile(src []byte) (*Profile, error) {
	n, err := parseJSON(src, maxProfile)
	if err != nil {
		return nil, err
	}
	p := &Profile{}
	readers := p.Settings.readers()
	readers["mud"] = func(n node) { p.MUD = parseMUD(n) }
	readers["telemetry"] = func(n node) {
		for _, item := range n.items() {
			p.Rules = append(p.Rules, parseRule(item))
		}
		if len(p.Rules) > MaxRules {
			n.fail("%d rules, more than %d", len(p.Rules), MaxRules)
		}
	}
	n.readMembers(readers)
	return p, n.err()
}

// readMembers reads the members of an object; one that is not listed is a
// mistake.
func (n node) readMembers(readers map[string]func(node)) {
	n.members(func(name string, member node) {
		if read, ok := readers[name]; ok {
			read(member)
		} else {
			member.fail("not known")
		}
	})
}

func (s *Settings) readers() map[string]func(node) {
	weight := func(to *uint64) func(node) { return func(n node) { *to = n.atLeastOne(MaxWeight) } }
	return map[string]func(node){
		"strict_names":       func(n node) { s.StrictNames = n.bool() },
		"alert":              weight(&s.Alert),
		"suspected_stolen":   weight(&s.Stolen),
		"quarantine":         weight(&s.Quarantine),
		"half_life":          func(n node) { s.HalfLife = n.duration() },
		"reports_per_minute": func(n node) { s.Reports = n.atLeastOne(60_000) },
		"bytes_per_hour":     func(n node) { s.Bytes = n.atLeastOne(1 << 50) },
		"silence":            func(n node) { s.Silence = n.duration() },
		"hours":              func(n node) { s.Hours = parseHours(n) },
		"weights":            s.parseWeights,
	}
}

func (s *Settings) parseWeights(n node) {
	s.Weights = map[Reason]uint64{}
	n.members(func(name string, member node) {
		r, ok := ReasonByName(name)
		if !ok {
			member.fail("no kind of finding")
			return
		}
		if s.Weights[r] = member.uint(MaxWeight); s.Weights[r] == 0 {
			s.Weights[r] = Ignored
		}
	})
}

func (n node) atLeastOne(max uint64) uint64 {
	v := n.uint(max)
	if v == 0 {
		n.fail("want 1 to %d", max)
	}
	return v
}

// duration is a time span as Go writes it, such as "1h30m".
func (n node) duration() time.Duration {
	d, err := time.ParseDuration(n.required())
	if err != nil || d < time.Second || d > MaxSpan || d%time.Millisecond != 0 {
		n.fail("want a time span such as 90s or 1h30m, from one second to %v", MaxSpan)
	}
	return d
}

func parseRule(n node) Rule {
	var r Rule
	n.readMembers(map[string]func(node){
		"name":   func(n node) { r.Name = n.required() },
		"unit":   func(n node) { r.Unit = n.required() },
		"min":    func(n node) { r.Least = n.decimal() },
		"max":    func(n node) { r.Most = n.decimal() },
		"change": func(n node) { r.Change = n.decimal() },
		"states": func(n node) { r.Texts = n.texts() },
		"next": func(n node) {
			r.Next = map[string][]string{}
			n.members(func(state string, member node) { r.Next[state] = member.texts() })
		},
		"stays":  func(n node) { r.Stays = n.bool() },
		"is":     func(n node) { v := n.bool(); r.Bool = &v },
		"weight": func(n node) { r.Weight = n.atLeastOne(MaxWeight) },
		"theft":  func(n node) { r.Theft = n.bool() },
	})
	r.check(n)
	return r
}

func (n node) texts() (list []string) {
	for _, item := range n.items() {
		list = append(list, item.required())
	}
	return list
}

// check tells what the contract would refuse.
func (r *Rule) check(n node) {
	if r.Name == "" || len(r.Name) > MaxName {
		n.get("name").fail("want 1 to %d bytes", MaxName)
	}
	if r.Least != nil && r.Most != nil && below(*r.Most, *r.Least) {
		n.fail("max is below min")
	}
	if r.Change != nil && r.Change.Mantissa < 0 {
		n.get("change").fail("below 0")
	}
	if len(r.Texts) > MaxTexts {
		n.get("states").fail("more than %d", MaxTexts)
	}
	if r.Stays && len(r.Texts) > 0 {
		n.get("stays").fail("states are listed")
	}
	if r.Next != nil && len(r.Texts) == 0 {
		n.get("next").fail("there are no states")
	}
	for state, next := range r.Next {
		for _, s := range append([]string{state}, next...) {
			if !slices.Contains(r.Texts, s) {
				n.get("next").fail("%q is none of the states", s)
			}
		}
	}
}

// below says whether a is less than b. Both are canonical.
func below(a, b Decimal) bool { return scaled(a).Cmp(scaled(b)) < 0 }

// scaled is d in units of 10^-18.
func scaled(d Decimal) *big.Int {
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(cbor.MaxDecimalPlaces+d.Exponent), nil)
	return unit.Mul(unit, big.NewInt(d.Mantissa))
}

var dayNames = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// parseHours reads {"zone": …, "windows": [{"days": ["mon-fri"], "from": "07:00",
// "to": "18:00"}, …]}.
func parseHours(n node) *Hours {
	h := &Hours{}
	n.readMembers(map[string]func(node){
		"zone": func(n node) {
			h.Zone = n.required()
			if _, err := h.append(nil); err != nil {
				n.fail("%v", err)
			}
		},
		"windows": func(n node) {
			for _, item := range n.items() {
				h.Windows = append(h.Windows, parseWindow(item))
			}
		},
	})
	if h.Zone == "" {
		n.get("zone").fail("missing")
	}
	if len(h.Windows) == 0 || len(h.Windows) > 16 {
		n.get("windows").fail("want 1 to 16")
	}
	return h
}

func parseWindow(n node) Window {
	w := Window{From: -1, To: -1}
	n.readMembers(map[string]func(node){
		"days": func(n node) {
			for _, item := range n.items() {
				w.Days |= parseDays(item)
			}
		},
		"from": func(n node) { w.From = n.minute(24*60 - 1) },
		"to":   func(n node) { w.To = n.minute(24 * 60) },
	})
	if !n.get("days").exists() {
		w.Days = 0x7f
	}
	if w.From < 0 || w.To < 0 {
		n.fail("want from and to")
	}
	return w
}

// parseDays reads "tue" or "mon-fri".
func parseDays(n node) (days uint8) {
	first, last, span := strings.Cut(n.required(), "-")
	from, to := slices.Index(dayNames, first), slices.Index(dayNames, last)
	if !span {
		to = from
	}
	if from < 0 || to < from {
		n.fail("want days such as tue or mon-fri")
		return 0
	}
	for d := from; d <= to; d++ {
		days |= 1 << d
	}
	return days
}

// minute reads a time of day such as 07:30 as minutes.
func (n node) minute(max int) int {
	hours, minutes, ok := strings.Cut(n.required(), ":")
	h, err := strconv.Atoi(hours)
	m, err2 := strconv.Atoi(minutes)
	if !ok || err != nil || err2 != nil || h < 0 || m < 0 || m > 59 || 60*h+m > max || len(minutes) != 2 {
		n.fail("want a time of day such as 07:30")
		return 0
	}
	return 60*h + m
}
