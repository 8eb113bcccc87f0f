package abi

import "github.com/seed79541315/postern/abi/cbor"

// Answer is a decision and all that a log record of it needs: a map
//
//	1 permit (bool)            7 record number (uint)
//	2 code (uint), 0 if permit 8 height (uint)
//	3 reason (uint)            9 contract (text)
//	4 reason id (text)        10 code hash (bytes 32)
//	5 obligations (array)     11 staleness, ms (uint)
//	6 time to live, ms (uint) 12 the gateway's now, ms (uint)
//
// 3 to 6, 9 and 10 are absent when zero. 3 to 5 are the policy's own. The record
// number is that of the gateway's decision log, under which it gives the
// receipt; 0 if it recorded nothing, as for a caller that it does not know.
// Clients skip keys that they do not know.
type Answer struct {
	Permit      bool
	Code        Code
	Reason      uint64
	ReasonID    string
	Obligations []byte
	TTL         uint64
	Record      uint64
	Height      uint64
	Contract    string
	CodeHash    Hash
	Staleness   uint64
	Now         int64
}

// AppendAnswer appends the encoding of a.
func AppendAnswer(b []byte, a *Answer) []byte {
	n := 6
	for _, present := range []bool{a.Reason != 0, a.ReasonID != "", a.Obligations != nil, a.TTL != 0, a.Contract != "", a.CodeHash != Hash{}} {
		if present {
			n++
		}
	}
	b = cbor.AppendMap(b, n)
	b = cbor.AppendBool(cbor.AppendUint(b, 1), a.Permit)
	b = cbor.AppendUint(cbor.AppendUint(b, 2), uint64(a.Code))
	if a.Reason != 0 {
		b = cbor.AppendUint(cbor.AppendUint(b, 3), a.Reason)
	}
	if a.ReasonID != "" {
		b = cbor.AppendText(cbor.AppendUint(b, 4), a.ReasonID)
	}
	if a.Obligations != nil {
		b = append(cbor.AppendUint(b, 5), a.Obligations...)
	}
	if a.TTL != 0 {
		b = cbor.AppendUint(cbor.AppendUint(b, 6), a.TTL)
	}
	b = cbor.AppendUint(cbor.AppendUint(b, 7), a.Record)
	b = cbor.AppendUint(cbor.AppendUint(b, 8), a.Height)
	if a.Contract != "" {
		b = cbor.AppendText(cbor.AppendUint(b, 9), a.Contract)
	}
	if a.CodeHash != (Hash{}) {
		b = cbor.AppendBytes(cbor.AppendUint(b, 10), a.CodeHash[:])
	}
	b = cbor.AppendUint(cbor.AppendUint(b, 11), a.Staleness)
	return cbor.AppendInt(cbor.AppendUint(b, 12), a.Now)
}

// ParseAnswer reads an answer; it aliases b.
func ParseAnswer(b []byte) (Answer, error) {
	r := cbor.NewReader(b)
	a := readAnswer(&r)
	if err := r.Done(); err != nil {
		return Answer{}, Malformed(err)
	}
	return a, nil
}

// ParseAnswers reads the answers to a batch, at most MaxBatch.
func ParseAnswers(b []byte) ([]Answer, error) {
	r := cbor.NewReader(b)
	n := r.Array()
	if n > MaxBatch {
		return nil, CodeTooLarge
	}
	list := make([]Answer, 0, n)
	for ; n > 0 && r.Err() == nil; n-- {
		list = append(list, readAnswer(&r))
	}
	if err := r.Done(); err != nil {
		return nil, Malformed(err)
	}
	return list, nil
}

func readAnswer(r *cbor.Reader) (a Answer) {
	decided := false
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			a.Permit, decided = r.Bool(), true
		case 2:
			a.Code = codeOf(r)
		case 3:
			a.Reason = r.Uint()
		case 4:
			a.ReasonID = r.Text()
		case 5:
			a.Obligations = rawArray(r)
		case 6:
			a.TTL = r.Uint()
		case 7:
			a.Record = r.Uint()
		case 8:
			a.Height = r.Uint()
		case 9:
			a.Contract = r.Text()
		case 10:
			a.CodeHash = hashOf(r)
		case 11:
			a.Staleness = r.Uint()
		case 12:
			a.Now = r.Int()
		default:
			r.Skip()
		}
	}
	if !decided || a.Permit && a.Code != OK {
		r.Fail(because(CodeMalformed, "the answer has no decision, or a permit with an error"))
	}
	return a
}
