package ledger

import (
	"errors"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// refuseListed refuses a device whose serial, or whose proven hardware, is on
// the blacklist.
func (x *execution) refuseListed(d *chain.Device) error {
	_, listed, err := x.state.get(chain.BlacklistKey(d.Manufacturer, d.Serial))
	if err == nil && !listed && d.Hardware != nil {
		_, listed, err = x.state.get(chain.HardwareKey(*d.Hardware))
	}
	return refuseUnless(!listed, abi.CodeBlacklisted, err)
}

// blacklist lists a serial or takes it off, on the word of its manufacturer or
// of the owner of record of the device that has it.
func (r *running) blacklist(a *chain.Blacklist) error {
	e, err := r.listEntry(a)
	if err != nil {
		return err
	}
	old, there, err := load(r.x.state, e.key, chain.ParseListing)
	if err != nil {
		return err
	}
	if !a.Listed {
		if err := e.mayUnlist(&old, a.Reason); err != nil {
			return err
		}
		return r.unlist(&old, a.Reason)
	}
	if there && e.isMakers(&old) && !e.maker {
		return abi.CodeNotPermitted
	}
	next := old
	next.Manufacturer, next.Serial = a.Manufacturer, a.Serial
	next.By, next.Reason = &r.sender.id, a.Reason
	if e.hardware != nil {
		next.Hardware = e.hardware
	}
	return r.relist(&old, &next, a.Reason)
}

// listEntry is what is known of a serial that someone lists or takes off.
type listEntry struct {
	key          []byte
	device       *chain.Device // nil if the serial is not enrolled
	manufacturer *abi.Hash     // nil if nobody vouches for its serials
	maker        bool          // the sender is the manufacturer
	hardware     *abi.Hash     // to be listed with it
}

// listEntry finds out who the sender is to a serial, and refuses who is nobody
// to it.
func (r *running) listEntry(a *chain.Blacklist) (e listEntry, err error) {
	e.key = chain.BlacklistKey(a.Manufacturer, a.Serial)
	if _, e.device, err = r.x.deviceWith(a.Manufacturer, a.Serial); err != nil {
		return e, err
	}
	m, ok, err := r.x.manufacturer(a.Manufacturer)
	if err != nil {
		return e, err
	}
	if ok {
		e.manufacturer, e.maker = &m.Account, m.Account == r.sender.id
	}
	if !e.maker && (e.device == nil || e.device.Owner != r.sender.id) {
		return e, abi.CodeNotPermitted
	}
	if e.device != nil {
		e.hardware = e.device.Hardware
	}
	if a.Hardware == nil {
		return e, nil
	}
	h := chain.HardwareHash(a.Manufacturer, a.Hardware)
	switch {
	case e.maker:
		e.hardware = &h
	case e.hardware == nil: // an owner lists no hardware but what is proven to be the device's
		return e, abi.CodeUnproven
	case *e.hardware != h:
		return e, abi.CodeNotPermitted
	}
	return e, nil
}

// deviceWith reads the device that has a serial; nil if none has.
func (x *execution) deviceWith(manufacturer, serial string) (id abi.Hash, d *chain.Device, err error) {
	raw, ok, err := x.state.get(chain.SerialKey(manufacturer, serial))
	if err != nil || !ok {
		return id, nil, err
	}
	if len(raw) != len(id) {
		return id, nil, faultf("serial %q of %q names %d bytes", serial, manufacturer, len(raw))
	}
	id = abi.Hash(raw)
	found, err := x.readDevice(id)
	return id, &found, err
}

func (e *listEntry) isMakers(l *chain.Listing) bool {
	return l.By != nil && e.manufacturer != nil && *l.By == *e.manufacturer
}

// mayUnlist: a theft ends by the device's status alone; an owner does not undo
// what the manufacturer listed, nor a manufacturer what an owner of record did.
func (e *listEntry) mayUnlist(l *chain.Listing, reason string) error {
	switch {
	case l.By == nil:
		return abi.CodeNotFound
	case e.device != nil && e.device.Status == abi.StatusStolen:
		return abi.CodeDeviceInactive
	case e.maker && e.device != nil && !e.isMakers(l), !e.maker && e.isMakers(l):
		return abi.CodeNotPermitted
	}
	return nil
}

// listStolen lists the serial and the hardware of a stolen device. What its
// manufacturer listed stays the manufacturer's.
func (r *running) listStolen(d *chain.Device, reason string, by abi.Hash) error {
	old, _, err := load(r.x.state, chain.BlacklistKey(d.Manufacturer, d.Serial), chain.ParseListing)
	if err != nil {
		return err
	}
	next := old
	next.Manufacturer, next.Serial = d.Manufacturer, d.Serial
	if next.By == nil {
		next.By, next.Reason = &by, reason
	}
	if d.Hardware != nil {
		next.Hardware = d.Hardware
	}
	return r.relist(&old, &next, reason)
}

// unlistFound takes a device that was found off the blacklist, unless its
// manufacturer listed it.
func (r *running) unlistFound(d *chain.Device, reason string) error {
	old, there, err := load(r.x.state, chain.BlacklistKey(d.Manufacturer, d.Serial), chain.ParseListing)
	if err != nil || !there || old.By == nil {
		return err
	}
	m, ok, err := r.x.manufacturer(d.Manufacturer)
	if err != nil || ok && m.Account == *old.By {
		return err
	}
	return r.unlist(&old, reason)
}

// unlist takes away who listed a serial here; platforms that list it too keep it
// on the blacklist.
func (r *running) unlist(old *chain.Listing, reason string) error {
	next := *old
	next.By, next.Reason = nil, ""
	return r.relist(old, &next, reason)
}

// relist replaces the record of a serial; one that nobody lists is none. How
// many records name a hardware identity is counted, since it stays listed until
// none does.
func (r *running) relist(old, next *chain.Listing, reason string) error {
	s := r.x.state
	listed := next.By != nil || len(next.Platforms) > 0
	if err := s.countHardware(old.Hardware, next.Hardware, listed); err != nil {
		return err
	}
	next.Height = r.x.header.Height
	key := chain.BlacklistKey(next.Manufacturer, next.Serial)
	n := chain.Notice{Subject: chain.SerialHash(next.Manufacturer, next.Serial), Reason: reason, By: &r.sender.id}
	if !listed {
		return errors.Join(s.delete(key), r.notify(chain.TopicBlacklistChanged, &n))
	}
	n.Level = 1
	return errors.Join(s.set(key, next.Append(nil)), r.notify(chain.TopicBlacklistChanged, &n))
}

// countHardware counts a listing's hardware: old was counted if it is there, next
// is to be if the serial stays listed.
func (s *state) countHardware(old, next *abi.Hash, listed bool) error {
	if !listed {
		next = nil
	}
	if old != nil && next != nil && *old == *next {
		return nil
	}
	for _, change := range []struct {
		hash *abi.Hash
		by   int
	}{{old, -1}, {next, 1}} {
		if change.hash == nil {
			continue
		}
		key := chain.HardwareKey(*change.hash)
		n, _, err := load(s, key, parseUint)
		if err != nil {
			return err
		}
		if n += uint64(change.by); n == 0 {
			err = s.delete(key)
		} else {
			err = s.set(key, cbor.AppendUint(nil, n))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
