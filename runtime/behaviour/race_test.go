//go:build race

package behaviour

// many is how many devices a flood has; the race detector makes each dear.
const many = 50_000
