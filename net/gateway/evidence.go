package gateway

import (
	"encoding/binary"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// evidence gives what was kept of a device, sealed, to its owner and to
// authorities.
func (st *stream) evidence(body []byte, standing abi.Standing) ([]byte, abi.Code) {
	var device abi.Hash
	from := uint64(0)
	code := st.parseRead(body, 1<<1, func(key uint64, r *cbor.Reader) bool {
		switch key {
		case 1:
			copy(device[:], r.BytesN(len(device)))
		case 2:
			from = r.Uint()
		default:
			return false
		}
		return true
	})
	if code != abi.OK {
		return nil, code
	}
	node := st.conn.server.config.Node
	d, err := node.Device(device)
	switch {
	case err != nil:
		return nil, st.failed("evidence", err)
	case standing.Roles&abi.RoleAuthority == 0 && d.Owner != standing.Account:
		return nil, abi.CodeNotPermitted
	}
	prefix := chain.SealedCountKey(device) // the items stand behind their count
	pairs, more, _, err := node.Scan(prefix, chain.SealedKey(device, from), maxScan)
	if err != nil {
		return nil, st.failed("evidence", err)
	}
	fit := fitting(pairs)
	page := abi.SealedPage{More: more || fit < len(pairs)}
	for _, p := range pairs[:fit] {
		page.Items = append(page.Items, abi.NumberedItem{Number: binary.BigEndian.Uint64(p[0][len(prefix):]), Item: p[1]})
	}
	st.body = abi.AppendSealedPage(st.body[:0], &page)
	return st.body, abi.OK
}
