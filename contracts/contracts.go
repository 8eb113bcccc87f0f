// Package contracts holds the standard contracts as they are deployed: Wasm
// built from the sources beside it by build.sh and committed, so that a node
// needs no Rust compiler.
package contracts

// Access is the access control contract; package access makes its messages.
func Access() *Contract { return mustFind("access") }

// Behaviour is the contract of how devices behave; package behaviour makes its
// messages.
func Behaviour() *Contract { return mustFind("behaviour") }

func mustFind(name string) *Contract {
	c, ok := Named(name)
	if !ok {
		panic("BUG: the program has no contract " + name)
	}
	return c
}
