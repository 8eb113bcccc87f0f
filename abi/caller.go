package abi

// Caller is who asks for a decision: the key that mutual TLS authenticated,
// or the account of a bearer token.
type Caller struct {
	Key     []byte // nil for a token
	Account Hash   // used when Key is nil
}

// Standing is what the ledger says of a key at this moment.
type Standing struct {
	Known   bool // the key is some account's current key
	Account Hash
	Roles   Role
	Device  Status // 0 when the account is no device
}

// Active says whether the holder of the key may ask for anything beyond its
// status: it is known and, if a device, active.
func (s *Standing) Active() bool {
	return s.Known && (s.Device == 0 || s.Device == StatusActive)
}
