//go:build race

package wasm

// raceDetector says whether the tests run under the race detector.
const raceDetector = true
