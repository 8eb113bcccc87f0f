package abi

import "github.com/seed79541315/postern/abi/cbor"

// TxResult is where a transaction stands: {1: id (bytes 32), 2: height (uint,
// 0 while it waits), 3: index of its outcome in the block, 4: outcome
// (chain.Outcome, absent while it waits), 5: the transaction (bytes; only
// when asked by id)}.
type TxResult struct {
	ID      Hash
	Height  uint64
	Index   uint64
	Outcome []byte
	Tx      []byte
}

// AppendTxResult appends the encoding of t.
func AppendTxResult(b []byte, t *TxResult) []byte {
	n := 3
	for _, present := range []bool{t.Outcome != nil, t.Tx != nil} {
		if present {
			n++
		}
	}
	b = cbor.AppendMap(b, n)
	b = cbor.AppendBytes(cbor.AppendUint(b, 1), t.ID[:])
	b = cbor.AppendUint(cbor.AppendUint(b, 2), t.Height)
	b = cbor.AppendUint(cbor.AppendUint(b, 3), t.Index)
	if t.Outcome != nil {
		b = append(cbor.AppendUint(b, 4), t.Outcome...)
	}
	if t.Tx != nil {
		b = cbor.AppendBytes(cbor.AppendUint(b, 5), t.Tx)
	}
	return b
}

// ParseTxResult reads a result; it aliases b.
func ParseTxResult(b []byte) (TxResult, error) {
	var t TxResult
	r := cbor.NewReader(b)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			t.ID = hashOf(&r)
		case 2:
			t.Height = r.Uint()
		case 3:
			t.Index = r.Uint()
		case 4:
			t.Outcome = r.Raw()
		case 5:
			t.Tx = r.Bytes()
		default:
			r.Skip()
		}
	}
	if err := r.Done(); err != nil {
		return TxResult{}, Malformed(err)
	}
	return t, nil
}
