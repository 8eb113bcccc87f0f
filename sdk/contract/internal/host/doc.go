// Package host is the floor that contracts stand on: the functions of the
// host module, with slices instead of pointers. Built for Wasm they are the
// node's; natively they are those of the Host that the running test put in
// place.
//
// What a function returns lives as long as the call. Whatever breaks a limit,
// or is not there in the entry point, ends the call and does not return.
package host
