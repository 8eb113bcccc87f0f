package chain

import "fmt"

// Op is what a transaction does.
type Op uint64

// The operations. Their arguments are the structs named here.
const (
	OpGrant        Op = 1  // Grant: create an account, or set its roles and quota
	OpRotate       Op = 2  // Rotate: replace the sender's own key
	OpEnrol        Op = 3  // Enrol: a device under the sender as owner
	OpDeviceStatus Op = 4  // DeviceStatus
	OpUpload       Op = 5  // Upload: declare code to come
	OpChunk        Op = 6  // Chunk: a part of an upload
	OpDeploy       Op = 7  // Deploy: make a contract of an uploaded code
	OpCall         Op = 8  // Call: a contract's execute
	OpBind         Op = 9  // Bind: a policy domain to a contract
	OpIssueToken   Op = 10 // IssueToken for an enforcement point
	OpRevokeToken  Op = 11 // RevokeToken
	OpUpgrade      Op = 12 // Upgrade: give a contract another code
	OpPropose      Op = 13 // Propose: a change that several must agree to
	OpApprove      Op = 14 // Vote for a proposal
	OpReject       Op = 15 // Vote against a proposal, or withdraw one's own
	OpGuardians    Op = 16 // Guardians: who may recover the sender's account

	// Since protocol version 3.
	OpManufacturer    Op = 17 // RegisterManufacturer: who vouches for serials
	OpOrigin          Op = 18 // ProveOrigin: a manufacturer's word for a device
	OpTransfer        Op = 19 // Transfer: a device to a new owner
	OpBindDevice      Op = 20 // BindDevice: contracts that judge a device
	OpBlacklist       Op = 21 // Blacklist: list a serial, or take it off
	OpPlatform        Op = 22 // RegisterPlatform: whose lists are taken in
	OpImportBlacklist Op = 23 // ImportBlacklist: another platform's signed list
	OpAnchor          Op = 24 // Anchor: the head of the sender's decision log
	OpOffence         Op = 25 // Offence: two heads of one size
	OpWitness         Op = 26 // Witness: the head of another's log
	OpVerdict         Op = 27 // Verdict: how a gateway judged a device
	OpEvidence        Op = 28 // Evidence: what a device signed, for validators to judge
	OpAlert           Op = 29 // Alert: attacks on the sender, a gateway
	OpSealed          Op = 30 // Sealed: what a stolen device sent
)

// Since is the protocol version from which on blocks know the operation. It is
// 0 for one that this program does not know.
func (o Op) Since() uint64 {
	switch {
	case o >= OpGrant && o <= OpGuardians:
		return 1
	case o >= OpManufacturer && o <= OpSealed:
		return 3
	}
	return 0
}

var opNames = map[Op]string{OpGrant: "grant", OpRotate: "rotate", OpEnrol: "enrol", OpDeviceStatus: "device-status",
	OpUpload: "upload", OpChunk: "chunk", OpDeploy: "deploy", OpCall: "call", OpBind: "bind",
	OpIssueToken: "issue-token", OpRevokeToken: "revoke-token", OpUpgrade: "upgrade",
	OpPropose: "propose", OpApprove: "approve", OpReject: "reject", OpGuardians: "guardians",
	OpManufacturer: "manufacturer", OpOrigin: "origin", OpTransfer: "transfer", OpBindDevice: "bind-device",
	OpBlacklist: "blacklist", OpPlatform: "platform", OpImportBlacklist: "import-blacklist",
	OpAnchor: "anchor", OpOffence: "offence", OpWitness: "witness", OpVerdict: "verdict", OpEvidence: "evidence",
	OpAlert: "alert", OpSealed: "sealed"}

func (o Op) String() string {
	if n, ok := opNames[o]; ok {
		return n
	}
	return fmt.Sprintf("op-%d", uint64(o))
}
