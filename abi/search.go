package abi

import (
	"github.com/seed79541315/postern/abi/cbor"
)

// Sought is the part of a decision request that a search looks for. Its number
// is that of the part's field in a DecisionRequest.
type Sought uint64

// What can be sought: subjects or resources of a type, or actions.
const (
	SoughtSubjects  Sought = 1
	SoughtActions   Sought = 2
	SoughtResources Sought = 3
)

// MaxSearchLimit is how many results one page has at most.
const MaxSearchLimit = 64

// MaxSearchToken is how many bytes a page's token has at most.
const MaxSearchToken = 512

// Search asks which subjects, resources or actions a policy would permit
// (OpenID AuthZEN Authorization API 1.0 section 8). The request is an encoded
// DecisionRequest in which the part that is sought is a type alone, whose id is
// absent or not looked at, or for actions absent or empty; a type's properties
// count for every candidate. It is encoded as {1: domain, 2: what, 3: request, 4: token,
// 5: limit}; an absent token begins, an absent limit is MaxSearchLimit.
type Search struct {
	Domain  string
	What    Sought
	Request []byte
	Token   []byte
	Limit   uint64
}

// AppendSearch appends the encoding of s.
func AppendSearch(b []byte, s *Search) []byte {
	n := 3
	if s.Token != nil {
		n++
	}
	if s.Limit != 0 {
		n++
	}
	b = cbor.AppendText(cbor.AppendUint(cbor.AppendMap(b, n), 1), s.Domain)
	b = cbor.AppendUint(cbor.AppendUint(b, 2), uint64(s.What))
	b = append(cbor.AppendUint(b, 3), s.Request...)
	if s.Token != nil {
		b = cbor.AppendBytes(cbor.AppendUint(b, 4), s.Token)
	}
	if s.Limit != 0 {
		b = cbor.AppendUint(cbor.AppendUint(b, 5), s.Limit)
	}
	return b
}

// ParseSearch reads a search; it aliases b. Errors are CodeBadArgument, or wrap
// CodeMalformed.
func ParseSearch(b []byte) (Search, error) {
	var s Search
	r := cbor.NewReader(b)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			s.Domain = r.Text()
		case 2:
			s.What = Sought(r.Uint())
		case 3:
			s.Request = r.Raw()
		case 4:
			s.Token = r.Bytes()
		case 5:
			s.Limit = r.Uint()
		default:
			r.Fail(CodeMalformed)
		}
	}
	if err := r.Done(); err != nil {
		return Search{}, Malformed(err)
	}
	return s, s.Check()
}

// Check refuses a search that is out of its ranges, with CodeBadArgument. It
// sets the limit of one that has none, and lowers one that is too high.
func (s *Search) Check() error {
	if s.What < SoughtSubjects || s.What > SoughtResources || s.Request == nil || len(s.Token) > MaxSearchToken {
		return CodeBadArgument
	}
	if s.Limit == 0 || s.Limit > MaxSearchLimit {
		s.Limit = MaxSearchLimit
	}
	return nil
}

// SearchPage is what one call of a search found: ids of subjects or resources,
// or names of actions, each once in the whole search. It is encoded as
// {1: [found …], 2: token, 3: height}; without a token it is the last. A page
// may be empty and not the last.
type SearchPage struct {
	Found  []string
	Token  []byte // of the page behind, nil at the end
	Height uint64 // of the state that was searched
}

// AppendSearchPage appends the encoding of p.
func AppendSearchPage(b []byte, p *SearchPage) []byte {
	n := 2
	if p.Token != nil {
		n++
	}
	b = appendTexts(cbor.AppendUint(cbor.AppendMap(b, n), 1), p.Found)
	if p.Token != nil {
		b = cbor.AppendBytes(cbor.AppendUint(b, 2), p.Token)
	}
	return cbor.AppendUint(cbor.AppendUint(b, 3), p.Height)
}

// ParseSearchPage reads a page. Errors wrap CodeMalformed.
func ParseSearchPage(b []byte) (SearchPage, error) {
	var p SearchPage
	r := cbor.NewReader(b)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			p.Found = readTexts(&r)
		case 2:
			p.Token = r.Bytes()
		case 3:
			p.Height = r.Uint()
		default:
			r.Skip()
		}
	}
	if err := r.Done(); err != nil {
		return SearchPage{}, Malformed(err)
	}
	return p, nil
}

// AbortSearchOutdated is the abort code of a search entry whose cursor does not
// fit the policy any more: the searcher then gets CodeSearchOutdated.
const AbortSearchOutdated = 0xfffe

// SearchCall is the message of a guest's search entry, array(5) [what, request,
// cursor (bytes), limit, now]. The request is as in Search, and whole but for
// what is sought: the host put the subject that it knows in place of a caller
// that asks for itself. The cursor is empty at first. Now is the node's clock in
// ms, below 0 when it is not trusted.
//
// The answer is array(2) [[found …], cursor]: texts, at most limit of them, and
// the cursor to go on with, null at the end. A search never finds what the
// guest's decide would not permit.
type SearchCall struct {
	What    Sought
	Request []byte
	Cursor  []byte
	Limit   uint64
	Now     int64
}

// AppendSearchCall appends the encoding of s.
func AppendSearchCall(b []byte, s *SearchCall) []byte {
	b = cbor.AppendUint(cbor.AppendArray(b, 5), uint64(s.What))
	b = cbor.AppendBytes(append(b, s.Request...), s.Cursor)
	return cbor.AppendInt(cbor.AppendUint(b, s.Limit), s.Now)
}

// ParseSearchAnswer reads what a guest's search answers; the cursor is nil at
// the end. Every error wraps CodeBadResult.
func ParseSearchAnswer(b []byte) (found []string, cursor []byte, err error) {
	r := cbor.NewReader(b)
	r.ArrayN(2)
	found = readTexts(&r)
	if r.Kind() == cbor.KindNull {
		r.Null()
	} else if cursor = r.Bytes(); len(cursor) == 0 {
		r.Fail(CodeBadResult)
	}
	if err := r.Done(); err != nil {
		return nil, nil, &caused{CodeBadResult, err}
	}
	return found, cursor, nil
}

func readTexts(r *cbor.Reader) []string {
	var list []string
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		list = append(list, r.Text())
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
