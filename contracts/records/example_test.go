package records_test

import (
	"fmt"
	"time"

	"github.com/seed79541315/postern/contracts/records"
)

// The owner keeps the batch, the ledger gets its root, and a doubter one proof.
func Example() {
	day := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	batch, err := records.New([]string{`{"n":"energy","v":12.7}`, `{"n":"energy","v":13.1}`}, day, day.Add(24*time.Hour))
	if err != nil {
		panic(err)
	}
	proof, err := batch.Prove(1)
	if err != nil {
		panic(err)
	}
	fmt.Println(proof.Text, proof.Check())
	proof.Text = `{"n":"energy","v":12.1}`
	fmt.Println(proof.Check() != nil)
	// Output:
	// {"n":"energy","v":13.1} <nil>
	// true
}
