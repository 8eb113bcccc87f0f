//go:build !race

package main

// slower is how much slower and larger processes are than real ones.
const slower = 1
