package wasm

import (
	"slices"
	"testing"

	"github.com/seed79541315/postern/abi"
)

// What tests of package wasm_test, which see the ledger too, use of this one.

// CalibrationRow is one measurement of the calibration.
type CalibrationRow = row

// NewCalibrationRow makes one of CPU time in ns and gas.
func NewCalibrationRow(group, name string, ns, gas float64) CalibrationRow {
	return row{group, name, ns, gas}
}

// CalibrateGuests measures what the ledger takes no part in.
func CalibrateGuests(t testing.TB, p abi.Profile, e Engine) []CalibrationRow {
	r := protocols[Protocol][p]
	return slices.Concat(measureKernels(t, r, e, allKernels(r.limits)), measureEntries(t, e), measureSmall(t, e))
}

// ReportCalibration prints every row if asked for, and the summary.
func ReportCalibration(b *testing.B, rows []CalibrationRow) { report(b, rows) }

// CalibrationEngines are those that this processor has.
func CalibrationEngines() []Engine { return engines() }
