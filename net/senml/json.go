package senml

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// parseJSON reads a pack in JSON. It goes over canonical CBOR, which keeps
// numbers exact and refuses repeated fields.
func parseJSON(pack []byte) ([]entry, error) {
	b, err := cbor.AppendJSON(nil, pack)
	if errors.Is(err, cbor.ErrInexact) {
		return nil, fmt.Errorf("%w: %w", err, abi.CodeBadNumber)
	}
	if err != nil {
		return nil, abi.Malformed(err)
	}
	r := cbor.NewReader(b)
	if r.Kind() != cbor.KindArray {
		return nil, fmt.Errorf("a pack is an array: %w", abi.CodeBadArgument)
	}
	n := r.Array()
	if n > MaxRecords {
		return nil, fmt.Errorf("%d records: %w", n, abi.CodeTooLarge)
	}
	entries := make([]entry, n)
	for i := range entries {
		if entries[i], err = jsonEntry(&r); err != nil {
			return nil, fmt.Errorf("record %d: %w", i, err)
		}
	}
	return entries, nil
}

func jsonEntry(r *cbor.Reader) (entry, error) {
	if r.Kind() != cbor.KindMap {
		return nil, fmt.Errorf("a record is an object: %w", abi.CodeBadArgument)
	}
	e := entry{}
	for n := r.Map(); n > 0; n-- {
		key := r.Text()
		l, known := labels[key]
		if !known {
			if err := foreign(key); err != nil {
				return nil, err
			}
			r.Skip()
			continue
		}
		f, err := jsonField(r, l)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		e[l] = f
	}
	return e, r.Err()
}

func jsonField(r *cbor.Reader, l label) (f field, err error) {
	found := r.Kind()
	switch want := kinds[l]; {
	case want == number && (found == cbor.KindUint || found == cbor.KindNint || found == cbor.KindTag):
		f.number = r.Decimal()
	case want == text && found == cbor.KindText:
		f.text = r.Text()
		err = checkText(f.text)
	case want == boolean && found == cbor.KindBool:
		f.bool = r.Bool()
	case want == data && found == cbor.KindText:
		f.data, err = base64.RawURLEncoding.Strict().DecodeString(r.Text())
		if err != nil {
			err = fmt.Errorf("not base64url without padding: %w", abi.CodeBadArgument)
		}
		if len(f.data) > MaxText {
			err = fmt.Errorf("%d bytes of data: %w", len(f.data), abi.CodeTooLarge)
		}
	default:
		err = wrongKind(l, found.String())
	}
	return f, err
}
