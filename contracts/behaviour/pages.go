package behaviour

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/seed79541315/postern/abi/cbor"
)

// page is a page of entries and where it lies.
type page struct {
	bucket uint16
	number uint8
	bytes  []byte
}

func (p *page) append(b []byte) []byte {
	b = cbor.AppendUint(cbor.AppendArray(b, 3), uint64(p.bucket))
	return cbor.AppendBytes(cbor.AppendUint(b, uint64(p.number)), p.bytes)
}

// index is entries sorted into buckets, so that a flow is compared with those
// that may concern it.
type index struct {
	mask  uint16
	kinds uint64 // bit 2*kind+direction, bit 31 where some entries forbid
	pages []page
	count int
}

// perBucket is how many entries a bucket has on average: few, since reading a
// page costs by its bytes too, and not one, since each page is a key.
const perBucket = 4

// indexOf sorts entries by the classes of their profile.
func indexOf(entries []Entry, classes []string) (index, error) {
	x := index{mask: uint16(min(maxBuckets, 1<<bits.Len(uint(len(entries)/perBucket)))) - 1, count: len(entries)}
	buckets := map[uint16][][]byte{}
	for i := range entries {
		e := &entries[i]
		class := uint8(max(0, slices.Index(classes, e.Class)))
		kind, value := e.bucket(class)
		number := kind.number(e.ToDevice, value, x.mask)
		buckets[number] = append(buckets[number], e.append(nil, uint16(i), class))
		direction := 0
		if e.ToDevice {
			direction = 1
		}
		x.kinds |= 1 << (2*int(kind) + direction)
		if e.Drop {
			x.kinds |= 1 << 31
		}
	}
	for number := range x.mask + 1 {
		if err := x.fill(number, buckets[number]); err != nil {
			return index{}, err
		}
	}
	return x, nil
}

// fill lays a bucket's entries into pages.
func (x *index) fill(bucket uint16, entries [][]byte) error {
	first := len(x.pages)
	for _, e := range entries {
		if last := len(x.pages) - 1; last < first || len(x.pages[last].bytes)+len(e) > maxPage {
			x.pages = append(x.pages, page{bucket, uint8(len(x.pages) - first), []byte{0}})
		}
		p := &x.pages[len(x.pages)-1]
		p.bytes = append(p.bytes, e...)
	}
	if n := len(x.pages) - first; n > maxPages {
		return fmt.Errorf("%d entries that differ too little: more than %d bytes of them concern the same flows", len(entries), maxPages*maxPage)
	}
	for i := first; i < len(x.pages)-1; i++ {
		x.pages[i].bytes[0] = 1
	}
	return nil
}
