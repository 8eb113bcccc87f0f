// Package access makes policy documents for the access control contract, whose
// sources and Wasm lie beside it, and speaks the contract's messages.
//
// A policy document is JSON that people write; README.md describes it. In
// order:
//
//  1. ParseDocument reads one and names line and field of each mistake.
//  2. Document.Check warns about what is allowed but hardly meant.
//  3. Document.Messages gives the messages for the contract's execute that
//     write it under a new version and activate it. A message fits one
//     transaction; each must be committed before the next is sent.
//  4. ReadDocument rebuilds the document from the contract's query, and
//     Document.JSON writes it as it would be written by hand.
//
// Single rules and entities are changed by PutRule, DeleteRule, PutEntity and
// DeleteEntity.
package access

// The limits of the contract, which refuses what exceeds them.
const (
	MaxName        = 64       // bytes of a type, action, role, relation, zone or rule id
	MaxID          = 160      // bytes of an entity's id
	MaxTitle       = 128      // bytes of a document's title
	MaxDescription = 512      // bytes of a rule's description
	MaxRecord      = 8 << 10  // bytes of an encoded entity
	MaxBody        = 4 << 10  // bytes of an encoded rule, its target aside
	MaxObligations = 1 << 10  // bytes of a rule's encoded obligations
	MaxRoles       = 64       // roles of an entity
	MaxRelations   = 256      // relations of an entity, and groups of a rule
	MaxActions     = 32       // actions of a rule
	MaxList        = 64       // types, ids or roles that a rule names
	MaxDepth       = 8        // nesting of a condition
	MaxNodes       = 64       // expressions in a condition
	MaxPath        = 8        // names behind properties or context in a path
	MaxZones       = 8        // time zones of a document
	MaxAge         = 86400000 // milliseconds of ttl_ms, max_staleness_ms and break_glass_ms
	MinGlass       = 60000    // milliseconds of break_glass_ms at least
	MaxRoleRows    = 64       // roles of a document that imply others
	MaxImplied     = 128      // roles that all of them imply together
	MaxReason      = 256      // bytes of why a glass is broken
)

// maxMessage is how many bytes of entities or rules go into one message: well
// below a transaction, so that a node can interleave others with a load.
// maxEntities and maxAppends, the rules' actions, keep the gas of a message
// near 12 million, whatever is in it: writing an entity costs at least 15,000,
// appending to a full page of rules 360,000.
const (
	maxMessage  = 24 << 10
	maxEntities = 400
	maxAppends  = 32
)

// Document is a policy. ParseDocument and ReadDocument make valid ones.
type Document struct {
	Title    string
	Roles    []Role // ascending by name
	Entities []Entity
	Rules    []Rule
	Zones    []Zone // what the rules' hours name, ascending by name
}

// Role is a role that implies others: who has it has them too.
type Role struct {
	Name    string
	Implies []string
}

// Ref names an entity.
type Ref struct{ Type, ID string }

// Entity is what the policy knows of a subject or resource.
type Entity struct {
	Ref
	Roles      []string
	Properties []byte // canonical CBOR map with text keys, nil when empty
	Relations  []Relation
	Owner      string // account id in lower-case hex, or empty
	Line       int    // in the source, 0 when read back
}

// Relation is a named relation to another entity.
type Relation struct {
	Name string
	To   Ref
}

// Rule permits or denies what its target and its tests concern; empty tests
// hold for everything.
type Rule struct {
	ID           string
	Description  string
	Permit       bool
	Actions      []string
	ResourceType string
	ResourceIDs  []string
	SubjectTypes []string
	SubjectIDs   []string
	SubjectRoles []string   // any of them
	Groups       []Relation // the subject must have any of them
	Relation     string     // the subject must have it to the resource
	Through      Through    // what hands Groups and Relation on
	When         *Condition
	Hours        *Hours
	Reason       string // reason id of the verdict, in place of ID
	Obligations  []byte // canonical CBOR array, nil when none
	TTL          uint64 // milliseconds
	MaxStaleness *uint64
	BreakGlass   uint64 // milliseconds; 0: the permit holds without
	Line         int
}

// Through names the relations along which a rule's relation is handed on: from
// what the subject belongs to, and from what the resource belongs to. Empty
// ones hand nothing on.
type Through struct{ Subject, Resource string }

// Condition is an expression over the request and what is stored.
type Condition struct {
	Op    string // a key of operators
	Left  Operand
	Right Operand
	Terms []Condition // of all, any and not
}

// Operand is a path, or a constant when Path is empty.
type Operand struct {
	Path  []string // such as subject, properties, labels, role
	Value []byte   // canonical CBOR
}

// Hours is a weekly time window in a time zone. Where To is not after From it
// ends on the next day.
type Hours struct {
	Zone     string
	Days     uint8 // bit 0 is Monday
	From, To int   // minutes of the day
}

// Zone is the table of a time zone from which the contract reads offsets.
type Zone struct {
	Name  string
	Until int64 // seconds since 1970 from which nothing is known
	Steps []Step
}

// Step says that an offset holds from a time on.
type Step struct {
	Start  int64 // seconds since 1970
	Offset int64 // seconds east of Greenwich
}
