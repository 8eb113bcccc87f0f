package gateway

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// maxScan is how many pairs the Node is asked for at a time. The longest value
// that the state holds has 32 KiB (a chunk of code), so this is 1 MiB at most.
const maxScan = 32

// pageBytes is how much a page of a scan or a part of a block holds: with
// what stands around it, it fits into a frame.
const pageBytes = abi.MaxFrame - 1<<10

// parseRead is parseBody for a request whose answer may be large: it waits for a
// slot for that, too.
func (st *stream) parseRead(body []byte, required uint64, read func(key uint64, r *cbor.Reader) bool) abi.Code {
	if code := parseBody(body, required, read); code != abi.OK {
		return code
	}
	if !st.holdLarge() {
		return abi.CodeBusy
	}
	return abi.OK
}

func (st *stream) prove(body []byte, _ abi.Standing) ([]byte, abi.Code) {
	var key []byte
	code := st.parseRead(body, 1<<1, func(k uint64, r *cbor.Reader) bool {
		key = r.Bytes()
		return k == 1
	})
	if code != abi.OK {
		return nil, code
	}
	entry, err := st.conn.server.config.Node.Prove(key)
	if err != nil {
		return nil, st.failed("prove", err)
	}
	return entry, abi.OK
}

func (st *stream) query(body []byte, _ abi.Standing) ([]byte, abi.Code) {
	var contract string
	var message []byte
	code := st.parseRead(body, 1<<1|1<<2, func(key uint64, r *cbor.Reader) bool {
		switch key {
		case 1:
			contract = r.Text()
		case 2:
			message = r.Bytes()
		default:
			return false
		}
		return true
	})
	if code != abi.OK {
		return nil, code
	}
	out, height, err := st.conn.server.config.Node.Query(st.conn.ctx, contract, message)
	if err != nil {
		return nil, st.failed("query", err)
	}
	b := cbor.AppendMap(st.body[:0], 2)
	b = cbor.AppendBytes(cbor.AppendUint(b, 1), out)
	st.body = cbor.AppendUint(cbor.AppendUint(b, 2), height)
	return st.body, abi.OK
}

func (st *stream) scan(body []byte, _ abi.Standing) ([]byte, abi.Code) {
	var prefix, start []byte
	limit := uint64(maxScan)
	code := st.parseRead(body, 1<<1, func(key uint64, r *cbor.Reader) bool {
		switch key {
		case 1:
			prefix = r.Bytes()
		case 2:
			start = r.Bytes()
		case 3:
			if limit = r.Uint(); limit == 0 {
				r.Fail(abi.CodeBadArgument)
			}
		default:
			return false
		}
		return true
	})
	if code != abi.OK {
		return nil, code
	}
	pairs, more, height, err := st.conn.server.config.Node.Scan(prefix, start, int(min(limit, maxScan)))
	if err != nil {
		return nil, st.failed("scan", err)
	}
	fit := fitting(pairs)
	st.body = appendPage(st.body[:0], pairs[:fit], more || fit < len(pairs), height)
	return st.body, abi.OK
}

// fitting is how many of the pairs fit into a page.
func fitting(pairs [][2][]byte) int {
	const heads = 16 // more than the CBOR heads of a pair take
	size := 0
	for i, p := range pairs {
		if size += len(p[0]) + len(p[1]) + heads; size > pageBytes {
			return i
		}
	}
	return len(pairs)
}

func appendPage(b []byte, pairs [][2][]byte, more bool, height uint64) []byte {
	b = cbor.AppendArray(cbor.AppendUint(cbor.AppendMap(b, 3), 1), len(pairs))
	for _, p := range pairs {
		b = cbor.AppendBytes(cbor.AppendBytes(cbor.AppendArray(b, 2), p[0]), p[1])
	}
	b = cbor.AppendBool(cbor.AppendUint(b, 2), more)
	return cbor.AppendUint(cbor.AppendUint(b, 3), height)
}

func (st *stream) block(body []byte, _ abi.Standing) ([]byte, abi.Code) {
	var height, offset uint64
	code := st.parseRead(body, 1<<1, func(key uint64, r *cbor.Reader) bool {
		switch key {
		case 1:
			height = r.Uint()
		case 2:
			offset = r.Uint()
		default:
			return false
		}
		return true
	})
	if code != abi.OK {
		return nil, code
	}
	block, certificate, outcomes, err := st.conn.server.config.Node.Block(height)
	if err != nil {
		return nil, st.failed("block", err)
	}
	return st.blockPart(offset, block, certificate, outcomes)
}

func (st *stream) blockPart(offset uint64, parts ...[]byte) ([]byte, abi.Code) {
	size := 0
	for _, p := range parts {
		size += len(p) + 16
	}
	whole := cbor.AppendMap(make([]byte, 0, size), len(parts))
	for i, p := range parts {
		whole = cbor.AppendBytes(cbor.AppendUint(whole, uint64(i+1)), p)
	}
	if offset > uint64(len(whole)) {
		return nil, abi.CodeBadArgument
	}
	part := whole[offset:]
	b := cbor.AppendMap(st.body[:0], 2)
	b = cbor.AppendBytes(cbor.AppendUint(b, 1), part[:min(len(part), pageBytes)])
	st.body = cbor.AppendUint(cbor.AppendUint(b, 2), uint64(len(whole)))
	return st.body, abi.OK
}
