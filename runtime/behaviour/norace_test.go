//go:build !race

package behaviour

// many is how many devices a flood has.
const many = 1_000_000
