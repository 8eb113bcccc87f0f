package custody

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Ask asks the contract's query.
type Ask func(message []byte) (answer []byte, err error)

// Execute runs the contract's execute by a transaction and waits for it.
type Execute func(message []byte) error

// ErrForm is returned where an answer is none of this contract's.
var ErrForm = errors.New("the contract's answer has an unknown form")

// ErrNotThere is returned where the ledger has no such document.
var ErrNotThere = errors.New("the ledger has no such document")

// pageLimit is how many entries a page may have.
const pageLimit = 64

// Import brings a document in, an event a transaction, and tells of each how many
// of how many are there. What was brought in before is passed over, so an import
// that was broken off goes on when it is called again.
func Import(d *Document, ask Ask, execute Execute, progress func(done, total int)) error {
	there, err := taken(d, ask, execute)
	if err != nil {
		return err
	}
	for i := range d.Events {
		if !there[uint64(i+1)] {
			if err := execute(d.Take(i)); err != nil {
				return fmt.Errorf("the event of line %d: %w", d.Events[i].Line, err)
			}
		}
		progress(i+1, len(d.Events))
	}
	return nil
}

// taken are the places of a document whose events are there. A document that is
// new is begun.
func taken(d *Document, ask Ask, execute Execute) (map[uint64]bool, error) {
	if d.Bare() {
		e, err := findEvent(ask, d.Events[0].ID())
		return map[uint64]bool{1: e != nil}, err
	}
	there, err := documentOf(ask, d.ID)
	if errors.Is(err, ErrNotThere) {
		return nil, execute(d.Begin())
	}
	if err != nil {
		return nil, err
	}
	places, err := placesOf(ask, d.ID, there.count)
	found := make(map[uint64]bool, len(places))
	for place := range places {
		found[place] = true
	}
	return found, err
}

// answer asks, and hands the answer to read unless it is null.
func answer(ask Ask, message []byte, read func(r *cbor.Reader)) (present bool, err error) {
	b, err := ask(message)
	if err != nil {
		return false, err
	}
	r := cbor.NewReader(b)
	if r.Kind() == cbor.KindNull {
		return false, nil
	}
	read(&r)
	if err := r.Done(); err != nil {
		return false, fmt.Errorf("%w: %w", ErrForm, err)
	}
	return true, nil
}

// numbered reads all pages of a list of pairs, each a number and a value.
func numbered(ask Ask, page func(after uint64) []byte, read func(number uint64, r *cbor.Reader)) error {
	after := uint64(0)
	for {
		count := 0
		_, err := answer(ask, page(after), func(r *cbor.Reader) {
			count = r.Array()
			for i := 0; i < count && r.Err() == nil; i++ {
				r.ArrayN(2)
				after = r.Uint()
				read(after, r)
			}
		})
		if err != nil || count == 0 {
			return err
		}
	}
}

// storedDocument is a document as the contract has it.
type storedDocument struct {
	sealed bool
	count  uint64
}

func documentOf(ask Ask, id abi.Hash) (d storedDocument, err error) {
	present, err := answer(ask, cbor.AppendBytes(message(askDocument, 1), id[:]), func(r *cbor.Reader) {
		for f := r.Fields(); f.Next(); {
			switch f.Key() {
			case 4:
				d.sealed = r.Bool()
			case 5:
				d.count = r.Uint()
			default:
				r.Skip()
			}
		}
	})
	if err == nil && !present {
		err = ErrNotThere
	}
	return d, err
}

// placesOf are the numbers of a document's events by place, from 1 on.
func placesOf(ask Ask, id abi.Hash, count uint64) (map[uint64]uint64, error) {
	places := map[uint64]uint64{}
	err := numbered(ask, func(after uint64) []byte {
		b := cbor.AppendBytes(message(askPlaces, 3), id[:])
		return cbor.AppendUint(cbor.AppendUint(b, after), pageLimit)
	}, func(place uint64, r *cbor.Reader) { places[place] = r.Uint() })
	if uint64(len(places)) > count {
		err = errors.Join(err, ErrForm)
	}
	return places, err
}

// storedEvent is an event as the contract has it.
type storedEvent struct {
	number    uint64
	id, lists abi.Hash
	effect    Effect
	time      int64
	sealed    bool
	document  *abi.Hash
}

func readEvent(number uint64, r *cbor.Reader) *storedEvent {
	e := &storedEvent{number: number}
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			e.id = readHash(r)
		case 2:
			e.effect = Effect(min(r.Uint(), uint64(Transform)))
		case 4:
			e.time = r.Int()
		case 6:
			e.sealed = r.Bool()
		case 9:
			e.lists = readHash(r)
		case 10:
			id := readHash(r)
			e.document = &id
		default:
			r.Skip()
		}
	}
	return e
}

func readHash(r *cbor.Reader) (h abi.Hash) {
	copy(h[:], r.BytesN(len(h)))
	return h
}

// findEvent finds an event by its id; nil where it was not taken in.
func findEvent(ask Ask, id abi.Hash) (e *storedEvent, err error) {
	_, err = answer(ask, cbor.AppendBytes(message(askEvent, 1), id[:]), func(r *cbor.Reader) {
		r.ArrayN(2)
		e = readEvent(r.Uint(), r)
	})
	return e, err
}

// eventOf reads an event by its number.
func eventOf(ask Ask, number uint64) (e *storedEvent, err error) {
	b := cbor.AppendUint(cbor.AppendUint(message(askEvents, 2), number-1), 1)
	_, err = answer(ask, b, func(r *cbor.Reader) {
		r.ArrayN(1)
		r.ArrayN(2)
		e = readEvent(r.Uint(), r)
	})
	if err == nil && (e == nil || e.number != number) {
		err = fmt.Errorf("event %d: %w", number, ErrForm)
	}
	return e, err
}

// contentOf reads what an event holds, and checks that the ledger did with it what
// it says.
func contentOf(ask Ask, e *storedEvent, key *Key) (content []byte, err error) {
	var raw []byte
	_, err = answer(ask, cbor.AppendUint(message(askContent, 1), e.number), func(r *cbor.Reader) { raw = r.Bytes() })
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(raw) != e.id {
		return nil, fmt.Errorf("event %d is not what its id says: %w", e.number, ErrForm)
	}
	content = raw
	if e.sealed {
		if content, err = key.open(raw); err != nil {
			return nil, fmt.Errorf("event %d: %w", e.number, err)
		}
	} else {
		key = nil
	}
	return content, e.faithful(content, key)
}

// ErrUnfaithful is returned for an event whose sender told the contract something
// else than what the event says.
var ErrUnfaithful = errors.New("the ledger was told something else than what the event says")

// faithful checks that the content is an event, and did what it says.
func (e *storedEvent) faithful(content []byte, key *Key) error {
	text, err := cbor.AppendAsJSON(nil, content)
	if err != nil {
		return fmt.Errorf("event %d: %w: %w", e.number, ErrUnfaithful, err)
	}
	root, err := parseTree(text)
	if err != nil {
		return fmt.Errorf("event %d: %w: %w", e.number, ErrUnfaithful, err)
	}
	read := (&parser{src: text, key: key}).event(root, "")
	if _, ok := eventTypes[read.Type]; !ok || read.Effect != e.effect || read.Lists.digest() != e.lists {
		return fmt.Errorf("event %d: %w", e.number, ErrUnfaithful)
	}
	return nil
}
