// Package behaviour makes profiles for the behaviour contract, whose sources
// and Wasm lie beside it, and speaks the contract's messages.
//
// A profile says what a kind of device does when nothing is wrong: whom it
// talks to, from a Manufacturer Usage Description (RFC 8520), what its
// telemetry says, how often and when. In order:
//
//  1. ParseMUD reads a MUD file as its manufacturer publishes it, and
//     ParseProfile what an operator adds; errors name the path in the JSON.
//  2. MUD.Notes tells what of the file is not understood or cannot be seen in
//     flows, MUD.Classes which parties the site must name: see Site.
//  3. Profile.Messages gives the messages for the contract's execute that write
//     the profile under a new version and activate it. A message fits one
//     transaction; each must be committed before the next is sent.
//  4. BindDevice and BindModel say which devices have the profile.
package behaviour

import "time"

// The limits of the contract, which refuses what exceeds them.
const (
	MaxName    = 64       // bytes of a profile's name, a manufacturer, a model or a rule's name
	MaxEntries = 8192     // entries of a profile
	MaxClasses = 32       // classes that a profile names
	MaxRules   = 32       // telemetry rules of a profile
	MaxTexts   = 32       // texts of a telemetry rule
	MaxBody    = 12 << 10 // bytes of a profile without entries and rules
	MaxItems   = 256      // items of an observation
	MaxWeight  = 1_000_000
	MaxSpan    = 366 * 24 * time.Hour
	maxPage    = 8 << 10
	maxPages   = 16
	maxBuckets = 1024
)

// Profile is what a kind of device does when nothing is wrong.
type Profile struct {
	MUD      *MUD // nil: flows are not judged
	Rules    []Rule
	Settings Settings
}

// Settings are how findings add up. What is zero has a default.
type Settings struct {
	// StrictNames makes telemetry of a name that no rule knows a finding.
	StrictNames bool

	// Alert, Stolen and Quarantine are the scores from which on a judgement has
	// that level: by default 10, 50 and 100.
	Alert, Stolen, Quarantine uint64
	// HalfLife is the time in which a score halves: by default ten minutes.
	HalfLife time.Duration

	Reports uint64        // that may come in a minute; 0 for any number
	Bytes   uint64        // of flows that may be in an hour; 0 for any number
	Silence time.Duration // after which the device is missed; 0 for never
	Hours   *Hours        // in which the device may be active; nil for always

	// Weights replace what findings of a kind add to the score. A weight of
	// Ignored makes the contract pass over them.
	Weights map[Reason]uint64
}

// Ignored is the weight of findings that are none.
const Ignored = ^uint64(0)

// defaultWeights are chosen so that one flow to a stranger is an alert, ten of
// them within a half-life a quarantine; that a few denials are neither; and that
// two signs of theft are suspicion of it.
var defaultWeights = [reasonCount]uint64{
	ReasonFlowNotAdmitted: 10, ReasonFlowForbidden: 25, ReasonValueOutOfRange: 10, ReasonChangeTooFast: 10,
	ReasonUnexpectedState: 10, ReasonUnknownName: 10, ReasonWrongForm: 10, ReasonTooManyReports: 5,
	ReasonTooManyBytes: 20, ReasonSilent: 10, ReasonOutsideHours: 10, ReasonRequestDenied: 2, ReasonSignOfTheft: 25,
}

// Hours are weekly windows in an IANA time zone.
type Hours struct {
	Zone    string
	Windows []Window
}

// Window is a time of day on some days. Where To is not after From it ends on
// the next day.
type Window struct {
	Days     uint8 // bit 0 is Monday
	From, To int   // minutes of the day
}

// Rule is on telemetry records whose name is, or ends in, Name: behind one of
// - : . / _. What is nil or empty is not tested.
type Rule struct {
	Name        string
	Unit        string
	Least, Most *Decimal
	Change      *Decimal            // most that the value may change in a minute
	Texts       []string            // that may be told
	Stays       bool                // any text may be told in place of Texts, but the one before stays
	Next        map[string][]string // which of them may follow each; nil for any
	Bool        *bool               // what must be told
	Weight      uint64              // in place of that of the kind of finding
	Theft       bool                // breaking it is a sign of theft
}
