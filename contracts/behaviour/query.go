package behaviour

import (
	"errors"
	"fmt"
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Queries of the contract.
const (
	queryProfile = iota + 1
	queryDevice
	queryLoaders
	querySite
	queryProfiles
	queryPage
	queryRules
)

var errUnknownForm = errors.New("the contract's answer has an unknown form")

// ErrNoProfile is returned when no such profile is active.
var ErrNoProfile = errors.New("no such profile is active")

// Info describes a profile's active version.
type Info struct {
	Version  uint32
	Count    uint64 // of entries and rules
	Digest   abi.Hash
	Source   string // URL of the MUD file
	Validity uint64 // hours for which that need not be fetched again
	Classes  []string
	Notes    []string
}

// Describe is the query for a profile; ParseInfo reads its answer.
func Describe(profile string) []byte { return cbor.AppendText(message(2, queryProfile), profile) }

// ParseInfo reads the answer to Describe. It returns ErrNoProfile when there is
// no such profile.
func ParseInfo(b []byte) (Info, error) {
	r := cbor.NewReader(b)
	if r.Kind() == cbor.KindNull {
		return Info{}, ErrNoProfile
	}
	r.ArrayN(4)
	var info Info
	version := r.Uint()
	info.Count = r.Uint()
	copy(info.Digest[:], r.BytesN(len(info.Digest)))
	r.ArrayN(7)
	info.Source, info.Validity = r.Text(), r.Uint()
	r.Skip()
	r.Skip()
	info.Classes = readTexts(&r)
	r.Skip()
	info.Notes = readTexts(&r)
	if version > math.MaxUint32 {
		r.Fail(errUnknownForm)
	}
	if err := r.Done(); err != nil {
		return Info{}, fmt.Errorf("%w: %w", errUnknownForm, err)
	}
	info.Version = uint32(version)
	return info, nil
}

func readTexts(r *cbor.Reader) (list []string) {
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		list = append(list, r.Text())
	}
	return list
}

// Standing is what the ledger knows of a device.
type Standing struct {
	Profile string // "" for none
	// Score and Theft are what evidence added up to when the last came.
	Score, Theft uint64
	LastEvidence int64 // ms since 1970 by the device's clock; 0 for none
}

// AskDevice is the query for a device; ParseStanding reads its answer.
func AskDevice(device abi.Hash) []byte { return cbor.AppendBytes(message(2, queryDevice), device[:]) }

// ParseStanding reads the answer to AskDevice.
func ParseStanding(b []byte) (Standing, error) {
	var s Standing
	r := cbor.NewReader(b)
	r.ArrayN(4)
	if r.Kind() == cbor.KindNull {
		r.Null()
	} else {
		s.Profile = r.Text()
	}
	s.Score, s.Theft = r.Uint(), r.Uint()
	if r.Kind() == cbor.KindNull {
		r.Null()
	} else {
		s.LastEvidence = r.Int()
	}
	if err := r.Done(); err != nil {
		return Standing{}, fmt.Errorf("%w: %w", errUnknownForm, err)
	}
	return s, nil
}

// AskLoaders is the query for the loaders, an array of account ids.
func AskLoaders() []byte { return message(1, queryLoaders) }

// AskSite is the query for the site; ReadSite reads its answer.
func AskSite() []byte { return message(1, querySite) }

// ReadSite reads the answer to AskSite.
func ReadSite(b []byte) (Site, error) {
	r := cbor.NewReader(b)
	s := parseSite(&r)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnknownForm, err)
	}
	return s, nil
}

// Profiles lists the names of active profiles through the contract's query.
func Profiles(query func(message []byte) ([]byte, error)) (list []string, err error) {
	for after := ""; ; after = list[len(list)-1] {
		b, err := query(cbor.AppendText(message(2, queryProfiles), after))
		if err != nil {
			return nil, err
		}
		r := cbor.NewReader(b)
		names := readTexts(&r)
		if err := r.Done(); err != nil {
			return nil, fmt.Errorf("%w: %w", errUnknownForm, err)
		}
		if len(names) == 0 {
			return list, nil
		}
		list = append(list, names...)
	}
}
