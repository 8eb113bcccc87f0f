package behaviour

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/contracts/access"
)

// Operations of the contract's execute.
const (
	opBegin = iota + 1
	opPutPages
	opPutRules
	opActivate
	opAbandon
	opBindDevice
	opBindModel
	opSetSite
	opSetLoaders
	opPardon
)

// maxMessage is how many bytes of pages go into one message, well below a
// transaction, so that a node can interleave others with a load; maxWrites how
// many pages: each is a key, whose writing costs most of the gas.
const (
	maxMessage = 24 << 10
	maxWrites  = 100
)

func message(n int, op uint64) []byte { return cbor.AppendUint(cbor.AppendArray(nil, n), op) }

func versioned(n int, op uint64, name string, version uint32) []byte {
	return cbor.AppendUint(cbor.AppendText(message(n, op), name), uint64(version))
}

// load is a profile as it is written: what the digest names.
type load struct {
	body  []byte
	pages [][]byte
	rules []byte
	count int
}

// Messages returns the messages for execute that write the profile under a name
// and version and make it the active one in place of base (0 when none is). The
// version must be above the active one and unused.
func (p *Profile) Messages(name string, version, base uint32) ([][]byte, error) {
	if name == "" || len(name) > MaxName {
		return nil, fmt.Errorf("the profile's name: want 1 to %d bytes", MaxName)
	}
	l, err := p.load()
	if err != nil {
		return nil, err
	}
	list := [][]byte{append(versioned(4, opBegin, name, version), l.body...)}
	list = append(list, l.messages(name, version)...)
	if len(p.Rules) > 0 {
		list = append(list, append(versioned(4, opPutRules, name, version), l.rules...))
	}
	digest := l.digest()
	activate := cbor.AppendUint(versioned(6, opActivate, name, version), uint64(base))
	activate = cbor.AppendUint(activate, uint64(l.count))
	return append(list, cbor.AppendBytes(activate, digest[:])), nil
}

// messages packs the pages into messages of bounded size and cost.
func (l *load) messages(name string, version uint32) (list [][]byte) {
	for rest := l.pages; len(rest) > 0; {
		n, size := 0, 0
		for n < len(rest) && n < maxWrites && (n == 0 || size+len(rest[n]) <= maxMessage) {
			size += len(rest[n])
			n++
		}
		b := cbor.AppendArray(versioned(4, opPutPages, name, version), n)
		list = append(list, append(b, slices.Concat(rest[:n]...)...))
		rest = rest[n:]
	}
	return list
}

// Digest is what the contract's running digest is once the profile is written:
// SHA-256 of the body, then for each page and for the rules SHA-256 of the
// digest so far and the item.
func (p *Profile) Digest() (abi.Hash, error) {
	l, err := p.load()
	if err != nil {
		return abi.Hash{}, err
	}
	return l.digest(), nil
}

func (l *load) digest() abi.Hash {
	digest := abi.Hash(sha256.Sum256(l.body))
	items := l.pages
	if l.rules != nil {
		items = append(slices.Clip(items), l.rules)
	}
	for _, item := range items {
		digest = sha256.Sum256(append(digest[:], item...))
	}
	return digest
}

func (p *Profile) load() (*load, error) {
	mud := p.MUD
	if mud == nil {
		mud = &MUD{}
	}
	classes := mud.Classes()
	x, err := indexOf(mud.Entries, classes)
	if err != nil {
		return nil, err
	}
	settings, err := p.appendSettings(nil)
	if err != nil {
		return nil, err
	}
	l := &load{count: x.count + len(p.Rules)}
	b := cbor.AppendText(cbor.AppendArray(nil, 7), mud.URL)
	b = cbor.AppendUint(cbor.AppendUint(cbor.AppendUint(b, mud.Validity), uint64(x.mask)), x.kinds)
	b = append(appendTexts(b, classes), settings...)
	if l.body = appendTexts(b, mud.noteTexts()); len(l.body) > MaxBody {
		return nil, fmt.Errorf("%d bytes without entries and rules, more than %d", len(l.body), MaxBody)
	}
	for i := range x.pages {
		l.pages = append(l.pages, x.pages[i].append(nil))
	}
	if len(p.Rules) > 0 {
		if l.rules, err = appendRules(nil, p.Rules); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// noteTexts are the notes that go into the profile: those that fit its body.
func (m *MUD) noteTexts() (list []string) {
	const room = 4 << 10
	size := 0
	for _, n := range m.Notes {
		s := n.String()
		if size += len(s) + 3; size > room {
			return append(list, fmt.Sprintf("and %d more", len(m.Notes)-len(list)))
		}
		list = append(list, s)
	}
	return list
}

func appendTexts(b []byte, list []string) []byte {
	b = cbor.AppendArray(b, len(list))
	for _, s := range list {
		b = cbor.AppendText(b, s)
	}
	return b
}

// Flags of settings.
const (
	flagStrictNames = 1 << iota
	flagJudgeFlows
	flagJudgeFramesFrom
	flagJudgeFramesTo
)

func (p *Profile) appendSettings(b []byte) ([]byte, error) {
	s := &p.Settings
	halfLife := cmp.Or(s.HalfLife, 10*time.Minute)
	for _, d := range []time.Duration{halfLife, s.Silence} {
		if d < 0 || d > MaxSpan || d%time.Millisecond != 0 {
			return nil, fmt.Errorf("%v: want whole milliseconds, at most %v", d, MaxSpan)
		}
	}
	b = cbor.AppendUint(cbor.AppendArray(b, 10), p.flags())
	for _, v := range []uint64{
		cmp.Or(s.Alert, 10), cmp.Or(s.Stolen, 50), cmp.Or(s.Quarantine, 100), uint64(halfLife.Milliseconds()),
		s.Reports, s.Bytes, uint64(s.Silence.Milliseconds()),
	} {
		b = cbor.AppendUint(b, v)
	}
	b = cbor.AppendArray(b, int(reasonCount)-1)
	for r := Reason(1); r < reasonCount; r++ {
		w, ok := s.Weights[r]
		switch {
		case !ok:
			w = defaultWeights[r]
		case w == Ignored:
			w = 0
		case w == 0 || w > MaxWeight:
			return nil, fmt.Errorf("the weight of %v: want 1 to %d", r, MaxWeight)
		}
		b = cbor.AppendUint(b, w)
	}
	if s.Hours == nil {
		return cbor.AppendNull(b), nil
	}
	return s.Hours.append(b)
}

func (p *Profile) flags() (f uint64) {
	if p.Settings.StrictNames {
		f |= flagStrictNames
	}
	if p.MUD == nil {
		return f
	}
	f |= flagJudgeFlows
	if p.MUD.FramesFrom {
		f |= flagJudgeFramesFrom
	}
	if p.MUD.FramesTo {
		f |= flagJudgeFramesTo
	}
	return f
}

func (h *Hours) append(b []byte) ([]byte, error) {
	zone, err := access.ZoneTable(h.Zone)
	if err != nil {
		return nil, err
	}
	b = cbor.AppendInt(cbor.AppendArray(cbor.AppendArray(b, 2), 2), zone.Until)
	b = cbor.AppendArray(b, 2*len(zone.Steps))
	for _, s := range zone.Steps {
		b = cbor.AppendInt(cbor.AppendInt(b, s.Start), s.Offset)
	}
	b = cbor.AppendArray(b, len(h.Windows))
	for _, w := range h.Windows {
		b = cbor.AppendUint(cbor.AppendArray(b, 3), uint64(w.Days))
		b = cbor.AppendUint(cbor.AppendUint(b, uint64(w.From)), uint64(w.To))
	}
	return b, nil
}

func appendRules(b []byte, rules []Rule) ([]byte, error) {
	if len(rules) > MaxRules {
		return nil, fmt.Errorf("%d telemetry rules, more than %d", len(rules), MaxRules)
	}
	b = cbor.AppendArray(b, len(rules))
	for i := range rules {
		var err error
		if b, err = rules[i].append(b); err != nil {
			return nil, fmt.Errorf("rule %d: %w", i, err)
		}
	}
	return b, nil
}

func (r *Rule) append(b []byte) ([]byte, error) {
	b = cbor.AppendText(cbor.AppendArray(b, 10), r.Name)
	if r.Unit != "" {
		b = cbor.AppendText(b, r.Unit)
	} else {
		b = cbor.AppendNull(b)
	}
	for _, d := range []*Decimal{r.Least, r.Most, r.Change} {
		if d == nil {
			b = cbor.AppendNull(b)
		} else {
			b = cbor.AppendDecimal(b, *d)
		}
	}
	b, err := r.appendTexts(b)
	if err != nil {
		return nil, err
	}
	if r.Bool == nil {
		b = cbor.AppendNull(b)
	} else {
		b = cbor.AppendBool(b, *r.Bool)
	}
	return cbor.AppendBool(cbor.AppendUint(b, r.Weight), r.Theft), nil
}

// appendTexts appends the texts, and for each the places of those that may
// follow it.
func (r *Rule) appendTexts(b []byte) ([]byte, error) {
	switch {
	case r.Stays && len(r.Texts) > 0:
		return nil, errors.New("texts that stay are not listed")
	case r.Stays:
		return cbor.AppendNull(cbor.AppendArray(b, 0)), nil
	case len(r.Texts) == 0:
		return cbor.AppendNull(cbor.AppendNull(b)), nil
	}
	b = appendTexts(b, r.Texts)
	if r.Next == nil {
		return cbor.AppendNull(b), nil
	}
	for text := range r.Next {
		if !slices.Contains(r.Texts, text) {
			return nil, fmt.Errorf("what follows %q: it is none of the texts", text)
		}
	}
	b = cbor.AppendArray(b, len(r.Texts))
	for _, text := range r.Texts {
		b = cbor.AppendArray(b, len(r.Next[text]))
		for _, next := range r.Next[text] {
			place := slices.Index(r.Texts, next)
			if place < 0 {
				return nil, fmt.Errorf("%q, which follows %q, is none of the texts", next, text)
			}
			b = cbor.AppendUint(b, uint64(place))
		}
	}
	return b, nil
}

// Abandon gives up a version that was begun and not activated.
func Abandon(name string, version uint32) []byte { return versioned(3, opAbandon, name, version) }

// BindDevice gives a device a profile of its own; "" takes it away.
func BindDevice(device abi.Hash, profile string) []byte {
	return appendProfile(cbor.AppendBytes(message(3, opBindDevice), device[:]), profile)
}

// BindModel gives all devices of a model a profile that have none of their own,
// with an empty model all of the manufacturer's, with both empty all devices; a
// profile "" takes it away.
func BindModel(manufacturer, model, profile string) []byte {
	return appendProfile(cbor.AppendText(cbor.AppendText(message(4, opBindModel), manufacturer), model), profile)
}

func appendProfile(b []byte, profile string) []byte {
	if profile == "" {
		return cbor.AppendNull(b)
	}
	return cbor.AppendText(b, profile)
}

// SetLoaders names the accounts that may load profiles besides the contract's
// owner, who alone may name them.
func SetLoaders(accounts []abi.Hash) []byte {
	return append(message(2, opSetLoaders), Init(accounts)...)
}

// Init is the message of deployment, which names the loaders.
func Init(loaders []abi.Hash) []byte {
	b := cbor.AppendArray(nil, len(loaders))
	for _, a := range loaders {
		b = cbor.AppendBytes(b, a[:])
	}
	return b
}

// Pardon forgets what evidence against a device added up to; the contract's
// owner alone may.
func Pardon(device abi.Hash) []byte { return cbor.AppendBytes(message(2, opPardon), device[:]) }
