// Package contracts holds the standard contracts as they are deployed: Wasm
// built from the sources beside it by build.sh and committed, so that a node
// needs no Rust compiler.
package contracts

import (
	"crypto/sha256"
	_ "embed"

	"github.com/seed79541315/postern/abi"
)

// Access is the access control contract; package access makes its messages.
//
//go:embed access/access.wasm
var Access []byte

// AccessHash is the hash under which a chain stores Access.
func AccessHash() abi.Hash { return sha256.Sum256(Access) }

// Behaviour is the contract of how devices behave; package behaviour makes its
// messages.
//
//go:embed behaviour/behaviour.wasm
var Behaviour []byte

// BehaviourHash is the hash under which a chain stores Behaviour.
func BehaviourHash() abi.Hash { return sha256.Sum256(Behaviour) }
