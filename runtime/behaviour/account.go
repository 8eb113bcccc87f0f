package behaviour

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// AttackAccount is the evidence of an alert: {1: kind, 2: count, 3: time of the
// first, 4: of the account, ms of the gateway's clock, 5: [[origin, count] …],
// those that came most first}
type AttackAccount struct {
	Kind         string
	Count        uint64
	Since, Until int64
	Sources      []AttackSource // at most 16; in a flood from more, the counts are too low
}

// AttackSource is an address or a key, and how often it came.
type AttackSource struct {
	From  string
	Count uint64
}

// Append appends the encoding of a.
func (a *AttackAccount) Append(b []byte) []byte {
	b = cbor.AppendText(cbor.AppendUint(cbor.AppendMap(b, 5), 1), a.Kind)
	b = cbor.AppendUint(cbor.AppendUint(b, 2), a.Count)
	b = cbor.AppendInt(cbor.AppendUint(b, 3), a.Since)
	b = cbor.AppendInt(cbor.AppendUint(b, 4), a.Until)
	b = cbor.AppendArray(cbor.AppendUint(b, 5), len(a.Sources))
	for _, s := range a.Sources {
		b = cbor.AppendUint(cbor.AppendText(cbor.AppendArray(b, 2), s.From), s.Count)
	}
	return b
}

// ParseAttackAccount reads an account. Errors are, or wrap, abi.CodeMalformed and
// abi.CodeBadArgument.
func ParseAttackAccount(b []byte) (a AttackAccount, err error) {
	r := cbor.NewReader(b)
	seen := 0
	for f := r.Fields(); f.Next(); {
		seen++
		switch f.Key() {
		case 1:
			a.Kind = r.Text()
		case 2:
			a.Count = r.Uint()
		case 3:
			a.Since = r.Int()
		case 4:
			a.Until = r.Int()
		case 5:
			for n := r.Array(); n > 0 && r.Err() == nil; n-- {
				r.ArrayN(2)
				a.Sources = append(a.Sources, AttackSource{r.Text(), r.Uint()})
			}
		default:
			r.Fail(abi.CodeMalformed)
		}
	}
	if err := r.Done(); err != nil {
		return AttackAccount{}, abi.Malformed(err)
	}
	if seen != 5 {
		return AttackAccount{}, abi.CodeBadArgument
	}
	return a, nil
}
