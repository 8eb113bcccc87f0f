// Package abi is what host and guest say to each other, what devices say to
// nodes, and the limits and codes that both rely on. It holds data only: the
// rules live in runtime, the bytes that are hashed or signed in abi/chain.
package abi

// Version is the version of the guest interface: entry points, host
// functions and the messages below.
const Version = 1

// Hash is a SHA-256 digest. Chains, blocks, transactions, codes and accounts
// are named by one.
type Hash [32]byte

// Profile chooses which guests a chain admits.
type Profile uint8

// ProfileLean admits small guests without floats; ProfileWide also Go guests,
// larger ones, and floats, of which every computed NaN is the canonical one.
const (
	ProfileLean Profile = 1
	ProfileWide Profile = 2
)

// Limits of state, messages and transactions. They are consensus rules: a
// change of one is a change of the protocol version.
const (
	MaxKey         = 256      // bytes of a contract's state key
	MaxValue       = 16 << 10 // bytes of a state value
	MaxTransaction = 64 << 10 // bytes of an encoded transaction
	MaxChunk       = 32 << 10 // bytes of code in one upload transaction
	MaxBlock       = 256 << 10
	MaxFrame       = 80 << 10       // bytes of a frame on the device port; a transaction with its envelope fits
	MaxName        = 64             // bytes of a contract's or domain's name
	MaxResult      = 16 << 10       // bytes an entry point may return
	MaxOutcomeData = 1 << 10        // bytes of an execute result kept in its outcome
	MaxTopic       = 64             // bytes of an event's topic
	MaxEvent       = 4 << 10        // bytes of an event's data
	MaxEvents      = 64             // events of one transaction
	MaxLocal       = 4 << 10        // bytes of a gateway-local record of a device
	MaxCallDepth   = 8              // contract calls nested within one another
	MaxAbortText   = 256            // bytes of an abort's text, for logs only
	MaxBatch       = 64             // decisions in one decide-batch
	MaxWindow      = 10 * 60 * 1000 // milliseconds a window transaction may be ahead of the header time
)

// ValidName says whether s may name a contract, a policy domain or a chain:
// 1 to 64 of a-z, 0-9, '-', '.' and '_', beginning with a letter or digit.
func ValidName(s string) bool {
	if len(s) == 0 || len(s) > MaxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '-' && c != '.' && c != '_') {
			return false
		}
	}
	return true
}

// Role is one bit of an account's roles.
type Role uint64

// The roles of design: what an account may do beyond owning what is its own.
const (
	RoleValidator        Role = 1 << iota // its key votes
	RoleOperator                          // grants roles, binds domains, issues tokens
	RoleGateway                           // serves devices; its key is the TLS key
	RoleDeveloper                         // uploads code and deploys contracts
	RoleOwner                             // enrols devices
	RoleManufacturer                      // vouches for serials and firmware
	RoleAuthority                         // police, certifiers: theft and recall
	RoleAuditor                           // reads what others may not
	RoleEnforcementPoint                  // asks about subjects other than itself
	RoleCreditIssuer                      // issues credits of a data market
)

var roleNames = [...]string{"validator", "operator", "gateway", "developer", "owner", "manufacturer", "authority", "auditor", "enforcement-point", "credit-issuer"}

// AllRoles is the union of all roles.
const AllRoles = Role(1<<len(roleNames) - 1)

// Names lists the roles in r.
func (r Role) Names() []string {
	names := []string{}
	for i, n := range roleNames {
		if r&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}

// RoleByName finds a role by its name.
func RoleByName(name string) (Role, bool) {
	for i, n := range roleNames {
		if n == name {
			return 1 << i, true
		}
	}
	return 0, false
}

// Status is a device's status.
type Status uint8

// The statuses of a device. Only an active one is asked for by policies; the
// others are denied before any contract runs.
const (
	StatusActive Status = iota + 1
	StatusSuspended
	StatusQuarantined
	StatusStolen
	StatusRetired
)

var statusNames = [...]string{"unknown", "active", "suspended", "quarantined", "stolen", "retired"}

func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return statusNames[0]
}

// StatusByName finds a status by its name.
func StatusByName(name string) (Status, bool) {
	for i, n := range statusNames[1:] {
		if n == name {
			return Status(i + 1), true
		}
	}
	return 0, false
}
