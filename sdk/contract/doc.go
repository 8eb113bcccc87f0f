// Package contract is the Go SDK for contracts: plain Go, built by the
// standard toolchain, tested natively with package fake.
package contract
