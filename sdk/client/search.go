package client

import (
	"context"

	"github.com/seed79541315/postern/abi"
)

// Search asks which subjects, resources or actions a policy would permit, one
// page at a time: the next page is asked for with the page's token and all else
// the same. It is only as good as the gateway's word, and no permit: what was
// found is decided when it is used. A device or account that is no enforcement
// point leaves the request's subject out, or names itself, and cannot search for
// subjects.
func (c *Client) Search(ctx context.Context, s *abi.Search) (abi.SearchPage, error) {
	raw, err := c.do(ctx, abi.OpSearch, abi.AppendSearch(nil, s))
	if err != nil {
		return abi.SearchPage{}, err
	}
	page, err := abi.ParseSearchPage(raw)
	return page, malformed(err)
}
