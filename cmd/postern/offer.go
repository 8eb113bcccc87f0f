package main

import (
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// purposeOffer is what the owner of a device signs an offer for. An offer goes to
// the new owner and comes back; the ledger does not see it.
const purposeOffer chain.Purpose = "postern/offer/1"

// offer is an owner's offer of a device to one account, the payload of a
// COSE_Sign1 envelope (purposeOffer): {1: chain id, 2: device id, 3: owner's
// account id, 4: the other's account id, 5: height at which the owner got it by
// transfer (0 if it enrolled it), 6: expiry ms}
type offer struct {
	Chain, Device, Owner, Taker abi.Hash
	Since                       uint64
	Expiry                      int64

	signer []byte // public key, set by openOffer
}

func (o *offer) sign(by chain.Signer) ([]byte, error) {
	b := cbor.AppendMap(nil, 6)
	for i, h := range []abi.Hash{o.Chain, o.Device, o.Owner, o.Taker} {
		b = cbor.AppendBytes(cbor.AppendUint(b, uint64(i+1)), h[:])
	}
	b = cbor.AppendUint(cbor.AppendUint(b, 5), o.Since)
	b = cbor.AppendInt(cbor.AppendUint(b, 6), o.Expiry)
	return chain.Seal(b, purposeOffer, by)
}

// openOffer reads an offer and checks its signature, but not whose the signer is.
func openOffer(raw []byte) (o offer, err error) {
	e, err := chain.ParseEnvelope(raw, purposeOffer)
	if err != nil {
		return o, fmt.Errorf("not an offer of a device: %w", err)
	}
	r := cbor.NewReader(e.Payload)
	seen := 0
	for f := r.Fields(); f.Next(); seen++ {
		switch f.Key() {
		case 1, 2, 3, 4:
			*[]*abi.Hash{&o.Chain, &o.Device, &o.Owner, &o.Taker}[f.Key()-1] = hashFrom(&r)
		case 5:
			o.Since = r.Uint()
		case 6:
			o.Expiry = r.Int()
		default:
			r.Fail(abi.CodeMalformed)
		}
	}
	if err := r.Done(); err != nil {
		return o, fmt.Errorf("not an offer of a device: %w", abi.Malformed(err))
	}
	if seen != 6 {
		return o, fmt.Errorf("not an offer of a device: %w", abi.CodeMalformed)
	}
	if err := e.Verify(); err != nil {
		return o, err
	}
	o.signer = e.Key
	return o, nil
}

func hashFrom(r *cbor.Reader) (h abi.Hash) {
	copy(h[:], r.BytesN(len(h)))
	return h
}
