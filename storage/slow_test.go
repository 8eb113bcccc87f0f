//go:build race

package storage

// slower divides the work of the longest tests. Under the race detector
// pebble also checks its own invariants, which takes many times as long.
const slower = 5
