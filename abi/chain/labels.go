package chain

import (
	"sort"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Limits of a device's labels.
const (
	MaxLabels     = 16
	MaxLabelBytes = 64
)

// Labels are short texts that a device's owner attaches to it: a map of text
// to text, keys of 1 and values of 0 to MaxLabelBytes bytes without control
// characters, at most MaxLabels of them. Policies see them as the subject's property "labels".
type Labels map[string]string

// Append appends the encoding of l.
func (l Labels) Append(b []byte) []byte {
	keys := make([]string, 0, len(l))
	for k := range l {
		keys = append(keys, k)
	}
	// Core deterministic order of short text keys: by length, then bytewise.
	sort.Slice(keys, func(i, j int) bool {
		if len(keys[i]) != len(keys[j]) {
			return len(keys[i]) < len(keys[j])
		}
		return keys[i] < keys[j]
	})
	b = cbor.AppendMap(b, len(keys))
	for _, k := range keys {
		b = cbor.AppendText(cbor.AppendText(b, k), l[k])
	}
	return b
}

func readLabels(r *cbor.Reader) Labels {
	raw := r.Raw() // checks order and repetition
	if r.Err() != nil {
		return nil
	}
	in := cbor.NewReader(raw)
	n := in.Map()
	if n == 0 {
		in.Fail(abi.CodeBadArgument)
	}
	if n > MaxLabels {
		in.Fail(abi.CodeTooLarge)
	}
	l := Labels{}
	for ; n > 0 && in.Err() == nil; n-- {
		k, v := in.Text(), in.Text()
		if k == "" || len(k) > MaxLabelBytes || len(v) > MaxLabelBytes || hasControl(k) || hasControl(v) {
			in.Fail(abi.CodeBadArgument)
		}
		l[k] = v
	}
	if err := in.Done(); err != nil {
		r.Fail(err)
	}
	return l
}
