package access

import (
	"strconv"

	"github.com/seed79541315/postern/abi"
)

// Code is what the contract aborts with: it stands in the outcome beside
// abi.CodeAborted and never changes its meaning.
type Code uint16

// The contract's codes.
const (
	CodeMalformed        Code = 1
	CodeNotAdmin         Code = 2
	CodeNested           Code = 3
	CodeUnknownOperation Code = 4
	CodeBadVersion       Code = 5
	CodeNotBuilding      Code = 6
	CodeBaseMoved        Code = 7
	CodeIncomplete       Code = 8
	CodeNotActive        Code = 9
	CodeDuplicate        Code = 10
	CodeNotFound         Code = 11
	CodeTooLarge         Code = 12
	CodeBadEntity        Code = 13
	CodeBadRule          Code = 14
	CodeBadCondition     Code = 15
	CodeBadHours         Code = 16
	CodeUnknownZone      Code = 17
	CodeBadZone          Code = 18
	CodeNotOwner         Code = 19
	CodeBadExpiry        Code = 20
	CodeNoPolicy         Code = abi.AbortNoPolicy
	CodeBadRequest       Code = 22
	CodeBadAdmins        Code = 23
	CodeBadName          Code = 24
	CodeBadRoles         Code = 25
	CodeNoGlass          Code = 26
	CodeBroken           Code = 27
	CodeTooManyAlarms    Code = 28
	CodeOwnAlarm         Code = 29
	CodeNotSubject       Code = 30
	CodeNoReason         Code = 31
	CodeChanged          Code = abi.AbortSearchOutdated
)

var codeTexts = map[Code]string{
	CodeMalformed:        "the message is not canonical CBOR of its form",
	CodeNotAdmin:         "the sender is neither the contract's owner nor an admin",
	CodeNested:           "a contract may not change the policy in its signer's name",
	CodeUnknownOperation: "unknown operation, or a wrong number of operands",
	CodeBadVersion:       "the version exists, or is not above the active one",
	CodeNotBuilding:      "the version is not being written",
	CodeBaseMoved:        "the base is no longer the active version: look at the policy and load again",
	CodeIncomplete:       "count or digest differ from what was written: abandon the version and load again",
	CodeNotActive:        "the version is not the active one",
	CodeDuplicate:        "the entity or rule was written before",
	CodeNotFound:         "there is no such entity, rule or delegation",
	CodeTooLarge:         "the entity, rule, zone table or list is too large",
	CodeBadEntity:        "the entity has a wrong field",
	CodeBadRule:          "the rule has a wrong field",
	CodeBadCondition:     "the rule's condition is malformed, too deep or too long",
	CodeBadHours:         "the rule's hours are out of range",
	CodeUnknownZone:      "the rule names a time zone that the policy does not hold: put the zone first",
	CodeBadZone:          "the time zone's table is malformed",
	CodeNotOwner:         "the sender is not the resource's registered owner",
	CodeBadExpiry:        "the delegation expires in the past, or later than 366 days ahead",
	CodeNoPolicy:         "no policy is active",
	CodeBadRequest:       "the decision request is incomplete",
	CodeBadAdmins:        "more than 32 admins, or one that is no account id",
	CodeBadName:          "a name is empty or too long",
	CodeBadRoles:         "the table of roles is out of order or too large",
	CodeNoGlass:          "no rule lets the subject break the glass for this",
	CodeBroken:           "the glass is broken already",
	CodeTooManyAlarms:    "too many alarms wait to be acknowledged",
	CodeOwnAlarm:         "nobody acknowledges an alarm about themselves",
	CodeNotSubject:       "the sender is neither the subject nor an enforcement point",
	CodeNoReason:         "the reason is empty or too long",
	CodeChanged:          "the policy has changed since the search began: search again",
}

func (c Code) String() string {
	if text, ok := codeTexts[c]; ok {
		return text
	}
	return "access contract code " + strconv.Itoa(int(c))
}

// Reason is the reason code of a verdict.
type Reason uint64

// The reason codes. The reason id beside them is that of the rule, where one
// decided.
const (
	ReasonRule         Reason = 1  // permitted by a rule
	ReasonDelegation   Reason = 2  // permitted by the resource's owner
	ReasonBrokenGlass  Reason = 3  // permitted by a rule, since the glass was broken
	ReasonNoRule       Reason = 10 // denied: no rule permits it
	ReasonDenyRule     Reason = 11 // denied by a rule
	ReasonOutsideHours Reason = 12 // denied: a rule would permit it at another time
	ReasonTimeUnknown  Reason = 13 // denied: a rule might permit it, but the time is not known
	ReasonBreakGlass   Reason = 14 // by transaction: breaking the glass would permit it
)

var reasonTexts = map[Reason]string{
	ReasonRule:         "a rule permits it",
	ReasonDelegation:   "the resource's owner permits it",
	ReasonBrokenGlass:  "a rule permits it, since the glass was broken",
	ReasonNoRule:       "no rule permits it",
	ReasonDenyRule:     "a rule denies it",
	ReasonOutsideHours: "it is permitted at other hours only",
	ReasonTimeUnknown:  "it is permitted at some hours only, and the time is not known",
	ReasonBreakGlass:   "breaking the glass, a transaction with a reason, would permit it",
}

func (r Reason) String() string {
	if text, ok := reasonTexts[r]; ok {
		return text
	}
	return "reason " + strconv.FormatUint(uint64(r), 10)
}
