package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/chain/chaintest"
)

// TestSpoolRefused lists a refusal as the spool leaves it, and passes over what
// is none.
func TestSpoolRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := initHome(home(dir), newHome{name: "test", clock: "trusted"}); err != nil {
		t.Fatal(err)
	}
	run := func() string {
		var out strings.Builder
		app := newApp()
		app.Writer = &out
		if err := app.Run([]string{"postern", "spool", "refused", "--home", dir}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got := run(); strings.Count(got, "\n") != 1 {
		t.Errorf("of a home that no node ran in: %s", got)
	}
	device := chaintest.Key(7)
	body := chain.Body{Lane: 3, Sequence: 9, Gas: 1, Op: chain.OpCall, Args: (&chain.Call{Contract: "log"}).Append(nil)}
	raw, err := chain.SignTx(&body, device)
	if err != nil {
		t.Fatal(err)
	}
	id := chain.AccountID(device.Public())
	refused := filepath.Join(dir, spoolDir, "refused")
	if err := os.MkdirAll(refused, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"59-3-" + hexOf(id).String() + "-0000000000000003-0000000000000009": raw,
		"59-3-" + hexOf(id).String() + "-0000000000000003-000000000000000a": raw[:20],
		"README": raw,
	} {
		if err := os.WriteFile(filepath.Join(refused, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := run()
	if !strings.Contains(got, "not-permitted") || !strings.Contains(got, hexOf(id).String()) || strings.Count(got, "\n") != 2 {
		t.Errorf("%s", got)
	}
}
