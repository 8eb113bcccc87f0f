package lock

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/contracts/access"
)

const setZone = 2

// SetZone is the message that tells the contract the clock of a lock: an IANA
// time zone, such as Europe/Vienna, to the end of 2044.
func SetZone(lock abi.Hash, zone string) ([]byte, error) {
	table, err := access.ZoneTable(zone)
	if err != nil {
		return nil, err
	}
	b := cbor.AppendUint(cbor.AppendArray(nil, 4), setZone)
	b = cbor.AppendInt(cbor.AppendBytes(b, lock[:]), table.Until)
	b = cbor.AppendArray(b, len(table.Steps))
	for _, s := range table.Steps {
		b = cbor.AppendInt(cbor.AppendInt(cbor.AppendArray(b, 2), s.Start), s.Offset)
	}
	return b, nil
}
