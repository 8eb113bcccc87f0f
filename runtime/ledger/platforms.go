package ledger

import (
	"slices"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// registerPlatform sets whose signed lists are taken in.
func (r *running) registerPlatform(a *chain.RegisterPlatform) error {
	if !r.sender.has(abi.RoleOperator) {
		return abi.CodeMissingRole
	}
	s := r.x.state
	p, known, err := load(s, chain.PlatformKey(a.Name), chain.ParsePlatform)
	if err != nil {
		return err
	}
	if !known {
		if err := refuseFull(s, chain.PlatformPrefix(), chain.MaxPlatforms); err != nil {
			return err
		}
	}
	p.Keys, p.URL, p.Height = a.Keys, a.URL, r.x.header.Height
	return s.set(chain.PlatformKey(a.Name), p.Append(nil))
}

// refuseFull refuses one more record under a prefix that has as many as it may.
func refuseFull(s *state, prefix []byte, limit int) error {
	n := 0
	err := each(s, prefix, func(_, _ []byte) (bool, error) {
		n++
		return n < limit, nil
	})
	return refuseUnless(n < limit, abi.CodeTooMany, err)
}

// importBlacklist takes in another platform's list. Each list counts once, and
// none after a newer one.
func (r *running) importBlacklist(a *chain.ImportBlacklist) error {
	l, err := chain.OpenPlatformList(a.List)
	if err != nil {
		return err
	}
	s := r.x.state
	p, ok, err := load(s, chain.PlatformKey(l.Platform), chain.ParsePlatform)
	switch {
	case err != nil || !ok:
		return refuseUnless(ok, abi.CodeUnknownPlatform, err)
	case !p.Vouches(l.Signer):
		return abi.CodeNotPermitted
	case l.Sequence <= p.Sequence:
		return abi.CodeOldList
	}
	if err := r.spend(gasListed * uint64(len(l.Entries))); err != nil {
		return err
	}
	p.Sequence, p.Time = l.Sequence, l.Time
	if err := s.set(chain.PlatformKey(l.Platform), p.Append(nil)); err != nil {
		return err
	}
	for i := range l.Entries {
		if err := r.takeIn(l.Platform, &l.Entries[i]); err != nil {
			return err
		}
	}
	return nil
}

// takeIn takes in one entry of a platform's list. A device that has an owner of
// record here stays as it is: the owner is told, and decides.
func (r *running) takeIn(platform string, e *chain.ListEntry) error {
	old, _, err := load(r.x.state, chain.BlacklistKey(e.Manufacturer, e.Serial), chain.ParseListing)
	if err != nil {
		return err
	}
	if slices.Contains(old.Platforms, platform) == e.Listed {
		return nil
	}
	next := old
	next.Manufacturer, next.Serial = e.Manufacturer, e.Serial
	if !e.Listed {
		next.Platforms = slices.DeleteFunc(slices.Clone(old.Platforms), func(p string) bool { return p == platform })
		return r.relist(&old, &next, e.Reason)
	}
	next.Platforms = append(slices.Clone(old.Platforms), platform)
	if next.Hardware == nil {
		next.Hardware = e.Hardware
	}
	if next.Reason == "" {
		next.Reason = e.Reason
	}
	if err := r.relist(&old, &next, e.Reason); err != nil {
		return err
	}
	return r.tellOwner(platform, e)
}

// tellOwner tells that a platform lists the serial of a device which has an
// owner of record here.
func (r *running) tellOwner(platform string, e *chain.ListEntry) error {
	id, d, err := r.x.deviceWith(e.Manufacturer, e.Serial)
	if err != nil || d == nil {
		return err
	}
	return r.notify(chain.TopicDeviceAlert, &chain.Notice{
		Subject: id, Level: uint8(abi.LevelAlert), Reason: clip("listed by " + platform), By: &r.sender.id,
	})
}
