package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/storage"
)

// memory is a reader over a map; it fails when told so.
type memory struct {
	pairs map[string]string
	err   error
}

func (m *memory) get(key []byte) ([]byte, bool, error) {
	if m.err != nil {
		return nil, false, &fault{m.err}
	}
	v, ok := m.pairs[string(key)]
	return []byte(v), ok, nil
}

func (m *memory) scan(prefix, start []byte) storage.Iterator {
	it := &memoryIterator{m: m, at: -1}
	for k := range m.pairs {
		if strings.HasPrefix(k, string(prefix)) && k >= string(start) {
			it.keys = append(it.keys, k)
		}
	}
	slices.Sort(it.keys)
	return it
}

type memoryIterator struct {
	m    *memory
	keys []string
	at   int
}

func (i *memoryIterator) Next() bool    { i.at++; return i.m.err == nil && i.at < len(i.keys) }
func (i *memoryIterator) Key() []byte   { return []byte(i.keys[i.at]) }
func (i *memoryIterator) Value() []byte { return []byte(i.m.pairs[i.keys[i.at]]) }
func (i *memoryIterator) Err() error    { return i.m.err }
func (i *memoryIterator) Close()        {}

func balanced(o *overlay) bool {
	if o == nil {
		return true
	}
	d := o.left.depth() - o.right.depth()
	return d >= -1 && d <= 1 && o.height == 1+max(o.left.depth(), o.right.depth()) && balanced(o.left) && balanced(o.right)
}

func listed(it storage.Iterator) string {
	defer it.Close()
	var b strings.Builder
	for it.Next() {
		fmt.Fprintf(&b, "%s=%s ", it.Key(), it.Value())
	}
	return b.String()
}

func listedModel(pairs map[string]string, prefix, start string) string {
	var keys []string
	for k := range pairs {
		if strings.HasPrefix(k, prefix) && k >= start {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "%s=%s ", k, pairs[k])
	}
	return b.String()
}

// A state over a base answers as a plain map would: gets, scans that began
// earlier, growth, roll-backs, and the changes that are left at the end.
func TestStateIsAMap(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		base := &memory{pairs: map[string]string{}}
		for range 60 {
			base.pairs[fmt.Sprintf("k%02d", r.IntN(100))] = fmt.Sprint(r.IntN(10))
		}
		s, model := newState(base), map[string]string{}
		for k, v := range base.pairs {
			model[k] = v
		}
		copied := func() map[string]string {
			c := map[string]string{}
			for k, v := range model {
				c[k] = v
			}
			return c
		}
		type saved struct {
			mark  mark
			model map[string]string
		}
		var marks []saved
		for range 400 {
			key := fmt.Sprintf("k%02d", r.IntN(100))
			switch r.IntN(8) {
			case 0, 1, 2:
				v := fmt.Sprint(r.IntN(1000))
				model[key] = v
				if err := s.set([]byte(key), []byte(v)); err != nil {
					t.Fatal(err)
				}
			case 3, 4:
				delete(model, key)
				if err := s.delete([]byte(key)); err != nil {
					t.Fatal(err)
				}
			case 5:
				marks = append(marks, saved{s.mark(), copied()})
			case 6:
				if n := len(marks); n > 0 {
					s.rollback(marks[n-1].mark)
					model, marks = marks[n-1].model, marks[:n-1]
				}
			case 7:
				want := listedModel(model, key[:2], key)
				it := s.scan([]byte(key[:2]), []byte(key))
				if err := s.set([]byte(key[:2]+"zz"), nil); err != nil { // must not show
					t.Fatal(err)
				}
				if got := listed(it); got != want {
					t.Fatalf("scan gives %s, want %s", got, want)
				}
				if err := s.delete([]byte(key[:2] + "zz")); err != nil {
					t.Fatal(err)
				}
			}
			v, ok, err := s.get([]byte(key))
			if m, there := model[key]; err != nil || ok != there || string(v) != m {
				t.Fatalf("get %s: %q %v %v, want %q %v", key, v, ok, err, m, there)
			}
		}
		checkEnd(t, s, base, model)
	}
}

func checkEnd(t *testing.T, s *state, base *memory, model map[string]string) {
	t.Helper()
	if !balanced(s.top) {
		t.Fatal("the overlay is out of balance")
	}
	result := map[string]string{}
	growth := int64(0)
	for k, v := range base.pairs {
		result[k] = v
		growth -= int64(len(k) + len(v))
	}
	last := ""
	for _, c := range s.top.changes(nil) {
		if string(c.Key) <= last {
			t.Fatal("changes are out of order")
		}
		last = string(c.Key)
		if _, there := result[last]; c.Value == nil && !there {
			t.Fatalf("%s is deleted, but the base does not have it", last)
		}
		delete(result, last)
		if c.Value != nil {
			result[last] = string(c.Value)
		}
	}
	for k, v := range model {
		growth += int64(len(k) + len(v))
	}
	if listedModel(result, "", "") != listedModel(model, "", "") || s.growth != growth {
		t.Fatalf("changes lead elsewhere, or growth is %d, want %d", s.growth, growth)
	}
}

// The tree stays shallow for keys in order, the order an attacker would take.
func TestOverlayStaysShallow(t *testing.T) {
	var o *overlay
	for i := range 20_000 {
		o = o.put(fmt.Sprintf("%06d", i), []byte{}, false)
	}
	if !balanced(o) || o.depth() > 21 { // 1.44 log2(20000)
		t.Fatalf("depth %d", o.depth())
	}
}

// A failing base is a fault, wherever it shows, also when its error carries a
// code.
func TestFaultsAreNoRefusals(t *testing.T) {
	base := &memory{pairs: map[string]string{"k": "v"}, err: fmt.Errorf("disk: %w", abi.CodeBusy)}
	s := newState(base)
	_, _, getErr := s.get([]byte("k"))
	_, _, loadErr := load(s, []byte("k"), parseUint)
	broken := newState(&memory{pairs: map[string]string{"k": "\xff"}})
	_, _, parseErr := load(broken, []byte("k"), parseUint)
	it := s.scan([]byte("k"), nil)
	it.Next()
	for name, err := range map[string]error{
		"get": getErr, "load": loadErr, "set": s.set([]byte("k"), nil), "parse": parseErr, "scan": it.Err(),
		"each": each(s, []byte("k"), func(_, _ []byte) (bool, error) { return true, nil }),
	} {
		if code, ok := refusal(err); err == nil || ok {
			t.Errorf("%s: %v passes for a refusal with %v", name, err, code)
		}
		if code, ok := errors.AsType[abi.Code](err); ok {
			t.Errorf("%s: the contract host would find %v", name, code)
		}
	}
	if !errors.Is(getErr, abi.CodeBusy) {
		t.Error("the cause is lost")
	}
}
