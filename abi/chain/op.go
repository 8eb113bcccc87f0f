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
)

var opNames = map[Op]string{OpGrant: "grant", OpRotate: "rotate", OpEnrol: "enrol", OpDeviceStatus: "device-status",
	OpUpload: "upload", OpChunk: "chunk", OpDeploy: "deploy", OpCall: "call", OpBind: "bind",
	OpIssueToken: "issue-token", OpRevokeToken: "revoke-token", OpUpgrade: "upgrade",
	OpPropose: "propose", OpApprove: "approve", OpReject: "reject", OpGuardians: "guardians"}

func (o Op) String() string {
	if n, ok := opNames[o]; ok {
		return n
	}
	return fmt.Sprintf("op-%d", uint64(o))
}
