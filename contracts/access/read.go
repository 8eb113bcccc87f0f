package access

import (
	"errors"
	"fmt"
	"slices"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Queries of the contract.
const (
	queryDescribe = iota + 1
	queryPage
	queryEntity
	queryRule
	queryDelegation
	queryAdmins
	queryVersion
	queryAlarms
)

var errUnknownForm = errors.New("the contract's answer has an unknown form")

// ErrNoPolicy is returned when the contract holds no active policy.
var ErrNoPolicy = errors.New("no policy is active")

// Info describes the active policy. Its digest names the document that was
// loaded and every change since.
type Info struct {
	Version uint32
	Count   uint64
	Digest  abi.Hash
	Title   string
	Zones   []Zone
	Roles   []Role
}

// Describe is the query for the active policy; ParseInfo reads its answer.
func Describe() []byte { return cbor.AppendUint(cbor.AppendArray(nil, 1), queryDescribe) }

// ParseInfo reads the answer to Describe. It returns ErrNoPolicy when there is
// no active policy.
func ParseInfo(b []byte) (Info, error) {
	r := cbor.NewReader(b)
	if r.Kind() == cbor.KindNull {
		return Info{}, ErrNoPolicy
	}
	items := r.Array()
	if items != 6 && items != 7 {
		r.Fail(errUnknownForm)
	}
	info := Info{Version: uint32(r.Uint()), Count: r.Uint()}
	copy(info.Digest[:], r.BytesN(len(info.Digest)))
	r.Uint()
	info.Title = r.Text()
	info.Zones = parseZones(&r)
	if items == 7 {
		info.Roles = parseRoles(&r)
	}
	return info, r.Done()
}

// ReadDocument rebuilds the active policy through the contract's query. It
// fails if another version becomes active or the policy changes on the way:
// call it again then.
func ReadDocument(query func(message []byte) ([]byte, error)) (*Document, Info, error) {
	info, err := describe(query)
	if err != nil {
		return nil, Info{}, err
	}
	d := &Document{Title: info.Title, Zones: info.Zones, Roles: info.Roles}
	var rules []numberedRule
	for cursor := []byte{}; cursor != nil; {
		page, err := query(cbor.AppendBytes(message(3, queryPage, info.Version), cursor))
		if err != nil {
			return nil, Info{}, fmt.Errorf("reading a page of the policy: %w", err)
		}
		if cursor, err = parsePage(page, d, &rules); err != nil {
			return nil, Info{}, err
		}
	}
	slices.SortStableFunc(rules, func(a, b numberedRule) int { return int(a.number) - int(b.number) })
	for _, r := range rules {
		d.Rules = append(d.Rules, r.rule)
	}
	after, err := describe(query)
	if err != nil {
		return nil, Info{}, err
	}
	if after.Version != info.Version || after.Digest != info.Digest || d.Count() != int(info.Count) {
		return nil, Info{}, errors.New("the policy changed while it was read")
	}
	return d, info, nil
}

func describe(query func([]byte) ([]byte, error)) (Info, error) {
	b, err := query(Describe())
	if err != nil {
		return Info{}, fmt.Errorf("describing the policy: %w", err)
	}
	return ParseInfo(b)
}

type numberedRule struct {
	number uint64
	rule   Rule
}

// parsePage adds a page's items and returns the next cursor, nil at the end.
func parsePage(b []byte, d *Document, rules *[]numberedRule) ([]byte, error) {
	r := cbor.NewReader(b)
	r.ArrayN(2)
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		items := r.Array()
		switch kind := r.Uint(); {
		case kind == 1 && items == 4:
			d.Entities = append(d.Entities, parseEntity(&r))
		case kind == 2 && items == 3:
			*rules = append(*rules, numberedRule{r.Uint(), parseRule(&r)})
		default:
			r.Fail(errUnknownForm)
		}
	}
	var cursor []byte
	if r.Kind() == cbor.KindNull {
		r.Null()
	} else if cursor = r.Bytes(); len(cursor) == 0 {
		r.Fail(errUnknownForm)
	}
	return cursor, r.Done()
}

func parseEntity(r *cbor.Reader) Entity {
	e := Entity{Ref: parseRef(r)}
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			e.Roles = parseTexts(r)
		case 2:
			e.Properties = r.Raw()
		case 3:
			e.Relations = parseRelations(r)
		case 4:
			e.Owner = r.Text()
		default:
			r.Fail(errUnknownForm)
		}
	}
	return e
}

func parseRef(r *cbor.Reader) Ref { return Ref{Type: r.Text(), ID: r.Text()} }

func parseTexts(r *cbor.Reader) []string {
	var list []string
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		list = append(list, r.Text())
	}
	return list
}

func parseRelations(r *cbor.Reader) []Relation {
	var list []Relation
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		r.ArrayN(3)
		list = append(list, Relation{r.Text(), parseRef(r)})
	}
	return list
}

func parseRule(r *cbor.Reader) Rule {
	var rule Rule
	r.ArrayN(2)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			rule.ResourceType = r.Text()
		case 2:
			rule.Actions = parseTexts(r)
		case 3:
			rule.Description = r.Text()
		default:
			r.Fail(errUnknownForm)
		}
	}
	for f := r.Fields(); f.Next(); {
		parseBodyField(r, f.Key(), &rule)
	}
	return rule
}

func parseBodyField(r *cbor.Reader, key uint64, rule *Rule) {
	switch key {
	case 1:
		rule.ID = r.Text()
	case 2:
		rule.Permit = r.Bool()
	case 3:
		rule.SubjectTypes = parseTexts(r)
	case 4:
		rule.SubjectIDs = parseTexts(r)
	case 5:
		rule.SubjectRoles = parseTexts(r)
	case 6:
		rule.ResourceIDs = parseTexts(r)
	case 7:
		rule.Relation = r.Text()
	case 8:
		rule.Groups = parseRelations(r)
	case 9:
		when := parseCondition(r)
		rule.When = &when
	case 10:
		r.ArrayN(4)
		rule.Hours = &Hours{Zone: r.Text(), Days: uint8(r.Uint()), From: int(r.Uint()), To: int(r.Uint())}
	case 11:
		rule.Reason = r.Text()
	case 12:
		rule.Obligations = r.Raw()
	case 13:
		rule.TTL = r.Uint()
	case 14:
		v := r.Uint()
		rule.MaxStaleness = &v
	case 15:
		r.ArrayN(3)
		rule.Relation = r.Text()
		rule.Through = Through{r.Text(), r.Text()}
	case 16:
		r.ArrayN(2)
		rule.Through.Subject = r.Text()
		rule.Groups = parseRelations(r)
	case 17:
		rule.BreakGlass = r.Uint()
	default:
		r.Fail(errUnknownForm)
	}
}

func parseRoles(r *cbor.Reader) []Role {
	var roles []Role
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		r.ArrayN(2)
		roles = append(roles, Role{r.Text(), parseTexts(r)})
	}
	return roles
}

func parseZones(r *cbor.Reader) []Zone {
	var zones []Zone
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		r.ArrayN(3)
		z := Zone{Name: r.Text(), Until: r.Int()}
		for steps := r.Array() / 2; steps > 0 && r.Err() == nil; steps-- {
			z.Steps = append(z.Steps, Step{Start: r.Int(), Offset: r.Int()})
		}
		zones = append(zones, z)
	}
	return zones
}
