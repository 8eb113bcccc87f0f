package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// searchSeal seals the tokens of searches' pages. Its key lives as long as the
// process: a search that a restart interrupts begins again.
//
// A token is the height of the page before (8 bytes, big-endian), the policy
// contract's cursor, and the first 16 bytes of an HMAC-SHA256 over both, the
// caller and the search. So nobody hands a contract a cursor that it did not
// give for this very search, and a token that leaks is of use to its caller
// alone.
type searchSeal struct{ key [32]byte }

func newSearchSeal() *searchSeal {
	s := &searchSeal{}
	rand.Read(s.key[:])
	return s
}

const (
	searchHeightSize = 8
	searchMACSize    = 16
)

func (s *searchSeal) mac(who abi.Caller, q *abi.Search, body []byte) []byte {
	b := cbor.AppendBytes(cbor.AppendArray(nil, 6), who.Key)
	b = cbor.AppendText(cbor.AppendBytes(b, who.Account[:]), q.Domain)
	b = cbor.AppendBytes(cbor.AppendUint(b, uint64(q.What)), q.Request)
	h := hmac.New(sha256.New, s.key[:])
	h.Write(cbor.AppendBytes(b, body))
	return h.Sum(nil)[:searchMACSize]
}

// seal makes a page's token of the contract's cursor; none of none.
func (s *searchSeal) seal(who abi.Caller, q *abi.Search, page *abi.SearchPage) {
	if page.Token == nil {
		return
	}
	body := binary.BigEndian.AppendUint64(nil, page.Height)
	body = append(body, page.Token...)
	page.Token = append(body, s.mac(who, q, body)...)
}

// open gives the cursor back, and refuses what it did not seal, or not for this.
// A token of a height that the node is not at yet is from before it lost blocks.
func (s *searchSeal) open(who abi.Caller, q *abi.Search, height uint64) ([]byte, error) {
	if q.Token == nil {
		return nil, nil
	}
	if len(q.Token) <= searchHeightSize+searchMACSize {
		return nil, abi.CodeBadArgument
	}
	body, mac := q.Token[:len(q.Token)-searchMACSize], q.Token[len(q.Token)-searchMACSize:]
	if !hmac.Equal(mac, s.mac(who, q, body)) {
		return nil, abi.CodeBadArgument
	}
	if binary.BigEndian.Uint64(body) > height {
		return nil, abi.CodeSearchOutdated
	}
	return body[searchHeightSize:], nil
}

// Search finds what a domain's policy would permit, one page at a time.
func (s service) Search(ctx context.Context, caller abi.Caller, q *abi.Search) (abi.SearchPage, error) {
	if err := s.Ready(); err != nil {
		return abi.SearchPage{}, err
	}
	inner := *q
	var err error
	if inner.Token, err = s.n.searches.open(caller, q, s.n.ledger.Head().Height); err != nil {
		return abi.SearchPage{}, err
	}
	page, err := s.n.ledger.Search(ctx, caller, &inner)
	if err == nil {
		s.n.searches.seal(caller, q, &page)
	}
	return page, err
}
