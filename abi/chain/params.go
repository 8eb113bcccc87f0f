package chain

import (
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Params are the chain's parameters, kept in the state under ParamsKey:
// {1: protocol version, 2: profile, 3: gas of a transaction, 4: gas of a
// block, 5: gas of decide, 6: gas of a query, 7: activation delay ms, 8: gas
// quota, 9: gas refilled a second, 10: storage quota (bytes), 11: bytes
// refilled a day, 12: upload time to live ms, 13: timers a block, 14: timers
// a contract, 15: unfinished uploads an account, 16: approvals that a
// deployment or an upgrade needs, 17: time to live of a proposal ms, 18: blocks
// between snapshots, 19: gateways that must agree to quarantine a device}
// 16 to 19 are left out when they are zero: then contracts are deployed without
// approval, and the others have the defaults of ProposalTTL, SnapshotInterval and
// QuarantineGateways. 19 is known since protocol version 3.
type Params struct {
	Protocol        uint64
	Profile         abi.Profile
	TxGas           uint64
	BlockGas        uint64
	DecideGas       uint64
	QueryGas        uint64
	ActivationDelay int64
	GasQuota        uint64
	GasRefill       uint64
	StorageQuota    uint64
	StorageRefill   uint64
	UploadTTL       int64
	BlockTimers     uint64
	ContractTimers  uint64
	AccountUploads  uint64
	DeployApprovals uint64
	ProposalTime    int64
	SnapshotBlocks  uint64
	VerdictGateways uint64
}

// Defaults of parameters that are zero.
const (
	defaultProposalTTL      = 7 * 24 * 3_600_000 // a week: approvals may wait for people
	defaultSnapshotInterval = 10_000
	defaultVerdictGateways  = 2 // no single gateway quarantines everywhere
)

// ProposalTTL is how long a proposal may wait for its approvals, in ms.
func (p *Params) ProposalTTL() int64 {
	if p.ProposalTime == 0 {
		return defaultProposalTTL
	}
	return p.ProposalTime
}

// SnapshotInterval is the number of blocks from one snapshot of the state to
// the next: all nodes take them at its multiples.
func (p *Params) SnapshotInterval() uint64 {
	if p.SnapshotBlocks == 0 {
		return defaultSnapshotInterval
	}
	return p.SnapshotBlocks
}

// QuarantineGateways is how many gateways must agree within VerdictWindow before
// a device is quarantined everywhere: at least two, whatever a genesis says.
func (p *Params) QuarantineGateways() uint64 {
	return max(defaultVerdictGateways, p.VerdictGateways)
}

// DefaultParams are the parameters of a new lean chain. One unit of gas is about
// half a nanosecond of compiled code, 1.6 of the dearest.
func DefaultParams() Params {
	return Params{
		Protocol: Protocol, Profile: abi.ProfileLean,
		TxGas: 20_000_000, BlockGas: 100_000_000, DecideGas: 2_000_000, QueryGas: 20_000_000,
		GasQuota: 20_000_000_000, GasRefill: 100_000_000,
		StorageQuota: 256 << 20, StorageRefill: 64 << 20,
		UploadTTL: 60 * 60 * 1000, BlockTimers: 64, ContractTimers: 1024, AccountUploads: 4,
	}
}

// ParamsOf are the parameters of a new chain of a profile. The wide one lets a
// transaction pay for completing the largest code, 168 million units, and gives
// nodes the time to compile one before it is needed: seconds for a Go guest, on
// slow processors more. A block is twice such a transaction, half a second of the
// dearest compiled code. Loads, calls and branches cost more than under the lean
// profile, so decisions and queries have more gas too.
func ParamsOf(profile abi.Profile) Params {
	p := DefaultParams()
	if profile == abi.ProfileWide {
		p.Profile = abi.ProfileWide
		p.TxGas, p.BlockGas = 175_000_000, 350_000_000
		p.DecideGas, p.QueryGas = 10_000_000, 60_000_000
		p.ActivationDelay = 15_000
	}
	return p
}

// usualGas is more than a transaction takes that brings no code.
const usualGas = 20_000_000

// GasFor is the gas to declare for an operation of which nothing more is known.
// A block holds only so much declared gas: whoever declares the most that a
// wide chain admits keeps others waiting for nothing. Completing an upload is
// what takes that much.
func (p *Params) GasFor(op Op) uint64 {
	if op == OpDeploy || op == OpUpgrade || op == OpPropose {
		return p.TxGas
	}
	return min(p.TxGas, usualGas)
}

// Append appends the encoding of p.
func (p *Params) Append(b []byte) []byte {
	var f fields
	f.uint(1, p.Protocol)
	f.uint(2, uint64(p.Profile))
	f.uint(3, p.TxGas)
	f.uint(4, p.BlockGas)
	f.uint(5, p.DecideGas)
	f.uint(6, p.QueryGas)
	f.int(7, p.ActivationDelay)
	f.uint(8, p.GasQuota)
	f.uint(9, p.GasRefill)
	f.uint(10, p.StorageQuota)
	f.uint(11, p.StorageRefill)
	f.int(12, p.UploadTTL)
	f.uint(13, p.BlockTimers)
	f.uint(14, p.ContractTimers)
	f.uint(15, p.AccountUploads)
	f.optUint(16, p.DeployApprovals)
	f.optUint(17, uint64(p.ProposalTime))
	f.optUint(18, p.SnapshotBlocks)
	f.optUint(19, p.VerdictGateways)
	return f.appendTo(b)
}

// ParseParams reads the chain's parameters.
func ParseParams(b []byte) (p Params, err error) { return parseParams(b, Protocol) }

// parseParams skips what a protocol version does not know.
func parseParams(b []byte, protocol uint64) (p Params, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			p.Protocol = r.Uint()
		case 2:
			p.Profile = abi.Profile(uintUpTo(r, math.MaxUint8))
		case 3:
			p.TxGas = r.Uint()
		case 4:
			p.BlockGas = r.Uint()
		case 5:
			p.DecideGas = r.Uint()
		case 6:
			p.QueryGas = r.Uint()
		case 7:
			p.ActivationDelay = r.Int()
		case 8:
			p.GasQuota = r.Uint()
		case 9:
			p.GasRefill = r.Uint()
		case 10:
			p.StorageQuota = r.Uint()
		case 11:
			p.StorageRefill = r.Uint()
		case 12:
			p.UploadTTL = r.Int()
		case 13:
			p.BlockTimers = r.Uint()
		case 14:
			p.ContractTimers = r.Uint()
		case 15:
			p.AccountUploads = r.Uint()
		case 16:
			p.DeployApprovals = r.Uint()
		case 17:
			p.ProposalTime = int64(uintUpTo(r, math.MaxInt64))
		case 18:
			p.SnapshotBlocks = r.Uint()
		case 19:
			if protocol < 3 {
				r.Skip()
			} else {
				p.VerdictGateways = r.Uint()
			}
		default:
			r.Skip()
		}
	})
	return p, err
}
