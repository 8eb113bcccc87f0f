package gateway

import (
	"context"
	"time"

	"github.com/seed79541315/postern/abi"
)

// Searcher is what searches need of the node.
type Searcher interface {
	// Search finds what the policy of a domain would permit. Its token is this
	// Node's own, which tells one that it did not give to this caller for this
	// search.
	Search(ctx context.Context, caller abi.Caller, s *abi.Search) (abi.SearchPage, error)
}

// searchCost is how many requests of the rate a search counts for: the node calls
// the policy contract up to so many times for a page.
const searchCost = 16

// search answers one page of a search.
func (st *stream) search(body []byte, _ abi.Standing) ([]byte, abi.Code) {
	searcher := st.conn.server.config.Searcher
	if searcher == nil {
		return nil, abi.CodeUnknownOp
	}
	if !st.conn.account.take(time.Now(), searchCost-1) {
		return nil, abi.CodeRateLimited
	}
	s, err := abi.ParseSearch(body)
	if err != nil {
		return nil, codeOf(err)
	}
	page, err := searcher.Search(st.conn.ctx, abi.Caller{Key: st.conn.account.key}, &s)
	if err != nil {
		return nil, st.failed("search", err)
	}
	st.body = abi.AppendSearchPage(st.body[:0], &page)
	return st.body, abi.OK
}
