package chain

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/seed79541315/postern/abi"
)

// The state is one flat space of keys; the first byte names the record.
//
//	P                                Params
//	V                                ValidatorSet
//	N                                number of the next timer (uint)
//	a account id                     Account
//	k SHA-256 of a public key        account id, for the current key only
//	q account id                     Quota
//	l account id | lane (8)          last sequence of the lane (uint)
//	d account id                     Device
//	r SHA-256 of maker 0x00 serial   account id of the device
//	u account id | code hash         PendingUpload
//	b code hash | account id | i (4) a chunk of the code, raw
//	h code hash                      Code
//	c name                           Contract
//	v length of name (1) | name | number (8)  ContractVersion
//	p domain                         Domain
//	t due ms (8) | number (8)        Timer
//	T token hash                     Token
//	w minute (8)                     running hash of the window ids that
//	                                 expire within that minute
//	s length of name (1) | name | k  a contract's state
//	G number (8)                     Proposal
//	o account id | number (8)        empty: an undecided proposal of the account
//	O                                number of the newest proposal (uint)
//	I                                highest validator id ever given (uint),
//	                                 from the first change of the set on, and
//	                                 in a chain that goes on from another
//	g account id                     Guardians
//	m name                           Manufacturer
//	B SHA-256 of maker 0x00 serial   Listing: the serial is on the blacklist
//	H HardwareHash                   how many listings name this hardware (uint)
//	y name                           Platform
//	A account id                     Anchored: the head of a decision log
//	z account id | size (8)          AnchoredAt
//	f account id                     Forked: two heads of one size
//	W account id | account id        Witnessed: of the first's log, by the second
//	j account id                     Verdicts on a device
//	e account id | contract          newest ms of the device's reports that
//	                                 the contract has judged as evidence (uint)
//	n account id | kind              Alerts of a gateway
//	E account id                     items sealed of a device so far (uint)
//	E account id | number (8)        SealedItem; the first is number 1
//
// Integers are big-endian. Outside the state root ("plain") stand the window
// ids themselves, the index of transactions and the changes of the validator
// set, which prove themselves:
//
//	w minute (8) | transaction id    uvarint height | uvarint number among the
//	                                 window ids of that block
//	x transaction id                 height (8) | index of its outcome (4)
//	S height (8)                     proof.Step of that block

// ParamsKey is the key of the chain's parameters.
func ParamsKey() []byte { return []byte{'P'} }

// ValidatorsKey is the key of the validator set.
func ValidatorsKey() []byte { return []byte{'V'} }

// TimerNumberKey is the key of the next timer's number.
func TimerNumberKey() []byte { return []byte{'N'} }

// ProposalNumberKey is the key of the newest proposal's number.
func ProposalNumberKey() []byte { return []byte{'O'} }

// ValidatorNumberKey is the key of the highest validator id ever given.
func ValidatorNumberKey() []byte { return []byte{'I'} }

// AccountKey is the key of an account.
func AccountKey(id abi.Hash) []byte { return hashKey('a', id) }

// KeyIndexKey is the key under which a public key's account id stands.
func KeyIndexKey(public []byte) []byte { return hashKey('k', sha256.Sum256(public)) }

// QuotaKey is the key of an account's quota.
func QuotaKey(id abi.Hash) []byte { return hashKey('q', id) }

// LaneKey is the key of a lane's last sequence.
func LaneKey(id abi.Hash, lane uint64) []byte {
	return binary.BigEndian.AppendUint64(hashKey('l', id), lane)
}

// DeviceKey is the key of a device.
func DeviceKey(id abi.Hash) []byte { return hashKey('d', id) }

// SerialKey is the key under which a manufacturer's serial names its device.
func SerialKey(manufacturer, serial string) []byte {
	return hashKey('r', SerialHash(manufacturer, serial))
}

// SerialHash names a manufacturer's serial. Neither holds a NUL.
func SerialHash(manufacturer, serial string) abi.Hash {
	return sha256.Sum256([]byte(manufacturer + "\x00" + serial))
}

// UploadKey is the key of an unfinished upload.
func UploadKey(account, code abi.Hash) []byte { return append(hashKey('u', account), code[:]...) }

// UploadPrefix is the prefix of an account's unfinished uploads.
func UploadPrefix(account abi.Hash) []byte { return hashKey('u', account) }

// CodeChunkKey is the key of a chunk of a code.
func CodeChunkKey(code, uploader abi.Hash, index uint64) []byte {
	return binary.BigEndian.AppendUint32(append(hashKey('b', code), uploader[:]...), uint32(index))
}

// CodeKey is the key of a code.
func CodeKey(code abi.Hash) []byte { return hashKey('h', code) }

// ContractKey is the key of a contract.
func ContractKey(name string) []byte { return append([]byte{'c'}, name...) }

// VersionKey is the key of a version of a contract.
func VersionKey(contract string, number uint64) []byte {
	b := append([]byte{'v', byte(len(contract))}, contract...)
	return binary.BigEndian.AppendUint64(b, number)
}

// DomainKey is the key of a policy domain.
func DomainKey(domain string) []byte { return append([]byte{'p'}, domain...) }

// TimerKey is the key of a timer; they sort by due time, then by number. A due
// time before 1970 counts as 1970: it has passed, and as an unsigned number it
// would sort last and never come.
func TimerKey(due int64, number uint64) []byte {
	b := binary.BigEndian.AppendUint64([]byte{'t'}, uint64(max(due, 0)))
	return binary.BigEndian.AppendUint64(b, number)
}

// TimerPrefix is the prefix of all timers.
func TimerPrefix() []byte { return []byte{'t'} }

// TimerDue reads the due time out of a timer's key.
func TimerDue(key []byte) int64 { return int64(binary.BigEndian.Uint64(key[1:9])) }

// TimerID names a timer in its outcome: SHA-256 of its key.
func TimerID(key []byte) abi.Hash { return sha256.Sum256(key) }

// TokenKey is the key of a bearer token by the token's hash.
func TokenKey(token abi.Hash) []byte { return hashKey('T', token) }

// TokenPrefix is the prefix of all tokens.
func TokenPrefix() []byte { return []byte{'T'} }

// ContractPrefix is the prefix of all contracts.
func ContractPrefix() []byte { return []byte{'c'} }

// DevicePrefix is the prefix of all devices.
func DevicePrefix() []byte { return []byte{'d'} }

// Minute is the minute in which a window transaction expires.
func Minute(validUntil int64) uint64 { return uint64(validUntil) / 60_000 }

// WindowKey is the key of a minute's running hash of window ids, and the
// prefix of those ids among the plain records.
func WindowKey(minute uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'w'}, minute) }

// WindowIDKey is the plain key of a window id.
func WindowIDKey(minute uint64, id abi.Hash) []byte { return append(WindowKey(minute), id[:]...) }

// TxIndexKey is the plain key under which a transaction's place stands.
func TxIndexKey(id abi.Hash) []byte { return hashKey('x', id) }

// StatePrefix is the prefix of a contract's state.
func StatePrefix(contract string) []byte {
	return append([]byte{'s', byte(len(contract))}, contract...)
}

// StateKey is the key of an entry of a contract's state.
func StateKey(contract string, key []byte) []byte {
	b := make([]byte, 0, 2+len(contract)+len(key))
	b = append(append(b, 's', byte(len(contract))), contract...)
	return append(b, key...)
}

// ProposalKey is the key of a proposal; the first is number 1.
func ProposalKey(number uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'G'}, number) }

// ProposalPrefix is the prefix of all proposals, in the order of their numbers.
func ProposalPrefix() []byte { return []byte{'G'} }

// ProposalNumber reads the number out of a proposal's key.
func ProposalNumber(key []byte) uint64 { return binary.BigEndian.Uint64(key[1:9]) }

// OpenProposalKey is the key under which an undecided proposal is listed.
func OpenProposalKey(account abi.Hash, number uint64) []byte {
	return binary.BigEndian.AppendUint64(hashKey('o', account), number)
}

// OpenProposalPrefix is the prefix of an account's undecided proposals.
func OpenProposalPrefix(account abi.Hash) []byte { return hashKey('o', account) }

// OpenProposalsPrefix is the prefix of all undecided proposals.
func OpenProposalsPrefix() []byte { return []byte{'o'} }

// OpenProposalNumber reads the number out of the key of an undecided proposal.
func OpenProposalNumber(key []byte) uint64 { return binary.BigEndian.Uint64(key[33:41]) }

// GuardiansKey is the key of an account's guardians.
func GuardiansKey(account abi.Hash) []byte { return hashKey('g', account) }

// ManufacturerKey is the key of a manufacturer by its name.
func ManufacturerKey(name string) []byte { return append([]byte{'m'}, name...) }

// ManufacturerPrefix is the prefix of all manufacturers.
func ManufacturerPrefix() []byte { return []byte{'m'} }

// BlacklistKey is the key under which a serial is listed.
func BlacklistKey(manufacturer, serial string) []byte {
	return ListingKey(SerialHash(manufacturer, serial))
}

// ListingKey is the key under which a serial of this SerialHash is listed.
func ListingKey(serial abi.Hash) []byte { return hashKey('B', serial) }

// BlacklistPrefix is the prefix of all serials on the blacklist.
func BlacklistPrefix() []byte { return []byte{'B'} }

// HardwareKey is the key under which a hardware identity is listed.
func HardwareKey(hardware abi.Hash) []byte { return hashKey('H', hardware) }

// PlatformKey is the key of another platform by its name.
func PlatformKey(name string) []byte { return append([]byte{'y'}, name...) }

// PlatformPrefix is the prefix of all platforms.
func PlatformPrefix() []byte { return []byte{'y'} }

// AnchorKey is the key of the newest anchor of an account's log.
func AnchorKey(account abi.Hash) []byte { return hashKey('A', account) }

// AnchorPrefix is the prefix of the newest anchors of all logs.
func AnchorPrefix() []byte { return []byte{'A'} }

// AnchorAtKey is the key of an anchor of an account's log by its size.
func AnchorAtKey(account abi.Hash, size uint64) []byte {
	return binary.BigEndian.AppendUint64(hashKey('z', account), size)
}

// AnchorAtPrefix is the prefix of an account's anchors, in the order of sizes.
func AnchorAtPrefix(account abi.Hash) []byte { return hashKey('z', account) }

// AnchorsAtPrefix is the prefix of the anchors of all logs by their sizes.
func AnchorsAtPrefix() []byte { return []byte{'z'} }

// OffenceKey is the key of the proof that an account's log has two heads.
func OffenceKey(account abi.Hash) []byte { return hashKey('f', account) }

// OffencePrefix is the prefix of all such proofs.
func OffencePrefix() []byte { return []byte{'f'} }

// WitnessKey is the key of what an account has seen of another's log.
func WitnessKey(account, by abi.Hash) []byte { return append(hashKey('W', account), by[:]...) }

// WitnessPrefix is the prefix of what was seen of an account's log.
func WitnessPrefix(account abi.Hash) []byte { return hashKey('W', account) }

// WitnessesPrefix is the prefix of what was seen of all logs.
func WitnessesPrefix() []byte { return []byte{'W'} }

// VerdictsKey is the key of the last verdicts on a device.
func VerdictsKey(device abi.Hash) []byte { return hashKey('j', device) }

// EvidenceKey is the key of the newest report of a device that a contract has
// judged as evidence.
func EvidenceKey(device abi.Hash, contract string) []byte {
	return append(hashKey('e', device), contract...)
}

// AlertKey is the key of a gateway's alerts of a kind.
func AlertKey(account abi.Hash, kind string) []byte { return append(hashKey('n', account), kind...) }

// AlertPrefix is the prefix of a gateway's alerts.
func AlertPrefix(account abi.Hash) []byte { return hashKey('n', account) }

// AlertsPrefix is the prefix of the alerts of all gateways.
func AlertsPrefix() []byte { return []byte{'n'} }

// AlertOf reads the gateway and the kind out of the key of its alerts.
func AlertOf(key []byte) (account abi.Hash, kind string) {
	return abi.Hash(key[1 : 1+len(account)]), string(key[1+len(account):])
}

// SealedCountKey is the key of the number of items that were sealed of a device.
func SealedCountKey(device abi.Hash) []byte { return hashKey('E', device) }

// SealedKey is the key of an item that was sealed of a device.
func SealedKey(device abi.Hash, number uint64) []byte {
	return binary.BigEndian.AppendUint64(hashKey('E', device), number)
}

// StepKey is the plain key of the change of the validator set by the block of
// a height.
func StepKey(height uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'S'}, height) }

// StepPrefix is the prefix of all changes of the validator set.
func StepPrefix() []byte { return []byte{'S'} }

func hashKey(space byte, h abi.Hash) []byte {
	b := make([]byte, 1, 80)
	b[0] = space
	return append(b, h[:]...)
}
