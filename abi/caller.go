package abi

// Caller is who asks for a decision: the key that mutual TLS authenticated,
// or the account of a bearer token.
type Caller struct {
	Key     []byte // nil for a token
	Account Hash   // used when Key is nil
}

// Standing is what a gateway knows of a key at this moment: what the ledger says,
// and whether the gateway itself isolates the device.
type Standing struct {
	Known    bool // the key is some account's current key
	Account  Hash
	Roles    Role
	Device   Status // 0 when the account is no device
	Isolated int64  // until when this gateway isolates the device, ms; 0: it does not
	Reason   string // why the device is isolated, or else not active
}

// Active says whether the holder of the key may ask for anything beyond its
// status: it is known and, if a device, active and not isolated.
func (s *Standing) Active() bool {
	return s.Known && (s.Device == 0 || s.Device == StatusActive) && s.Isolated == 0
}

// MayReport says whether a device that is not active may still bring reports:
// so evidence comes in of one that is suspended, quarantined, stolen or isolated.
func (s *Standing) MayReport() bool { return s.Known && s.Device != 0 && s.Device != StatusRetired }

// Why tells a device that is not active what holds it: "quarantined: " and the
// reason, or the status alone where no reason was given.
func (s *Standing) Why() string {
	why := s.Device.String()
	switch {
	case !s.Known:
		return "the key is no account's"
	case s.Device == StatusActive && s.Isolated != 0:
		why = "isolated"
	}
	if s.Reason != "" {
		why += ": " + s.Reason
	}
	return why
}
