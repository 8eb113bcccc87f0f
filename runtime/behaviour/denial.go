package behaviour

import (
	"context"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Bounds of denials: so many of a device at once and then one in so long are
// judged, since each costs a contract's run; so many wait for that; and texts are
// cut, since a request may hold 64 KiB of them.
const (
	denialBurst   = 16
	denialEvery   = time.Second
	maxDenials    = 256
	maxDenialText = 128
)

// denial is something that a device was denied.
type denial struct {
	device                   abi.Hash
	domain, action, resource string
	code                     abi.Code
}

// allowance is a device's token bucket of denials.
type allowance struct {
	left float32
	at   moment
}

func (a *allowance) take(now moment) bool {
	a.left = min(denialBurst, a.left+float32(now-a.at)/float32(denialEvery))
	a.at = now
	if a.left < 1 {
		return false
	}
	a.left--
	return true
}

// Denied notes that a device was denied something: its contracts judge that, too,
// as often as the device's allowance of denials permits. resource is its id.
func (m *Monitor) Denied(device abi.Hash, domain string, code abi.Code, action, resource string) {
	if !m.watches.allow(device, m.now()) {
		m.counts.denialsPassedOver.Add(1)
		return
	}
	select {
	case m.denials <- denial{device, cut(domain), cut(action), cut(resource), code}:
	default:
		m.counts.denialsPassedOver.Add(1)
	}
}

// judgeDenials has contracts judge what devices were denied. A device without
// contracts, or a caller that is none, was not to be judged.
func (m *Monitor) judgeDenials(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-m.denials:
			s := m.sight(d.device, abi.ObserveDenial, d.payload())
			judged, err := m.judge(ctx, &s, "")
			switch {
			case err == nil && len(judged.Opinions) > 0:
				m.counts.denials.Add(1)
			case err != nil && err != abi.CodeUnknownDevice && ctx.Err() == nil:
				m.cfg.Logger.WarnContext(ctx, "a device's denial could not be judged", "device", d.device, "err", err)
			}
		}
	}
}

// payload is the payload of abi.ObserveDenial.
func (d *denial) payload() []byte {
	b := cbor.AppendMap(cbor.AppendArray(nil, 1), 4)
	b = cbor.AppendText(cbor.AppendUint(b, 1), d.domain)
	b = cbor.AppendUint(cbor.AppendUint(b, 2), uint64(d.code))
	b = cbor.AppendText(cbor.AppendUint(b, 3), d.action)
	return cbor.AppendText(cbor.AppendUint(b, 4), d.resource)
}

// cut shortens a text, between two characters.
func cut(s string) string {
	if len(s) <= maxDenialText {
		return s
	}
	n := maxDenialText
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return string([]byte(s[:n])) // a copy: the rest shall not be held
}
