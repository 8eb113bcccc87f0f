package proof

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// FieldSet is a set of fields.
type FieldSet uint16

// Fields is the set of some fields.
func Fields(list ...Field) (s FieldSet) {
	for _, f := range list {
		s |= 1 << f
	}
	return s
}

// Has says whether f is in the set.
func (s FieldSet) Has(f Field) bool { return s>>f&1 == 1 }

// List is the set in ascending order.
func (s FieldSet) List() (list []Field) {
	for f := Field(1); f <= numFields; f++ {
		if s.Has(f) {
			list = append(list, f)
		}
	}
	return list
}

// ParseField is the field of a name.
func ParseField(name string) (Field, error) {
	i := slices.Index(fieldNames[:], name)
	if i < 0 {
		return 0, fmt.Errorf("a record has no field %q: %w", name, abi.CodeBadArgument)
	}
	return Field(i + 1), nil
}

// Disclosure shows some fields of a record and hides the others. It has the
// record's leaf whatever it hides, so that nothing can be changed or left out
// on the way. Encoded it is an array of ten: [salt (bytes), value (bytes)] for a
// field that is shown, the commitment (bytes) for one that is hidden.
type Disclosure [numFields]disclosed

// disclosed is a field that is shown, or hidden where value is nil.
type disclosed struct {
	salt       Salt
	value      []byte
	commitment abi.Hash
}

// Disclose shows all of a record but the hidden fields.
func (r *Record) Disclose(hidden FieldSet) *Disclosure {
	var d Disclosure
	for i, salt := range r.salts() {
		d[i].salt, d[i].value = salt, r.appendValue(nil, Field(i+1))
	}
	d.Hide(hidden)
	return &d
}

// Hide hides further fields. Who holds a disclosure may do that, too.
func (d *Disclosure) Hide(hidden FieldSet) {
	for _, f := range hidden.List() {
		d[f-1] = disclosed{commitment: d.commit(f)}
	}
}

// commit is the commitment to a field.
func (d *Disclosure) commit(f Field) abi.Hash {
	s := &d[f-1]
	if s.value == nil {
		return s.commitment
	}
	return sha256.Sum256(append(append(s.salt[:], byte(f)), s.value...))
}

// Shown is the set of fields that are shown.
func (d *Disclosure) Shown() (s FieldSet) {
	for i := range d {
		if d[i].value != nil {
			s |= Fields(Field(i + 1))
		}
	}
	return s
}

// Leaf is the leaf hash of the record.
func (d *Disclosure) Leaf() abi.Hash {
	var commitments [numFields]abi.Hash
	for i := range commitments {
		commitments[i] = d.commit(Field(i + 1))
	}
	return leafOf(&commitments)
}

// Record is what is shown of the record; fields that are hidden are zero, and
// so is the salt. An error wraps abi.CodeMalformed if a value is none.
func (d *Disclosure) Record() (Record, error) {
	var r Record
	for i := range d {
		if d[i].value == nil {
			continue
		}
		in := cbor.NewReader(d[i].value)
		r.readValue(&in, Field(i+1))
		if err := in.Done(); err != nil {
			return Record{}, fmt.Errorf("%v of a record: %w", Field(i+1), abi.Malformed(err))
		}
	}
	return r, nil
}

// Append appends the encoding of d.
func (d *Disclosure) Append(b []byte) []byte {
	b = cbor.AppendArray(b, numFields)
	for i := range d {
		if s := &d[i]; s.value == nil {
			b = cbor.AppendBytes(b, s.commitment[:])
		} else {
			b = cbor.AppendBytes(cbor.AppendBytes(cbor.AppendArray(b, 2), s.salt[:]), s.value)
		}
	}
	return b
}

// ParseDisclosure reads a disclosure, which aliases b. That the values are of
// their fields is checked, too.
func ParseDisclosure(b []byte) (*Disclosure, error) {
	var d Disclosure
	r := cbor.NewReader(b)
	r.ArrayN(numFields)
	for i := range d {
		s := &d[i]
		if r.Kind() == cbor.KindArray {
			r.ArrayN(2)
			copy(s.salt[:], r.BytesN(SaltSize))
			if s.value = r.Bytes(); len(s.value) == 0 {
				r.Fail(fmt.Errorf("%w: a field of a record is shown and empty", abi.CodeMalformed))
				break
			}
		} else {
			copy(s.commitment[:], r.BytesN(len(s.commitment)))
		}
	}
	if err := r.Done(); err != nil {
		return nil, asMalformed(err)
	}
	if _, err := d.Record(); err != nil {
		return nil, err
	}
	return &d, nil
}

// Value is the encoding of a field that is shown, nil if it is hidden.
func (d *Disclosure) Value(f Field) []byte { return d[f-1].value }
