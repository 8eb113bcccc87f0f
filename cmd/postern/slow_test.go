//go:build race

package main

// slower is how much slower and larger processes are under the race detector,
// which keeps a shadow of their memory.
const slower = 8
