package contract

import (
	"iter"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/sdk/contract/internal/host"
)

// Item is one value of the state, under the key that is its name.
type Item[T any] struct {
	name  string
	value Codec[T]
}

// NewItem is the item of a name. No two items or maps of a contract may have
// names of which one begins with the other.
func NewItem[T any](name string, value Codec[T]) Item[T] { return Item[T]{name, value} }

// Get reads the item; false when it was never set or deleted since. A value
// that the codec cannot read ends the call with code 1.
func (i Item[T]) Get() (v T, ok bool) {
	key := append(borrow(), i.name...)
	b, ok := host.Get(key)
	giveBack(key)
	if !ok {
		return v, false
	}
	return decode(i.value, b), true
}

// GetOr is the item, or other where there is none.
func (i Item[T]) GetOr(other T) T {
	if v, ok := i.Get(); ok {
		return v
	}
	return other
}

// Set writes the item.
func (i Item[T]) Set(v T) {
	key := append(borrow(), i.name...)
	value := i.value.Append(borrow(), v)
	host.Set(key, value)
	giveBack(value)
	giveBack(key)
}

// Delete removes the item; a missing one is fine.
func (i Item[T]) Delete() { host.Delete([]byte(i.name)) }

// decode reads a value of the contract's own state.
func decode[T any](c Codec[T], b []byte) T {
	r := borrowReader(b)
	v := c.Read(r)
	if err := r.Done(); err != nil {
		corrupt("a value in the state is not of its type: " + err.Error())
	}
	giveReaderBack(r)
	return v
}

// corrupt ends a call that met state of another form: of an earlier version
// of the contract that was not migrated.
func corrupt(text string) { host.Abort(uint16(abi.CodeMalformed), text) }

// Map is a part of the state: values under the keys that begin with its name,
// in the order of the keys.
type Map[K, V any] struct {
	name  string
	key   Key[K]
	value Codec[V]
}

// NewMap is the map of a name, such as "seats/". No two items or maps of a
// contract may have names of which one begins with the other.
func NewMap[K, V any](name string, key Key[K], value Codec[V]) Map[K, V] {
	return Map[K, V]{name, key, value}
}

// at is the state key of k, in a buffer to give back.
func (m Map[K, V]) at(k K) []byte { return m.key.Append(append(borrow(), m.name...), k) }

// Get reads the value of a key; false when there is none.
func (m Map[K, V]) Get(k K) (v V, ok bool) {
	key := m.at(k)
	b, ok := host.Get(key)
	giveBack(key)
	if !ok {
		return v, false
	}
	return decode(m.value, b), true
}

// Has says whether there is a value of a key.
func (m Map[K, V]) Has(k K) bool {
	key := m.at(k)
	ok := host.Has(key)
	giveBack(key)
	return ok
}

// Set writes the value of a key.
func (m Map[K, V]) Set(k K, v V) {
	key := m.at(k)
	value := m.value.Append(borrow(), v)
	host.Set(key, value)
	giveBack(value)
	giveBack(key)
}

// Delete removes the value of a key; a missing one is fine.
func (m Map[K, V]) Delete(k K) {
	key := m.at(k)
	host.Delete(key)
	giveBack(key)
}

// All walks over the map, as it is when the loop begins, in the order of its
// keys. Leave the loop early to limit it.
func (m Map[K, V]) All() iter.Seq2[K, V] { return m.scan([]byte(m.name), nil) }

// From is All, beginning at the first key that is not below start: the next
// page of a listing begins at the last one's end.
func (m Map[K, V]) From(start K) iter.Seq2[K, V] { return m.scan([]byte(m.name), m.at(start)) }

func (m Map[K, V]) scan(prefix, start []byte) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for key, value := range Scan(prefix, start) {
			k, rest, ok := m.key.Read(key[len(m.name):])
			if !ok || len(rest) > 0 {
				corrupt("a key in the state is not of its type")
			}
			if !yield(k, decode(m.value, value)) {
				return
			}
		}
	}
}

// StartingWith walks over the keys of m that begin with a text.
func StartingWith[V any](m Map[string, V], text string) iter.Seq2[string, V] {
	return m.scan(appendEscaped([]byte(m.name), text), nil)
}

// Under walks over the pairs of m with a first value, in the order of the
// second.
func Under[A, B, V any](m Map[Pair[A, B], V], first Key[A], a A) iter.Seq2[B, V] {
	return func(yield func(B, V) bool) {
		for p, v := range m.scan(first.Append([]byte(m.name), a), nil) {
			if !yield(p.Second, v) {
				return
			}
		}
	}
}

// Index is a set of pairs that lists the second values of each first one: the
// things of an owner, the entries of a day. A contract keeps it in step with
// the map that it is about.
type Index[A, B any] struct {
	first Key[A]
	pairs Map[Pair[A, B], struct{}]
}

// NewIndex is the index of a name, as NewMap.
func NewIndex[A, B any](name string, first Key[A], second Key[B]) Index[A, B] {
	return Index[A, B]{first, NewMap(name, PairKey(first, second), presence)}
}

// presence is the codec of what only is there.
var presence = Codec[struct{}]{
	Append: func(b []byte, _ struct{}) []byte { return cbor.AppendBool(b, true) },
	Read: func(r *cbor.Reader) struct{} {
		r.Bool()
		return struct{}{}
	},
}

// Add adds a pair; one that is there already is fine.
func (x Index[A, B]) Add(a A, b B) { x.pairs.Set(Pair[A, B]{a, b}, struct{}{}) }

// Remove removes a pair; a missing one is fine.
func (x Index[A, B]) Remove(a A, b B) { x.pairs.Delete(Pair[A, B]{a, b}) }

// Has says whether there is a pair.
func (x Index[A, B]) Has(a A, b B) bool { return x.pairs.Has(Pair[A, B]{a, b}) }

// Of walks over the second values of a first one, in their order.
func (x Index[A, B]) Of(a A) iter.Seq[B] {
	return func(yield func(B) bool) {
		for b := range Under(x.pairs, x.first, a) {
			if !yield(b) {
				return
			}
		}
	}
}
