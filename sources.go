// Package postern holds the sources of the SDKs for contracts, so that the
// program can make a new contract's project where there is no network.
package postern

import "embed"

// Sources are the SDKs, and the templates of new contracts, by their paths in
// this repository. Tests of the SDKs are among them and stay out of projects.
//
//go:embed abi/*.go abi/cbor/*.go
//go:embed sdk/contract/*.go sdk/contract/internal/host sdk/contract/fake sdk/contract/template
//go:embed sdk/rust/Cargo.toml sdk/rust/src
//go:embed sdk/rust/template/Cargo.toml sdk/rust/template/.cargo/config.toml sdk/rust/template/src sdk/rust/template/tests
var Sources embed.FS
