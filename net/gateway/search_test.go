package gateway_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"sync"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/gateway"
)

type searcher func(abi.Caller, *abi.Search) (abi.SearchPage, error)

func (f searcher) Search(_ context.Context, caller abi.Caller, s *abi.Search) (abi.SearchPage, error) {
	return f(caller, s)
}

func TestSearch(t *testing.T) {
	k := newKey(t)
	var mu sync.Mutex
	var asked abi.Search // guarded by mu, as the next two
	var by abi.Caller
	var fails error
	n := newNode()
	w := open(t, serve(t, n, func(c *gateway.Config) {
		c.Searcher = searcher(func(caller abi.Caller, s *abi.Search) (abi.SearchPage, error) {
			mu.Lock()
			defer mu.Unlock()
			asked, by = *s, caller
			return abi.SearchPage{Found: []string{"a"}, Token: []byte("t"), Height: 5}, fails
		})
	}).connect(t, k))
	want := abi.Search{Domain: "doors", What: abi.SoughtActions, Request: []byte{0xa0}, Token: []byte("x"), Limit: 3}
	got := w.ask(1, abi.OpSearch, abi.AppendSearch(nil, &want))
	page, err := abi.ParseSearchPage(got.Body)
	if got.Code != abi.OK || err != nil || len(page.Found) != 1 || string(page.Token) != "t" || page.Height != 5 {
		t.Fatalf("%v %+v %v", got.Code, page, err)
	}
	mu.Lock()
	if asked.Domain != want.Domain || asked.What != want.What || string(asked.Token) != "x" || asked.Limit != 3 || !bytes.Equal(by.Key, k.Public().(ed25519.PublicKey)) {
		t.Errorf("%+v by %x", asked, by.Key)
	}
	mu.Unlock()
	for id, bad := range [][]byte{{0xa0}, {0x80}, {0xa1, 9, 0}, abi.AppendSearch(nil, &abi.Search{What: 4, Request: []byte{0xa0}})} {
		if got := w.ask(uint64(id)+2, abi.OpSearch, bad); got.Code != abi.CodeBadArgument && got.Code != abi.CodeMalformed {
			t.Errorf("%x: %v", bad, got.Code)
		}
	}
	for err, code := range map[error]abi.Code{abi.CodeSearchOutdated: abi.CodeSearchOutdated, errors.New("reading /secret"): abi.CodeInternal} {
		mu.Lock()
		fails = err
		mu.Unlock()
		if got := w.ask(9, abi.OpSearch, abi.AppendSearch(nil, &want)); got.Code != code || got.Body != nil {
			t.Errorf("%v: %v", err, got.Code)
		}
	}
	limited := open(t, serve(t, newNode(), func(c *gateway.Config) {
		c.RequestRate = 1 // the bucket holds 64
		c.Searcher = searcher(func(abi.Caller, *abi.Search) (abi.SearchPage, error) { return abi.SearchPage{}, nil })
	}).connect(t, newKey(t)))
	answered := 0
	for id := range uint64(10) {
		if limited.ask(id+1, abi.OpSearch, abi.AppendSearch(nil, &want)).Code == abi.OK {
			answered++
		}
	}
	if answered != 3 { // 16 each, and one for the stream
		t.Errorf("%d of 10 searches are answered", answered)
	}
	without := open(t, serve(t, newNode(), nil).connect(t, newKey(t)))
	if got := without.ask(1, abi.OpSearch, abi.AppendSearch(nil, &want)); got.Code != abi.CodeUnknownOp {
		t.Errorf("without a searcher: %v", got.Code)
	}
}
