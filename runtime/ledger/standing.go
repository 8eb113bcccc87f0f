package ledger

import (
	"bytes"
	"encoding/hex"
	"sync/atomic"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/storage"
)

// Decisions ask for the same callers and domains again and again, so their
// parsed records are kept in small tables. An entry carries the height at
// which it was read; beside the tables stands, for each slot of a record's
// key, the height of its last change, raised before the store publishes that
// height. An entry is right for a View if its slots did not change after the
// lower of both heights. A table has a number of places, so it never grows; who
// comes later takes one.

const (
	changedSlots = 1024
	callerSets   = 512
	callerWays   = 4 // so that of a thousand callers two in a hundred share a place; about half a KiB each
	domainPlaces = 64
)

// changeSlots holds the height of the last change by the hash of the key.
type changeSlots [changedSlots]atomic.Uint64

func slotOf(key []byte) uint32 { return fnv1a(key) % changedSlots }

// fnv1a is the 32-bit hash of Fowler, Noll and Vo.
func fnv1a[T string | []byte](key T) uint32 {
	h := uint32(2166136261)
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return h
}

// raise notes the changes of a height, before it is published.
func (s *changeSlots) raise(changes []storage.Change, height uint64) {
	for i := range changes {
		switch changes[i].Key[0] {
		case 'a', 'k', 'd', 'c', 'p':
			s[slotOf(changes[i].Key)].Store(height)
		}
	}
}

// stamp says at which height an entry was read, from records in two slots.
type stamp struct {
	height uint64
	slots  [2]uint32
}

func (s *stamp) goodAt(c *changeSlots, height uint64) bool {
	at := min(height, s.height)
	return c[s.slots[0]].Load() <= at && c[s.slots[1]].Load() <= at
}

// caller is an account as decisions need it.
type caller struct {
	stamp
	key     []byte // its public key, or its id if it was asked for by that
	byKey   bool
	account abi.Hash
	roles   abi.Role
	status  abi.Status // 0 if it is no device
	device  []byte     // encoded chain.Device, nil if it is none
	kind    string     // as a decision's subject
	id      string     // the same: the account's id in hex
	subject []byte     // the same, encoded with its properties
}

func (c *caller) active() bool { return c.status == 0 || c.status == abi.StatusActive }

// callerTable keeps each caller in one of the ways of a set.
type callerTable struct {
	sets [callerSets][callerWays]atomic.Pointer[caller]
	turn atomic.Uint32 // whose way is taken where all are in use
}

// set picks by bytes of a key or an id that are evenly spread.
func (t *callerTable) set(key []byte) *[callerWays]atomic.Pointer[caller] {
	return &t.sets[(uint32(key[7])|uint32(key[11])<<8)%callerSets]
}

// find is the caller with a key, or with an id, if it is kept and as it was at a
// height.
func (t *callerTable) find(key []byte, byKey bool, changed *changeSlots, height uint64) *caller {
	set := t.set(key)
	for i := range set {
		if c := set[i].Load(); c != nil && c.byKey == byKey && bytes.Equal(c.key, key) && c.goodAt(changed, height) {
			return c
		}
	}
	return nil
}

// keep puts a caller in its own way, one that is free, or another's.
func (t *callerTable) keep(c *caller) {
	set := t.set(c.key)
	free := -1
	for i := range set {
		switch old := set[i].Load(); {
		case old == nil:
			free = i
		case old.byKey == c.byKey && bytes.Equal(old.key, c.key):
			set[i].Store(c)
			return
		}
	}
	if free < 0 {
		free = int(t.turn.Add(1) % callerWays)
	}
	set[free].Store(c)
}

// callerByKey finds the caller with a key; nil if no account has it.
func (l *Ledger) callerByKey(v *storage.View, key []byte) (*caller, error) {
	if len(key) != chain.Ed25519KeySize && len(key) != chain.P256KeySize {
		return nil, nil
	}
	if c := l.callers.find(key, true, &l.changed, v.Height()); c != nil {
		return c, nil
	}
	id, ok, err := accountOf(hot{v}, key)
	if err != nil || !ok {
		return nil, err
	}
	c, err := readCaller(v, id)
	if err != nil || c == nil {
		return nil, err
	}
	c.key, c.byKey = bytes.Clone(key), true
	// An account's records change together with its key's place: rotation
	// writes both. So the slots are those of account and device.
	l.callers.keep(c)
	return c, nil
}

// callerByAccount finds the caller with an account id; nil if there is none.
func (l *Ledger) callerByAccount(v *storage.View, id abi.Hash) (*caller, error) {
	if c := l.callers.find(id[:], false, &l.changed, v.Height()); c != nil {
		return c, nil
	}
	c, err := readCaller(v, id)
	if err != nil || c == nil {
		return nil, err
	}
	c.key = id[:]
	l.callers.keep(c)
	return c, nil
}

func readCaller(v *storage.View, id abi.Hash) (*caller, error) {
	s, ok, err := readSender(hot{v}, id)
	if err != nil || !ok {
		return nil, err
	}
	c := &caller{
		stamp:   stamp{v.Height(), [2]uint32{slotOf(chain.AccountKey(id)), slotOf(chain.DeviceKey(id))}},
		account: id, roles: s.account.Roles, status: s.status, device: s.device,
		kind: "account", id: hex.EncodeToString(id[:]),
	}
	if s.device != nil {
		c.kind = "device"
	}
	c.subject, err = appendSubject(nil, c)
	return c, err
}

// appendSubject appends the subject of a decision as the ledger knows it: an
// encoded abi.Entity. A device's properties are what its record says.
func appendSubject(b []byte, c *caller) ([]byte, error) {
	if c.device == nil {
		b = cbor.AppendMap(b, 2)
		b = cbor.AppendText(cbor.AppendUint(b, 1), c.kind)
		return cbor.AppendText(cbor.AppendUint(b, 2), c.id), nil
	}
	d, err := chain.ParseDevice(c.device)
	if err != nil {
		return nil, &fault{err}
	}
	b = cbor.AppendMap(b, 3)
	b = cbor.AppendText(cbor.AppendUint(b, 1), c.kind)
	b = cbor.AppendText(cbor.AppendUint(b, 2), c.id)
	// Keys in core deterministic order: shorter ones first.
	b = cbor.AppendMap(cbor.AppendUint(b, 3), 4)
	b = cbor.AppendText(cbor.AppendText(b, "model"), d.Model)
	b = d.Labels.Append(cbor.AppendText(b, "labels"))
	b = cbor.AppendText(cbor.AppendText(b, "serial"), d.Serial)
	return cbor.AppendText(cbor.AppendText(b, "manufacturer"), d.Manufacturer), nil
}

// Standing tells what the ledger says of a key now.
func (l *Ledger) Standing(key []byte) (abi.Standing, error) {
	v, _, err := l.take()
	if err != nil {
		return abi.Standing{}, err
	}
	defer v.Release()
	c, err := l.callerByKey(v, key)
	if err != nil {
		return abi.Standing{}, l.unavailable(err)
	}
	if c == nil {
		return abi.Standing{}, nil
	}
	s := abi.Standing{Known: true, Account: c.account, Roles: c.roles, Device: c.status}
	if c.active() {
		return s, nil
	}
	d, err := chain.ParseDevice(c.device)
	s.Reason = d.Reason
	return s, err
}

// Device is what the ledger has on a device now. The error is
// abi.CodeUnknownDevice when there is none.
func (l *Ledger) Device(id abi.Hash) (chain.Device, error) {
	v, _, err := l.take()
	if err != nil {
		return chain.Device{}, err
	}
	defer v.Release()
	d, ok, err := load(hot{v}, chain.DeviceKey(id), chain.ParseDevice)
	switch {
	case err != nil:
		return chain.Device{}, l.unavailable(err)
	case !ok:
		return chain.Device{}, abi.CodeUnknownDevice
	}
	return d, nil
}

// policy is a domain with the contract that answers for it.
type policy struct {
	stamp
	domain   string
	contract string
	code     abi.Hash
	owner    abi.Hash
	refused  abi.Code // why nobody answers, OK if the contract does
}

type domainTable [domainPlaces]atomic.Pointer[policy]

// policyOf finds who answers for a domain.
func (l *Ledger) policyOf(v *storage.View, domain string) (*policy, error) {
	place := &l.domains[fnv1a(domain)%domainPlaces]
	if p := place.Load(); p != nil && p.domain == domain && p.goodAt(&l.changed, v.Height()) {
		return p, nil
	}
	key := chain.DomainKey(domain)
	d, ok, err := load(hot{v}, key, chain.ParseDomain)
	if err != nil {
		return nil, err
	}
	if !ok {
		return &policy{refused: abi.CodeNoDomain}, nil
	}
	contractKey := chain.ContractKey(d.Contract)
	p := &policy{
		stamp:  stamp{v.Height(), [2]uint32{slotOf(key), slotOf(contractKey)}},
		domain: domain, contract: d.Contract,
	}
	c, err := readActive(hot{v}, d.Contract)
	if err != nil {
		if p.refused, ok = refusal(err); !ok {
			return nil, err
		}
	}
	p.code, p.owner = c.Code, c.Owner
	place.Store(p)
	return p, nil
}
