package abi

import "github.com/seed79541315/postern/abi/cbor"

// ReceiptRequest is the body of a receipt: {1: record number, 2: now (bool), 3:
// offset}. Now asks the gateway to anchor the log's head if the record is not
// under an anchored one yet; the offset, of the part that is wanted, and now are
// absent when zero.
type ReceiptRequest struct {
	Record uint64
	Now    bool
	Offset uint64
}

// AppendReceiptRequest appends the encoding of q.
func AppendReceiptRequest(b []byte, q *ReceiptRequest) []byte {
	n := 1
	for _, present := range []bool{q.Now, q.Offset != 0} {
		if present {
			n++
		}
	}
	b = cbor.AppendMap(b, n)
	b = cbor.AppendUint(cbor.AppendUint(b, 1), q.Record)
	if q.Now {
		b = cbor.AppendBool(cbor.AppendUint(b, 2), true)
	}
	if q.Offset != 0 {
		b = cbor.AppendUint(cbor.AppendUint(b, 3), q.Offset)
	}
	return b
}

// ParseReceiptRequest reads a request for a receipt.
func ParseReceiptRequest(b []byte) (ReceiptRequest, error) {
	var q ReceiptRequest
	r := cbor.NewReader(b)
	named := false
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			q.Record, named = r.Uint(), true
		case 2:
			if q.Now = r.Bool(); !q.Now {
				r.Fail(CodeMalformed)
			}
		case 3:
			if q.Offset = r.Uint(); q.Offset == 0 {
				r.Fail(CodeMalformed)
			}
		default:
			r.Fail(CodeMalformed)
		}
	}
	if err := r.Done(); err != nil {
		return ReceiptRequest{}, Malformed(err)
	}
	if !named {
		return ReceiptRequest{}, because(CodeBadArgument, "no record is named")
	}
	return q, nil
}

// Part is a part of something that may be larger than a frame: {1: part (bytes),
// 2: total length, 3: SHA-256 of the whole}. What is asked for again may have
// changed: parts belong together if their hashes are the same.
type Part struct {
	Bytes []byte
	Total uint64
	Hash  Hash
}

// AppendPart appends the encoding of p.
func AppendPart(b []byte, p *Part) []byte {
	b = cbor.AppendMap(b, 3)
	b = cbor.AppendBytes(cbor.AppendUint(b, 1), p.Bytes)
	b = cbor.AppendUint(cbor.AppendUint(b, 2), p.Total)
	return cbor.AppendBytes(cbor.AppendUint(b, 3), p.Hash[:])
}

// ParsePart reads a part; it aliases b.
func ParsePart(b []byte) (Part, error) {
	var p Part
	r := cbor.NewReader(b)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			p.Bytes = r.Bytes()
		case 2:
			p.Total = r.Uint()
		case 3:
			p.Hash = hashOf(&r)
		default:
			r.Skip()
		}
	}
	if err := r.Done(); err != nil {
		return Part{}, Malformed(err)
	}
	if uint64(len(p.Bytes)) > p.Total {
		return Part{}, because(CodeMalformed, "a part longer than the whole")
	}
	return p, nil
}
