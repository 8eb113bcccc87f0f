//go:build !race

package storage

// slower divides the work of the longest tests; here they do all of it.
const slower = 1
