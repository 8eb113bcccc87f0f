package behaviour

import (
	"net/url"
	"slices"
	"strings"
)

// maxMUD is how many bytes of a MUD file are read: a thousand entries take half
// a megabyte as the usual tools write them.
const maxMUD = 4 << 20

// MUD is a Manufacturer Usage Description (RFC 8520).
type MUD struct {
	URL        string
	SystemInfo string
	LastUpdate string
	Supported  bool
	// Validity is for how many hours the file need not be fetched again.
	Validity uint64
	// Entries are the entries of both directions in the order in which they are
	// tried, those that RFC 8520 section 4 adds at the end.
	Entries []Entry
	// FramesFrom and FramesTo say that the policy of a direction has a list which
	// speaks of Ethernet frames. Lists of IP alone say nothing of the frames that
	// IP needs, such as ARP: those are not judged then.
	FramesFrom, FramesTo bool
	// Extensions are what the file names as such; none is understood here.
	Extensions []string
	// Notes say what of the file is not understood, which section 3.8 says to
	// pass over, and what a record of a flow does not show.
	Notes []Note
}

// Note is a remark on a part of a file.
type Note struct{ Path, Text string }

func (n Note) String() string { return n.Path + ": " + n.Text }

// Classes are the classes of parties that the entries name, in order. Those
// that a Site does not hold have no members.
func (m *MUD) Classes() []string {
	var list []string
	for _, e := range m.Entries {
		if e.Class != "" {
			list = append(list, e.Class)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// ParseMUD reads a MUD file, in the form of RFC 8520 or of its drafts.
func ParseMUD(src []byte) (*MUD, error) {
	n, err := parseJSON(src, maxMUD)
	if err != nil {
		return nil, err
	}
	m := parseMUD(n)
	return m, n.err()
}

func parseMUD(n node) *MUD {
	root := n.get("ietf-mud:mud", "mud")
	m := &MUD{Supported: true, Validity: 48}
	if !root.exists() {
		root.fail("missing: this is no MUD file")
		return m
	}
	p := &mudParser{mud: m, lists: map[string]node{}, used: map[string]bool{}}
	p.head(root)
	for _, list := range n.get("ietf-access-control-list:acls", "ietf-access-control-list:access-lists", "acls").get("acl").items() {
		p.list(list)
	}
	p.policy(root.get("from-device-policy"), false)
	p.policy(root.get("to-device-policy"), true)
	for policy, judged := range map[string]bool{"from-device-policy": m.FramesFrom, "to-device-policy": m.FramesTo} {
		if !judged {
			p.note(root.get(policy), "no list speaks of frames other than IP: they are not judged")
		}
	}
	p.defaults()
	p.unused()
	if len(m.Entries) > MaxEntries {
		n.fail("%d entries, more than %d", len(m.Entries), MaxEntries)
	}
	if classes := len(m.Classes()); classes > MaxClasses {
		n.fail("%d classes of parties, more than %d", classes, MaxClasses)
	}
	return m
}

type mudParser struct {
	mud       *MUD
	authority string          // of the MUD URL: who the manufacturer is
	lists     map[string]node // access control lists by name
	used      map[string]bool
}

func (p *mudParser) note(n node, text string) { p.mud.Notes = append(p.mud.Notes, Note{n.path, text}) }

func (p *mudParser) head(n node) {
	m := p.mud
	if v := n.get("mud-version"); !v.exists() || v.uint(255) != 1 {
		v.fail("only version 1 is known")
	}
	m.URL = n.get("mud-url").required()
	if u, err := url.Parse(m.URL); err != nil || u.Host == "" || len(m.URL) > 255 {
		n.get("mud-url").fail("not a URL of at most 255 bytes")
	} else {
		p.authority = u.Host
	}
	m.SystemInfo, m.LastUpdate = n.get("systeminfo").text(), n.get("last-update").text()
	if s := n.get("is-supported"); s.exists() {
		m.Supported = s.bool()
	}
	if v := n.get("cache-validity"); v.exists() {
		if m.Validity = v.uint(168); m.Validity == 0 {
			v.fail("from 1 to 168 hours")
		}
	}
	for _, e := range n.get("extensions").items() {
		name := e.text()
		m.Extensions = append(m.Extensions, name)
		p.note(e, "the extension "+name+" is not understood")
	}
	known := []string{
		"mud-version", "mud-url", "last-update", "cache-validity", "is-supported", "systeminfo", "extensions",
		"from-device-policy", "to-device-policy", "mfg-name", "model-name", "firmware-rev", "software-rev",
		"documentation", "mud-signature",
	}
	n.members(func(name string, member node) {
		if !slices.Contains(known, name) {
			p.note(member, "not understood")
		}
	})
}

func (p *mudParser) list(n node) {
	name := n.get("name").required()
	if _, twice := p.lists[name]; twice {
		n.get("name").fail("two lists are named %q", name)
	}
	p.lists[name] = n
}

// policy reads the lists that a direction's policy names, in their order.
func (p *mudParser) policy(n node, toDevice bool) {
	for _, item := range n.get("access-lists").get("access-list").items() {
		name := item.get("name").required()
		list, ok := p.lists[name]
		if !ok {
			item.get("name").fail("there is no list %q", name)
			continue
		}
		p.used[name] = true
		a := aceParser{mudParser: p, toDevice: toDevice}
		switch kind := list.get("type").text(); trimModule(kind) {
		case "ipv4-acl-type":
			a.family = 4
		case "ipv6-acl-type":
			a.family = 6
		case "eth-acl-type", "ethernet-acl-type", "mixed-eth-ipv4-acl-type", "mixed-eth-ipv6-acl-type", "mixed-eth-ipv4-ipv6-acl-type":
			a.speaksOfFrames()
		case "":
		default:
			p.note(list.get("type"), "the type "+kind+" is not understood")
		}
		for _, ace := range list.get("aces").get("ace").items() {
			p.mud.Entries = append(p.mud.Entries, a.entries(ace)...)
		}
	}
}

func (p *mudParser) unused() {
	for name, list := range p.lists {
		if !p.used[name] {
			p.note(list, "no policy names this list")
		}
	}
	slices.SortFunc(p.mud.Notes, func(a, b Note) int { return strings.Compare(a.Path, b.Path) })
}

// defaults adds what every device may do unless its file forbids it: to ask the
// local services of names and time (RFC 8520 section 4 and appendix B).
func (p *mudParser) defaults() {
	udp, tcp := uint8(17), uint8(6)
	for _, toDevice := range []bool{false, true} {
		for _, d := range []struct {
			name     string
			class    string
			protocol *uint8
			port     uint16
		}{
			{"default-dns-udp", "urn:ietf:params:mud:dns", &udp, 53},
			{"default-dns-tcp", "urn:ietf:params:mud:dns", &tcp, 53},
			{"default-ntp", "urn:ietf:params:mud:ntp", &udp, 123},
		} {
			p.mud.Entries = append(p.mud.Entries, Entry{
				Name: d.name, ToDevice: toDevice, Protocol: d.protocol,
				Class: "controller:" + d.class, Remote: &Ports{d.port, d.port},
			})
		}
	}
}
