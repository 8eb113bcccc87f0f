package abi

import "github.com/seed79541315/postern/abi/cbor"

// SealedPage are items that were kept of a device, ascending: {1: [[number,
// chain.SealedItem] …], 2: more (bool)}. More says that others follow the last.
type SealedPage struct {
	Items []NumberedItem
	More  bool
}

// NumberedItem is an encoded chain.SealedItem with its number.
type NumberedItem struct {
	Number uint64
	Item   []byte
}

// AppendSealedPage appends the encoding of p.
func AppendSealedPage(b []byte, p *SealedPage) []byte {
	b = cbor.AppendArray(cbor.AppendUint(cbor.AppendMap(b, 2), 1), len(p.Items))
	for i := range p.Items {
		b = cbor.AppendUint(cbor.AppendArray(b, 2), p.Items[i].Number)
		b = append(b, p.Items[i].Item...)
	}
	return cbor.AppendBool(cbor.AppendUint(b, 2), p.More)
}

// ParseSealedPage reads a page; it aliases b. More behind nothing is refused.
func ParseSealedPage(b []byte) (SealedPage, error) {
	var p SealedPage
	r := cbor.NewReader(b)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			for n := r.Array(); n > 0 && r.Err() == nil; n-- {
				r.ArrayN(2)
				p.Items = append(p.Items, NumberedItem{r.Uint(), r.Raw()})
			}
		case 2:
			p.More = r.Bool()
		default:
			r.Skip()
		}
	}
	if err := r.Done(); err != nil {
		return SealedPage{}, Malformed(err)
	}
	if p.More && len(p.Items) == 0 {
		return SealedPage{}, because(CodeMalformed, "no items, and more behind them")
	}
	return p, nil
}
