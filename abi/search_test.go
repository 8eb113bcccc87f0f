package abi

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/seed79541315/postern/abi/cbor"
)

var searches = []Search{
	{What: SoughtSubjects, Request: []byte{0xa0}, Limit: 1},
	{Domain: "doors", What: SoughtActions, Request: []byte{0xa1, 1, 2}, Token: []byte("t"), Limit: MaxSearchLimit},
}

func TestSearchRoundTrip(t *testing.T) {
	for _, s := range searches {
		got, err := ParseSearch(AppendSearch(nil, &s))
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("%+v, %v; want %+v", got, err, s)
		}
	}
	for _, p := range []SearchPage{{Found: []string{"a", ""}, Token: []byte{1}, Height: 7}, {Height: 1}} {
		got, err := ParseSearchPage(AppendSearchPage(nil, &p))
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%+v, %v; want %+v", got, err, p)
		}
	}
}

func TestSearchIsChecked(t *testing.T) {
	for name, s := range map[string]Search{
		"nothing is sought": {Request: []byte{0xa0}}, "what is not": {What: 4, Request: []byte{0xa0}}, "no request": {What: SoughtActions},
		"a long token": {What: SoughtActions, Request: []byte{0xa0}, Token: make([]byte, MaxSearchToken+1)},
	} {
		if err := s.Check(); !errors.Is(err, CodeBadArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := Search{What: SoughtActions, Request: []byte{0xa0}}
	if err := s.Check(); err != nil || s.Limit != MaxSearchLimit {
		t.Errorf("%+v, %v", s, err)
	}
	s.Limit = 1000
	if err := s.Check(); err != nil || s.Limit != MaxSearchLimit {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range [][]byte{nil, {0xff}, {0xa1, 6, 0}, {0x80}} {
		if _, err := ParseSearch(bad); err == nil {
			t.Errorf("%x is a search", bad)
		}
		if _, _, err := ParseSearchAnswer(bad); !errors.Is(err, CodeBadResult) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

// What a guest gets and gives.
func TestSearchCall(t *testing.T) {
	call := SearchCall{What: SoughtResources, Request: []byte{0xa0}, Cursor: []byte("c"), Limit: 3, Now: -1}
	if got := AppendSearchCall(nil, &call); !bytes.Equal(got, []byte{0x85, 3, 0xa0, 0x41, 'c', 3, 0x20}) {
		t.Errorf("%x", got)
	}
	found, cursor, err := ParseSearchAnswer([]byte{0x82, 0x82, 0x61, 'a', 0x61, 'b', 0x41, 'c'})
	if err != nil || len(found) != 2 || string(cursor) != "c" {
		t.Errorf("%q %q %v", found, cursor, err)
	}
	if found, cursor, err = ParseSearchAnswer([]byte{0x82, 0x80, 0xf6}); err != nil || found != nil || cursor != nil {
		t.Errorf("%q %q %v", found, cursor, err)
	}
}

func FuzzSearch(f *testing.F) {
	for i := range searches {
		f.Add(AppendSearch(nil, &searches[i]))
	}
	f.Add(AppendSearchPage(nil, &SearchPage{Found: []string{"a"}, Token: []byte{1}, Height: 2}))
	f.Add([]byte{0x82, 0x81, 0x61, 'a', 0x41, 'c'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := ParseSearch(b); err == nil && cbor.Validate(AppendSearch(nil, &s)) != nil {
			t.Errorf("%x is written as no CBOR", b)
		}
		if p, err := ParseSearchPage(b); err == nil {
			again, err := ParseSearchPage(AppendSearchPage(nil, &p))
			if err != nil || !reflect.DeepEqual(again, p) {
				t.Errorf("%+v, %v; want %+v", again, err, p)
			}
		}
		if found, _, err := ParseSearchAnswer(b); err != nil && (found != nil || !errors.Is(err, CodeBadResult)) {
			t.Errorf("%q, %v", found, err)
		}
	})
}
