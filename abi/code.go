package abi

import (
	"errors"
	"strconv"
)

// Code is a stable error code: it stands in outcomes on the ledger, in
// answers to devices and in what the command line prints. A code never
// changes its meaning; docs/errors.md is made from this table.
//
// A Code is an error. Where a party outside the node is answered, it gets the
// code and the table's text, never the cause.
type Code uint16

// Codes by range: 1-49 encoding and signatures, 50-99 transactions, 100-149
// accounts, devices and contracts, 150-199 what a running contract did,
// 200-249 why a module is refused, 300-349 decisions, 350-399 service.
const (
	OK Code = 0

	CodeMalformed      Code = 1
	CodeTooLarge       Code = 2
	CodeBadSignature   Code = 3
	CodeBadKey         Code = 4
	CodeWrongChain     Code = 5
	CodeUnknownVersion Code = 6
	CodeUnknownOp      Code = 7
	CodeBadArgument    Code = 8
	CodeBadProof       Code = 9
	CodeBadNumber      Code = 10

	CodeExpired        Code = 50
	CodeTooFarAhead    Code = 51
	CodeReplayed       Code = 52
	CodeOutOfSequence  Code = 53
	CodeStaleTick      Code = 54
	CodeGasCap         Code = 55
	CodeGasQuota       Code = 56
	CodeStorageQuota   Code = 57
	CodeMissingRole    Code = 58
	CodeNotPermitted   Code = 59
	CodeUnknownAccount Code = 60
	CodeKeyNotCurrent  Code = 61
	CodeBlockFull      Code = 62

	CodeAccountExists    Code = 100
	CodeDeviceExists     Code = 101
	CodeUnknownDevice    Code = 102
	CodeSerialTaken      Code = 103
	CodeDeviceInactive   Code = 104
	CodeCodeExists       Code = 106
	CodeUnknownUpload    Code = 107
	CodeUploadExpired    Code = 108
	CodeUploadIncomplete Code = 109
	CodeHashMismatch     Code = 110
	CodeUnknownContract  Code = 111
	CodeContractExists   Code = 112
	CodeContractPending  Code = 113
	CodeContractFailed   Code = 114
	CodeDomainTaken      Code = 116
	CodeTooManyTimers    Code = 117
	CodeBadStatus        Code = 118
	CodeTooManyUploads   Code = 119
	CodeUpgradePending   Code = 120
	CodeUpgradeFailed    Code = 121
	CodeNeedsApproval    Code = 122
	CodeUnknownProposal  Code = 123
	CodeProposalClosed   Code = 124
	CodeProposalOutdated Code = 125
	CodeTooManyProposals Code = 126
	CodeVotedAlready     Code = 127
	CodeUnknownValidator Code = 128
	CodeBadValidatorSet  Code = 129

	CodeBlacklisted         Code = 130
	CodeUnproven            Code = 131
	CodeBadOrigin           Code = 132
	CodeNotBound            Code = 133
	CodeUnknownManufacturer Code = 134
	CodeReasonRequired      Code = 135
	CodeLogConflict         Code = 136
	CodeOldList             Code = 137
	CodeUnknownPlatform     Code = 138
	CodeTooMany             Code = 139

	CodeAborted         Code = 150
	CodeOutOfGas        Code = 151
	CodeStackLimit      Code = 152
	CodeMemoryLimit     Code = 154
	CodeBadPointer      Code = 155
	CodeNoEntryPoint    Code = 156
	CodeNotAllowedHere  Code = 157
	CodeCallDepth       Code = 158
	CodeKeyTooLong      Code = 159
	CodeValueTooLong    Code = 160
	CodeResultTooLong   Code = 161
	CodeTooManyEvents   Code = 162
	CodeTooManyScans    Code = 163
	CodeBadResult       Code = 164
	CodeReentrant       Code = 165
	CodeUnreachable     Code = 167
	CodeDivideByZero    Code = 168
	CodeIntegerOverflow Code = 169
	CodeOutOfBounds     Code = 170
	CodeBadIndirectCall Code = 171
	CodeExited          Code = 172

	CodeModuleMalformed       Code = 200
	CodeModuleTooLarge        Code = 201
	CodeModuleInvalid         Code = 202
	CodeModuleFeature         Code = 203
	CodeModuleFloat           Code = 204
	CodeModuleImport          Code = 205
	CodeModuleTooManyImports  Code = 206
	CodeModuleExport          Code = 207
	CodeModuleMissingExport   Code = 208
	CodeModuleReservedName    Code = 209
	CodeModuleTooManyFuncs    Code = 210
	CodeModuleTooManyLocals   Code = 211
	CodeModuleBodyTooLarge    Code = 212
	CodeModuleTooManyBlocks   Code = 213
	CodeModuleNesting         Code = 214
	CodeModuleBrTable         Code = 215
	CodeModuleTable           Code = 216
	CodeModuleMemory          Code = 217
	CodeModuleSignature       Code = 218
	CodeModuleTooManyTypes    Code = 219
	CodeModuleTooManyGlobals  Code = 220
	CodeModuleTooManySegments Code = 221
	CodeModuleStart           Code = 222
	CodeModuleSections        Code = 223
	CodeModuleTooManyLoops    Code = 224
	CodeModuleTooManyBranches Code = 225
	CodeModuleTooManyCalls    Code = 226
	CodeModuleTooManyAccesses Code = 227
	CodeModuleTooManyExports  Code = 228
	CodeModuleTooManyCustoms  Code = 229
	CodeModuleTooManyResults  Code = 230
	CodeModuleCompileMemory   Code = 231
	CodeModuleCompileWork     Code = 232
	CodeModuleTooManyFloats   Code = 233

	CodeDenied           Code = 300 // the policy said no; its own reason stands beside it
	CodeNoDomain         Code = 301
	CodeSubjectNotCaller Code = 302
	CodePolicyFailed     Code = 303
	CodeNoPolicy         Code = 304
	CodeNotAuthenticated Code = 305
	CodeUnknownKey       Code = 306
	CodeByTransaction    Code = 307
	CodeTooStale         Code = 308
	CodeClockUntrusted   Code = 309
	CodeSearchOutdated   Code = 310

	CodeBusy           Code = 350
	CodeRateLimited    Code = 351
	CodeInternal       Code = 352
	CodeNotReady       Code = 353
	CodeShuttingDown   Code = 354
	CodeTimeout        Code = 355
	CodeFrameTooLarge  Code = 356
	CodeNotFound       Code = 357
	CodeUnavailable    Code = 358
	CodeLogUnavailable Code = 359
)

// Error makes a Code an error: its name, number and text.
func (c Code) Error() string {
	return c.Name() + " (" + strconv.Itoa(int(c)) + "): " + c.Text()
}

// Aborted is the error of a contract that refused: its own code, which
// contracts number themselves. It wraps CodeAborted.
type Aborted uint16

// Error implements error: it says the contract's own code too.
func (a Aborted) Error() string {
	return CodeAborted.Name() + " (" + strconv.Itoa(int(CodeAborted)) + "): the contract refused with its own code " + strconv.Itoa(int(a))
}

// Unwrap returns CodeAborted.
func (a Aborted) Unwrap() error { return CodeAborted }

// Malformed gives the error of a CBOR reader CodeMalformed. Errors that wrap a
// code already stay as they are.
func Malformed(err error) error {
	if _, ok := errors.AsType[Code](err); ok {
		return err
	}
	return &caused{CodeMalformed, err}
}

// caused is a code with its cause. It is not made by fmt, which would weigh
// as much in a guest as the contract.
type caused struct {
	code  Code
	cause error
}

func (e *caused) Error() string { return e.code.Error() + ": " + e.cause.Error() }

func (e *caused) Unwrap() []error { return []error{e.code, e.cause} }

// because is c with a text that says why.
func because(c Code, why string) error { return &caused{c, errors.New(why)} }

// Name is the code's stable name, such as "out-of-gas".
func (c Code) Name() string {
	if c.known() {
		return codes[c].name
	}
	return "code-" + strconv.Itoa(int(c))
}

// Text says what happened and what to do, safe to show to anyone.
func (c Code) Text() string {
	if c.known() {
		return codes[c].text
	}
	return ""
}

func (c Code) known() bool { return int(c) < len(codes) && codes[c].name != "" }

// Codes returns every code of the table in ascending order.
func Codes() []Code {
	list := make([]Code, 0, len(codes))
	for c := range Code(len(codes)) {
		if c.known() {
			list = append(list, c)
		}
	}
	return list
}

type codeEntry struct{ name, text string }

// codes is an array, gaps and all: it is data, where a map would be built by
// each guest when it starts.
var codes = [...]codeEntry{
	OK: {"ok", "it was done"},

	CodeMalformed:      {"malformed", "the bytes are not the canonical CBOR of this message"},
	CodeTooLarge:       {"too-large", "the message is larger than its limit"},
	CodeBadSignature:   {"bad-signature", "the signature does not match the message and key"},
	CodeBadKey:         {"bad-key", "the key has a wrong length or kind"},
	CodeWrongChain:     {"wrong-chain", "this belongs to another chain; check the trust bundle, or which home is used"},
	CodeUnknownVersion: {"unknown-version", "this program does not know the protocol version; upgrade it"},
	CodeUnknownOp:      {"unknown-op", "the operation is not known"},
	CodeBadArgument:    {"bad-argument", "a field is missing or out of its range"},
	CodeBadProof:       {"bad-proof", "the proof does not lead to the root"},
	CodeBadNumber:      {"bad-number", "a number has no exact 64-bit integer or decimal form"},

	CodeExpired:        {"expired", "the transaction's time is over; sign it anew"},
	CodeTooFarAhead:    {"too-far-ahead", "the transaction is valid for longer than 10 minutes; check the clock"},
	CodeReplayed:       {"replayed", "the transaction was executed before"},
	CodeOutOfSequence:  {"out-of-sequence", "the lane is already past this sequence number"},
	CodeStaleTick:      {"stale-tick", "no timer is due at this tick"},
	CodeGasCap:         {"gas-cap", "the declared gas is zero, above the limit, or too little for the operation"},
	CodeGasQuota:       {"gas-quota", "the account has used up its gas for now; it refills with time"},
	CodeStorageQuota:   {"storage-quota", "the account has used up the bytes it may store; delete entries or ask for more"},
	CodeMissingRole:    {"missing-role", "the account lacks the role this needs"},
	CodeNotPermitted:   {"not-permitted", "the account may not do this to this record"},
	CodeUnknownAccount: {"unknown-account", "the account is not on the ledger"},
	CodeKeyNotCurrent:  {"key-not-current", "the signing key was replaced by a newer one"},
	CodeBlockFull:      {"block-full", "the transaction does not fit into the block, or runs more code than a block may"},

	CodeAccountExists:    {"account-exists", "the key has an account already"},
	CodeDeviceExists:     {"device-exists", "the device is enrolled already"},
	CodeUnknownDevice:    {"unknown-device", "the device is not enrolled"},
	CodeSerialTaken:      {"serial-taken", "the manufacturer's serial is enrolled under another key"},
	CodeDeviceInactive:   {"device-inactive", "the device's status forbids this"},
	CodeCodeExists:       {"code-exists", "the code is on the ledger already"},
	CodeUnknownUpload:    {"unknown-upload", "no upload of this account has this hash"},
	CodeUploadExpired:    {"upload-expired", "the upload was not finished in time; begin it again"},
	CodeUploadIncomplete: {"upload-incomplete", "chunks of the upload are missing"},
	CodeHashMismatch:     {"hash-mismatch", "the uploaded bytes do not have the declared hash"},
	CodeUnknownContract:  {"unknown-contract", "no contract has this name"},
	CodeContractExists:   {"contract-exists", "the name is taken by another contract"},
	CodeContractPending:  {"contract-pending", "the contract is not active yet"},
	CodeContractFailed:   {"contract-failed", "the contract's init failed; deploy it anew"},
	CodeDomainTaken:      {"domain-taken", "the policy domain belongs to another account"},
	CodeTooManyTimers:    {"too-many-timers", "the contract has as many timers as it may have"},
	CodeBadStatus:        {"bad-status", "the device's status cannot change that way"},
	CodeTooManyUploads:   {"too-many-uploads", "the account has too many unfinished uploads"},
	CodeUpgradePending:   {"upgrade-pending", "an earlier upgrade of the contract waits for its activation"},
	CodeUpgradeFailed:    {"upgrade-failed", "the new code's migrate failed; the contract goes on with the code it had"},
	CodeNeedsApproval:    {"needs-approval", "several must agree to this; make a proposal"},
	CodeUnknownProposal:  {"unknown-proposal", "no proposal has this number"},
	CodeProposalClosed:   {"proposal-closed", "the proposal takes no votes any more: it is decided, withdrawn or expired"},
	CodeProposalOutdated: {"proposal-outdated", "what the proposal replaces was changed meanwhile; look at it and propose anew"},
	CodeTooManyProposals: {"too-many-proposals", "the account has too many undecided proposals"},
	CodeVotedAlready:     {"voted-already", "the account has voted so already, or has rejected, which is final"},
	CodeUnknownValidator: {"unknown-validator", "no validator has this id now"},
	CodeBadValidatorSet:  {"bad-validator-set", "the chain would have no validator, more than 16, or a key twice"},

	CodeBlacklisted:         {"blacklisted", "the serial or the hardware identity is on the blacklist; its manufacturer or owner of record takes it off"},
	CodeUnproven:            {"unproven", "the device has no proof of origin from its manufacturer"},
	CodeBadOrigin:           {"bad-origin", "the proof of origin is not by a key of the manufacturer, or is for another device"},
	CodeNotBound:            {"not-bound", "the contract is not bound to the device; its owner binds it"},
	CodeUnknownManufacturer: {"unknown-manufacturer", "nobody is registered who vouches for this manufacturer's serials"},
	CodeReasonRequired:      {"reason-required", "a reason must be given for this"},
	CodeLogConflict:         {"log-conflict", "the head of the decision log does not continue the one that was anchored before"},
	CodeOldList:             {"old-list", "a newer list of this platform was taken in already"},
	CodeUnknownPlatform:     {"unknown-platform", "no platform of this name is registered"},
	CodeTooMany:             {"too-many", "there are as many of these as there may be"},

	CodeAborted:         {"aborted", "the contract refused; its own code stands beside this one"},
	CodeOutOfGas:        {"out-of-gas", "the contract used up its gas"},
	CodeStackLimit:      {"stack-limit", "the contract's calls are nested too deeply"},
	CodeMemoryLimit:     {"memory-limit", "the contract needs more memory than it may have"},
	CodeBadPointer:      {"bad-pointer", "the contract passed a pointer outside its memory"},
	CodeNoEntryPoint:    {"no-entry-point", "the contract does not export this entry point"},
	CodeNotAllowedHere:  {"not-allowed-here", "the contract called a host function that this entry point does not have"},
	CodeCallDepth:       {"call-depth", "contracts call one another too deeply"},
	CodeKeyTooLong:      {"key-too-long", "a state key is empty or longer than 256 bytes"},
	CodeValueTooLong:    {"value-too-long", "a state value is longer than 16 KiB"},
	CodeResultTooLong:   {"result-too-long", "a result is longer than its limit"},
	CodeTooManyEvents:   {"too-many-events", "the contract emitted more events than it may"},
	CodeTooManyScans:    {"too-many-scans", "the contract holds too many scans open"},
	CodeBadResult:       {"bad-result", "the contract's result is not of the required form"},
	CodeReentrant:       {"reentrant", "the contract is already running in this chain of calls"},
	CodeUnreachable:     {"unreachable", "the contract executed an unreachable instruction"},
	CodeDivideByZero:    {"divide-by-zero", "the contract divided by zero"},
	CodeIntegerOverflow: {"integer-overflow", "a division or conversion overflowed"},
	CodeOutOfBounds:     {"out-of-bounds", "the contract accessed memory or a table out of bounds"},
	CodeBadIndirectCall: {"bad-indirect-call", "an indirect call met an empty or mistyped table entry"},
	CodeExited:          {"exited", "the contract ended its own program, as a Go contract does when it panics; the node's debug log has its last words"},

	CodeModuleMalformed:       {"module-malformed", "the bytes are not a WebAssembly module"},
	CodeModuleTooLarge:        {"module-too-large", "the module is larger than the profile admits"},
	CodeModuleInvalid:         {"module-invalid", "the module does not validate"},
	CodeModuleFeature:         {"module-feature", "the module uses an instruction or type that is not admitted"},
	CodeModuleFloat:           {"module-float", "the lean profile admits no floating point"},
	CodeModuleImport:          {"module-import", "an import is not a host function of this ABI with its exact type"},
	CodeModuleTooManyImports:  {"module-too-many-imports", "the module has more imports than admitted"},
	CodeModuleExport:          {"module-export", "an ABI export has a wrong kind or type"},
	CodeModuleMissingExport:   {"module-missing-export", "the module lacks memory, alloc or any entry point"},
	CodeModuleReservedName:    {"module-reserved-name", "an export has a name that is reserved for the host"},
	CodeModuleTooManyFuncs:    {"module-too-many-functions", "the module has more functions than admitted"},
	CodeModuleTooManyLocals:   {"module-too-many-locals", "a function has more locals than admitted"},
	CodeModuleBodyTooLarge:    {"module-body-too-large", "a function body is larger than admitted"},
	CodeModuleTooManyBlocks:   {"module-too-many-blocks", "a function has more blocks than admitted"},
	CodeModuleNesting:         {"module-nesting", "blocks are nested deeper than admitted"},
	CodeModuleBrTable:         {"module-br-table", "a br_table has more targets than admitted"},
	CodeModuleTable:           {"module-table", "a table is larger than admitted"},
	CodeModuleMemory:          {"module-memory", "the memory is larger than admitted"},
	CodeModuleSignature:       {"module-signature", "a function type has more parameters than admitted"},
	CodeModuleTooManyTypes:    {"module-too-many-types", "the module has more types than admitted"},
	CodeModuleTooManyGlobals:  {"module-too-many-globals", "the module has more globals than admitted"},
	CodeModuleTooManySegments: {"module-too-many-segments", "the module has more data or element segments than admitted"},
	CodeModuleStart:           {"module-start", "the start section names a function of a wrong type"},
	CodeModuleSections:        {"module-sections", "sections are repeated or out of order"},
	CodeModuleTooManyLoops:    {"module-too-many-loops", "a function has more loops than admitted"},
	CodeModuleTooManyBranches: {"module-too-many-branches", "a function has more targets of conditional branches than admitted"},
	CodeModuleTooManyCalls:    {"module-too-many-calls", "a function has more calls than admitted"},
	CodeModuleTooManyAccesses: {"module-too-many-accesses", "a function has more loads and stores than admitted"},
	CodeModuleTooManyExports:  {"module-too-many-exports", "the module has more exports than admitted"},
	CodeModuleTooManyCustoms:  {"module-too-many-customs", "the module has more custom sections than admitted; strip it"},
	CodeModuleTooManyResults:  {"module-too-many-results", "a function type has more results than admitted"},
	CodeModuleCompileMemory:   {"module-compile-memory", "the module would take more memory to compile than admitted; split its largest functions"},
	CodeModuleCompileWork:     {"module-compile-work", "the module would take longer to compile than admitted; make it smaller or less branched"},
	CodeModuleTooManyFloats:   {"module-too-many-floats", "a function has more float operations than admitted"},

	CodeDenied:           {"denied", "the policy denies this"},
	CodeNoDomain:         {"no-domain", "no policy domain has this name"},
	CodeSubjectNotCaller: {"subject-not-caller", "only an enforcement point may ask about another subject"},
	CodePolicyFailed:     {"policy-failed", "the policy contract failed, so the answer is a denial"},
	CodeNoPolicy:         {"no-policy", "the policy contract holds no active policy"},
	CodeNotAuthenticated: {"not-authenticated", "the caller did not show a valid key or token"},
	CodeUnknownKey:       {"unknown-key", "the key belongs to no account on the ledger; enrol it first"},
	CodeByTransaction:    {"by-transaction", "this right is consumed by its use: submit the request as a transaction"},
	CodeTooStale:         {"too-stale", "the gateway's state is older than the policy accepts"},
	CodeSearchOutdated:   {"search-outdated", "the policy has changed since the search began; begin it again"},
	CodeClockUntrusted:   {"clock-untrusted", "the node's clock is not synchronised: conditions on time deny, and it makes no blocks; its operator sees to the clock"},

	CodeBusy:           {"busy", "the node has no capacity for this now; try again"},
	CodeRateLimited:    {"rate-limited", "too many requests; slow down"},
	CodeInternal:       {"internal", "the node failed; its operator finds the cause in its log"},
	CodeNotReady:       {"not-ready", "the node has not caught up yet"},
	CodeShuttingDown:   {"shutting-down", "the node is stopping"},
	CodeTimeout:        {"timeout", "no answer came in time; the request may still take effect"},
	CodeFrameTooLarge:  {"frame-too-large", "the frame is larger than 80 KiB"},
	CodeNotFound:       {"not-found", "there is no such entry"},
	CodeUnavailable:    {"unavailable", "there is no connection, or the node does not offer the operation"},
	CodeLogUnavailable: {"log-unavailable", "the gateway cannot record decisions, so it makes none: its disk is full or failed"},
}
