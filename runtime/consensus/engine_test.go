package consensus

import (
	"testing"
	"testing/synctest"
)

// A lone validator commits what is submitted, each transaction once, and
// leaves nothing running.
func TestOneValidator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, 1)
		r := start(t, config(t, a, t.TempDir()))
		for n := range uint64(10) {
			if h := r.commit(a, transaction(t, n+1)); h != n+1 {
				t.Fatalf("transaction %d stands in block %d", n+1, h)
			}
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}
