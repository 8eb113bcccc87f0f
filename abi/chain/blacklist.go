package chain

import (
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Limits of blacklists.
const (
	// MaxListEntries is how many entries a platform signs at once: each makes up
	// to two events, and a transaction has abi.MaxEvents.
	MaxListEntries = abi.MaxEvents / 2
	// MaxPlatforms is how many platforms a chain takes lists from: the record of
	// a serial names all that list it.
	MaxPlatforms = 16
)

// PurposeBlacklist is what a platform signs a PlatformList for.
const PurposeBlacklist Purpose = "postern/blacklist/1"

// Blacklist puts a serial on the blacklist or takes it off. {1: manufacturer,
// 2: serial, 3: hardware id (bytes; optional), 4: listed (bool), 5: reason}
// The registered manufacturer's account may, and the owner of record of the
// device that has the serial. An owner need not name the hardware id: the one
// that the manufacturer vouched for goes along.
type Blacklist struct {
	Manufacturer string
	Serial       string
	Hardware     []byte
	Listed       bool
	Reason       string
}

// Listing is the record of a serial on the blacklist: {1: account that listed it
// here (absent if only platforms did), 2: height of the last change, 3: reason,
// 4: HardwareHash of the hardware id (optional), 5: [platform …] that list it
// too (absent if none), 6: manufacturer, 7: serial}
// It is deleted when nobody lists the serial any more.
type Listing struct {
	By           *abi.Hash
	Height       uint64
	Reason       string
	Hardware     *abi.Hash
	Platforms    []string
	Manufacturer string
	Serial       string
}

// RegisterPlatform registers another platform whose signed lists are taken in.
// {1: name, 2: [public key …], 0 to MaxVouchingKeys, 3: URL}
// It needs the operator role. Without a key no list is taken in any more; what
// was taken in stays.
type RegisterPlatform struct {
	Name string
	Keys [][]byte
	URL  string
}

// Platform is the record of another platform: {1: [public key …], 2: URL,
// 3: registered, or changed, at height, 4: sequence of its last list, 5: time in
// ms that this list bears}
type Platform struct {
	Keys     [][]byte
	URL      string
	Height   uint64
	Sequence uint64
	Time     int64
}

// ImportBlacklist takes in a platform's list. {1: PlatformList, signed}
// Anybody may.
type ImportBlacklist struct{ List []byte }

// PlatformList is the signed part of a platform's blacklist that changed, the
// payload of a COSE_Sign1 envelope (PurposeBlacklist) under one of its keys:
// {1: platform, 2: sequence, 3: time ms, 4: [[manufacturer, serial, HardwareHash
// or empty, listed (bool), reason] …], 1 to MaxListEntries}
// Sequences ascend strictly. It names no chain: it is for all who trust the
// platform. A chain that exports its own signs with its chain's name.
type PlatformList struct {
	Platform string
	Sequence uint64
	Time     int64
	Entries  []ListEntry

	// Signer is the public key that signed it, set by OpenPlatformList.
	Signer []byte
}

// ListEntry is one serial in a PlatformList.
type ListEntry struct {
	Manufacturer string
	Serial       string
	Hardware     *abi.Hash
	Listed       bool
	Reason       string // may be empty
}

// Append appends the encoding of a.
func (a *Blacklist) Append(b []byte) []byte {
	var f fields
	f.text(1, a.Manufacturer)
	f.text(2, a.Serial)
	f.optBytes(3, a.Hardware)
	f.raw(4, cbor.AppendBool(nil, a.Listed))
	f.text(5, a.Reason)
	return f.appendTo(b)
}

// ParseBlacklist reads the arguments of OpBlacklist.
func ParseBlacklist(b []byte) (a Blacklist, err error) {
	err = parseArgs(b, 1<<1|1<<2|1<<4|1<<5, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Manufacturer = shortText(r)
		case 2:
			a.Serial = shortText(r)
		case 3:
			a.Hardware = someBytes(r)
		case 4:
			a.Listed = r.Bool()
		case 5:
			a.Reason = shortText(r)
		default:
			return false
		}
		return true
	})
	if err == nil && len(a.Hardware) > MaxHardwareID {
		err = abi.CodeTooLarge
	}
	return a, err
}

// Append appends the encoding of l.
func (l *Listing) Append(b []byte) []byte {
	var f fields
	if l.By != nil {
		f.bytes(1, l.By[:])
	}
	f.uint(2, l.Height)
	f.optText(3, l.Reason)
	if l.Hardware != nil {
		f.bytes(4, l.Hardware[:])
	}
	if len(l.Platforms) > 0 {
		f.raw(5, appendTexts(nil, l.Platforms))
	}
	f.text(6, l.Manufacturer)
	f.text(7, l.Serial)
	return f.appendTo(b)
}

// ParseListing reads the record of a serial on the blacklist.
func ParseListing(b []byte) (l Listing, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			l.By = hashRef(r)
		case 2:
			l.Height = r.Uint()
		case 3:
			l.Reason = r.Text()
		case 4:
			l.Hardware = hashRef(r)
		case 5:
			l.Platforms = readTexts(r)
		case 6:
			l.Manufacturer = r.Text()
		case 7:
			l.Serial = r.Text()
		default:
			r.Skip()
		}
	})
	return l, err
}

// Append appends the encoding of a.
func (a *RegisterPlatform) Append(b []byte) []byte {
	var f fields
	f.text(1, a.Name)
	f.raw(2, appendByteStrings(nil, a.Keys))
	f.text(3, a.URL)
	return f.appendTo(b)
}

// ParseRegisterPlatform reads the arguments of OpPlatform.
func ParseRegisterPlatform(b []byte) (a RegisterPlatform, err error) {
	err = parseArgs(b, 1<<1|1<<2|1<<3, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Name = name(r)
		case 2:
			a.Keys = vouchingKeys(r)
		case 3:
			a.URL = shortText(r)
		default:
			return false
		}
		return true
	})
	return a, err
}

// Append appends the encoding of p.
func (p *Platform) Append(b []byte) []byte {
	var f fields
	f.raw(1, appendByteStrings(nil, p.Keys))
	f.text(2, p.URL)
	f.uint(3, p.Height)
	f.optUint(4, p.Sequence)
	if p.Time != 0 {
		f.int(5, p.Time)
	}
	return f.appendTo(b)
}

// ParsePlatform reads a platform's record; it aliases b.
func ParsePlatform(b []byte) (p Platform, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			p.Keys = readByteStrings(r)
		case 2:
			p.URL = r.Text()
		case 3:
			p.Height = r.Uint()
		case 4:
			p.Sequence = r.Uint()
		case 5:
			p.Time = r.Int()
		default:
			r.Skip()
		}
	})
	return p, err
}

// Vouches says whether a key is one of the platform's.
func (p *Platform) Vouches(key []byte) bool { return hasKey(p.Keys, key) }

// Append appends the encoding of a.
func (a *ImportBlacklist) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.List)
	return f.appendTo(b)
}

// ParseImportBlacklist reads the arguments of OpImportBlacklist; they alias b.
func ParseImportBlacklist(b []byte) (a ImportBlacklist, err error) {
	err = parseArgs(b, 1<<1, func(k uint64, r *cbor.Reader) bool {
		a.List = someBytes(r)
		return k == 1
	})
	return a, err
}

// Append appends the encoding of l, what is signed; Signer is no part of it.
func (l *PlatformList) Append(b []byte) []byte {
	var f fields
	f.text(1, l.Platform)
	f.uint(2, l.Sequence)
	f.int(3, l.Time)
	entries := cbor.AppendArray(nil, len(l.Entries))
	for i := range l.Entries {
		entries = l.Entries[i].append(entries)
	}
	f.raw(4, entries)
	return f.appendTo(b)
}

func (e *ListEntry) append(b []byte) []byte {
	b = cbor.AppendText(cbor.AppendText(cbor.AppendArray(b, 5), e.Manufacturer), e.Serial)
	if e.Hardware != nil {
		b = cbor.AppendBytes(b, e.Hardware[:])
	} else {
		b = cbor.AppendBytes(b, nil)
	}
	return cbor.AppendText(cbor.AppendBool(b, e.Listed), e.Reason)
}

// ParsePlatformList reads what a platform signs.
func ParsePlatformList(b []byte) (l PlatformList, err error) {
	err = parseArgs(b, 1<<1|1<<2|1<<3|1<<4, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			l.Platform = name(r)
		case 2:
			l.Sequence = nonZero(r)
		case 3:
			l.Time = r.Int()
		case 4:
			l.Entries = readEntries(r)
		default:
			return false
		}
		return true
	})
	return l, err
}

func readEntries(r *cbor.Reader) (list []ListEntry) {
	n := r.Array()
	if n == 0 || n > MaxListEntries {
		r.Fail(abi.CodeTooLarge)
	}
	for ; n > 0 && r.Err() == nil; n-- {
		r.ArrayN(5)
		e := ListEntry{Manufacturer: shortText(r), Serial: shortText(r)}
		if raw := r.Bytes(); len(raw) == len(abi.Hash{}) {
			h := abi.Hash(raw)
			e.Hardware = &h
		} else if len(raw) != 0 {
			r.Fail(abi.CodeBadArgument)
		}
		e.Listed, e.Reason = r.Bool(), r.Text()
		if len(e.Reason) > MaxText || hasControl(e.Reason) {
			r.Fail(abi.CodeBadArgument)
		}
		list = append(list, e)
	}
	return list
}

// SignPlatformList signs l and returns the encoded envelope.
func SignPlatformList(l *PlatformList, by Signer) ([]byte, error) {
	return Seal(l.Append(nil), PurposeBlacklist, by)
}

// OpenPlatformList reads a signed list and checks its signature, but not whose
// the Signer is.
func OpenPlatformList(raw []byte) (PlatformList, error) {
	e, err := ParseEnvelope(raw, PurposeBlacklist)
	if err != nil {
		return PlatformList{}, err
	}
	l, err := ParsePlatformList(e.Payload)
	if err != nil {
		return PlatformList{}, fmt.Errorf("platform's list: %w", err)
	}
	if err := e.Verify(); err != nil {
		return PlatformList{}, err
	}
	l.Signer = e.Key
	return l, nil
}
