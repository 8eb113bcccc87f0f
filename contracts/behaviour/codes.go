package behaviour

import "strconv"

// Code is what the contract aborts with: it stands in the outcome beside
// abi.CodeAborted and never changes its meaning.
type Code uint16

// The contract's codes.
const (
	CodeMalformed        Code = 1
	CodeNotLoader        Code = 2
	CodeNested           Code = 3
	CodeUnknownOperation Code = 4
	CodeBadVersion       Code = 5
	CodeNotBuilding      Code = 6
	CodeBaseMoved        Code = 7
	CodeIncomplete       Code = 8
	CodeNoSuchProfile    Code = 9
	CodeDuplicate        Code = 10
	CodeTooLarge         Code = 11
	CodeBadProfile       Code = 12
	CodeBadPage          Code = 13
	CodeBadRule          Code = 14
	CodeBadSite          Code = 15
	CodeBadName          Code = 16
	CodeBadLoaders       Code = 17
	CodeNoProfile        Code = 18
	CodeTooMany          Code = 19
	CodeWrongDevice      Code = 20
	CodeNotEvidence      Code = 21
	CodeOldEvidence      Code = 22
	CodeBadHours         Code = 23
)

var codeTexts = map[Code]string{
	CodeMalformed:        "the message is not canonical CBOR of its form",
	CodeNotLoader:        "the sender is neither the contract's owner nor a loader",
	CodeNested:           "a contract may not change profiles in its signer's name",
	CodeUnknownOperation: "unknown operation, or a wrong number of operands",
	CodeBadVersion:       "the version exists, or is not above the active one",
	CodeNotBuilding:      "the version is not being written",
	CodeBaseMoved:        "the base is no longer the active version: look at the profile and load again",
	CodeIncomplete:       "count or digest differ from what was written: abandon the version and load again",
	CodeNoSuchProfile:    "no such profile is active",
	CodeDuplicate:        "the page was written before",
	CodeTooLarge:         "the profile, page, rule or list is too large",
	CodeBadProfile:       "the profile has a wrong field",
	CodeBadPage:          "the page has a malformed entry",
	CodeBadRule:          "the telemetry rule has a wrong field",
	CodeBadSite:          "the site has a malformed network, or classes out of order",
	CodeBadName:          "a name is empty or too long",
	CodeBadLoaders:       "more than 32 loaders, or one that is no account id",
	CodeNoProfile:        "no profile is assigned to the device: bind the device or its model to one",
	CodeTooMany:          "the observation holds more than 256 items, or none",
	CodeWrongDevice:      "the evidence is about another device than the one that signed it",
	CodeNotEvidence:      "a device cannot give evidence of this kind",
	CodeOldEvidence:      "the evidence is not newer than the last, or not of the last day",
	CodeBadHours:         "the hours or their time zone are malformed",
}

func (c Code) String() string {
	if text, ok := codeTexts[c]; ok {
		return text
	}
	return "behaviour contract code " + strconv.Itoa(int(c))
}

// Reason is the reason code of a judgement: the kind of its heaviest finding.
type Reason uint64

// The kinds of findings.
const (
	ReasonFlowNotAdmitted Reason = iota + 1
	ReasonFlowForbidden
	ReasonValueOutOfRange
	ReasonChangeTooFast
	ReasonUnexpectedState
	ReasonUnknownName
	ReasonWrongForm
	ReasonTooManyReports
	ReasonTooManyBytes
	ReasonSilent
	ReasonOutsideHours
	ReasonRequestDenied
	ReasonSignOfTheft
	reasonCount
)

var reasonNames = [reasonCount]string{
	ReasonFlowNotAdmitted: "flow-not-admitted", ReasonFlowForbidden: "flow-forbidden",
	ReasonValueOutOfRange: "value-out-of-range", ReasonChangeTooFast: "change-too-fast",
	ReasonUnexpectedState: "unexpected-state", ReasonUnknownName: "unknown-name", ReasonWrongForm: "wrong-form",
	ReasonTooManyReports: "too-many-reports", ReasonTooManyBytes: "too-many-bytes", ReasonSilent: "silent",
	ReasonOutsideHours: "outside-hours", ReasonRequestDenied: "request-denied", ReasonSignOfTheft: "sign-of-theft",
}

// String is the reason id that stands in judgements.
func (r Reason) String() string {
	if r > 0 && r < reasonCount {
		return reasonNames[r]
	}
	return "reason " + strconv.FormatUint(uint64(r), 10)
}

// ReasonByName finds a kind of finding by its reason id.
func ReasonByName(name string) (Reason, bool) {
	for r := Reason(1); r < reasonCount; r++ {
		if reasonNames[r] == name {
			return r, true
		}
	}
	return 0, false
}
