package behaviour

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/seed79541315/postern/abi/cbor"
)

// Site says which networks the classes of parties are: "controller:" and a URI,
// such as urn:ietf:params:mud:dns, "my-controller:" and a device's MUD URL,
// "manufacturer:" and the authority of its MUD URL, "model:" and a MUD URL.
//
// Under LocalNetworks it says which networks are local. Without, they are what
// no router passes on: private, link-local and broadcast addresses, multicast
// within link and site.
type Site map[string][]netip.Prefix

// LocalNetworks is the class of local networks.
const LocalNetworks = "local-networks"

// maxSite bounds a site: one value of the contract's state holds it.
const maxSite = 12 << 10

// Message is the message for execute that puts the site in place of the last.
func (s Site) Message() ([]byte, error) {
	b := cbor.AppendArray(nil, len(s))
	classes := slices.Collect(maps.Keys(s))
	slices.Sort(classes)
	for _, class := range classes {
		if class == "" || len(class) > 255 {
			return nil, fmt.Errorf("%.64q: want a class of 1 to 255 bytes", class)
		}
		b = cbor.AppendArray(cbor.AppendText(cbor.AppendArray(b, 2), class), len(s[class]))
		for _, p := range s[class] {
			if !p.IsValid() {
				return nil, fmt.Errorf("%s: an invalid network", class)
			}
			b = cbor.AppendBytes(b, append([]byte{byte(p.Bits())}, p.Addr().AsSlice()...))
		}
	}
	if len(b) > maxSite {
		return nil, fmt.Errorf("a site of %d bytes, more than %d", len(b), maxSite)
	}
	return append(message(2, opSetSite), b...), nil
}

// ParseSite reads a site from JSON: an object of classes with arrays of
// networks. Errors name the path.
func ParseSite(src []byte) (Site, error) {
	n, err := parseJSON(src, maxMUD)
	if err != nil {
		return nil, err
	}
	s := Site{}
	n.members(func(class string, member node) {
		s[class] = []netip.Prefix{}
		for _, item := range member.items() {
			p, err := netip.ParsePrefix(item.text())
			if err != nil {
				item.fail("%q is no network", item.text())
				continue
			}
			s[class] = append(s[class], p.Masked())
		}
	})
	return s, n.err()
}

// parseSite reads the contract's answer.
func parseSite(r *cbor.Reader) Site {
	s := Site{}
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		r.ArrayN(2)
		class := r.Text()
		s[class] = []netip.Prefix{}
		for k := r.Array(); k > 0 && r.Err() == nil; k-- {
			b := r.Bytes()
			if len(b) == 0 {
				r.Fail(errUnknownForm)
				return s
			}
			addr, _ := netip.AddrFromSlice(b[1:])
			s[class] = append(s[class], netip.PrefixFrom(addr, int(b[0])))
		}
	}
	return s
}
