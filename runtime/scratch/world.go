package scratch

import (
	"context"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// World is what scripts are played on: a chain in memory, or nodes that run.
// Contracts and people are called what the script calls them. An error is a
// fault of the world; what ledger and contracts refuse is in Came.
type World interface {
	Chain() abi.Hash
	Now() int64 // ms since 1970
	// Key is a person's. Who has none yet is given one: a stranger, until an
	// account is made of it.
	Key(name string) (chain.Signer, error)
	// File is where a command finds a person's key.
	File(name string) (string, error)
	// Unique is what a contract or a device's serial that a script calls so is
	// called on the chain.
	Unique(name string) string
	// Transact runs a transaction of a person's.
	Transact(ctx context.Context, who string, op chain.Op, args Args) (*Came, error)
	// Deploy makes a contract of a code and a policy domain of its name, as the
	// operator; what came is init's. Upgrade gives it another code.
	Deploy(ctx context.Context, contract string, code, init []byte) (*Came, error)
	Upgrade(ctx context.Context, contract string, code, migrate []byte) (*Came, error)
	Query(ctx context.Context, contract string, message []byte) (*Came, error)
	Decide(ctx context.Context, who, contract string, q *abi.DecisionRequest) (*Came, error)
	Report(ctx context.Context, s *Sight) (*Came, error)
	// Await reads an entry of the state, and where the world has a time of its
	// own waits a while for one that is right.
	Await(ctx context.Context, key []byte, right func(value []byte, ok bool) bool) (value []byte, ok bool, err error)
	// Wait lets time pass.
	Wait(ctx context.Context, ms int64) (*Came, error)
	// At says to which node, from 1 on, people talk from here on.
	At(node int) error
	// Write makes a file where commands run.
	Write(file, text string) error
	// Run runs a command of the program.
	Run(ctx context.Context, args []string) (*Came, error)
}

// Args are the arguments of an operation.
type Args interface{ Append([]byte) []byte }

// Sight is what is told of a device.
type Sight struct {
	By, Device string
	Kind       abi.ObservationKind
	Payload    []byte // resolved, as the kind has it
	Signed     bool   // by the device, for validators to judge
}

// Came is what came of a step.
type Came struct {
	Code        abi.Code
	Abort       uint16 // the contract's own code, where Code is abi.CodeAborted
	Verdict     string // of a decision: permit or deny
	Level       string // of a report: fine, alert ...
	Reason      uint64
	ReasonID    string
	Obligations []byte
	Record      uint64 // of a decision in its gateway's log, 0 where there is none
	Result      []byte
	Events      []chain.Event
	Gas         uint64
	Height      uint64   // of the block that it stands in, 0 where there is none
	Trap        string   // code, function and text, where a contract failed
	Logs        []string // what contracts wrote to the debug log
	Printed     string   // by a command
	Complained  string   // by a command, on its standard error
	Exit        int      // a command's code
	differs     string   // what a state or status is instead
}
