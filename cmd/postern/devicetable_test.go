package main

import (
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi/chain"
)

func mustTable(t *testing.T, text string) *table {
	t.Helper()
	table, err := newTable(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestTableReadsOnBehindBadLines(t *testing.T) {
	table := mustTable(t, "serial,label.site\na,1\nb\nc,\"x\"y\n\"d\nd\",2\ne,3\n")
	var good, bad []int
	for r := range table.rows() {
		if r.err != nil {
			bad = append(bad, r.line)
		} else {
			good = append(good, r.line)
		}
	}
	if len(good) != 3 || good[0] != 2 || good[1] != 5 || good[2] != 7 || len(bad) != 2 || bad[0] != 3 || bad[1] != 4 {
		t.Errorf("good lines %v, bad lines %v", good, bad)
	}
}

// A quote that is never closed hides the rest of a table: its line is named, and
// nothing else is taken for a device.
func TestTableNamesTheLineOfAnOpenQuote(t *testing.T) {
	var errs int
	for r := range mustTable(t, "serial\na\n\"b\nc\nd\n").rows() {
		if r.err == nil {
			if r.cell("serial") != "a" {
				t.Errorf("row %q", r.cells)
			}
			continue
		}
		errs++
		if r.line != 3 || !errors.Is(r.err, csv.ErrQuote) {
			t.Errorf("line %d: %v", r.line, r.err)
		}
	}
	if errs != 1 {
		t.Errorf("%d errors", errs)
	}
}

func TestTableRefusesHeadings(t *testing.T) {
	for name, heading := range map[string]string{
		"nothing": "", "unknown": "serial,colour\n", "twice": "serial,model,serial\n", "a label without a name": "serial,label.\n", "a bare quote": "ser\"ial\n",
	} {
		if _, err := newTable(strings.NewReader(heading)); err == nil {
			t.Errorf("%s: it passed", name)
		}
	}
}

// Spreadsheets write byte order marks, spaces and carriage returns.
func TestTableOfASpreadsheet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.csv")
	if err := os.WriteFile(path, []byte("\ufeffserial , label.site\r\n 17 ,north\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	table, err := openTable(path)
	if err != nil {
		t.Fatal(err)
	}
	for r := range table.rows() {
		if r.err != nil || r.cell("serial") != "17" || r.labels(chain.Labels{"site": "south", "kind": "door"})["site"] != "north" {
			t.Errorf("%q, %v", r.cells, r.err)
		}
	}
}

// Whatever a table says, its key files lie in one directory, and no two devices
// share one.
func TestKeyFilesStayInTheirDirectory(t *testing.T) {
	seen := map[string]bool{}
	long := strings.Repeat("x", chain.MaxText)
	for _, pair := range [][2]string{
		{"Acme", "1"}, {"a+b", "c"}, {"a", "b+c"}, {"Acme+1", ""}, {"Acme", "+1"}, {"Acme%2B", "1"}, {"..", ".."}, {"../..", "x"}, {"/etc", "passwd"}, {"a/b", "c"}, {"a", "b/c"},
		{long, "1"}, {long, "2"}, {"ü", "漢"}, {".", ""}, {"~", "root"}, {"con", "nul"}, {"-rf", "*"},
	} {
		name := keyFileName(pair[0], pair[1])
		if filepath.Base(name) != name || name == ".." || len(name) > 255 || strings.HasPrefix(name, ".key-") {
			t.Errorf("%q: %q", pair, name)
		}
		if seen[name] {
			t.Errorf("%q: %q is another's", pair, name)
		}
		seen[name] = true
	}
}

func FuzzTable(f *testing.F) {
	f.Add("serial,manufacturer,label.a\n1,2,3\n")
	f.Add("serial\n\"x\n")
	f.Add("serial,serial\n")
	f.Add("serial,origin,hardware_id\nx,!!,hex:zz\n")
	f.Fuzz(func(t *testing.T, text string) {
		table, err := newTable(strings.NewReader(text))
		if err != nil {
			return
		}
		for r := range table.rows() {
			if r.err != nil {
				continue
			}
			if name := keyFileName(r.cell("manufacturer"), r.cell("serial")); filepath.Base(name) != name {
				t.Errorf("%q", name)
			}
			if _, err := r.base64Or("origin", "none"); err == nil && r.cell("origin") == "" && len(r.cells) != len(table.heading) {
				t.Errorf("%d cells under %d headings", len(r.cells), len(table.heading))
			}
			r.labels(nil)
			if cells := r.with("reason", "why"); len(cells) != len(table.withColumn("reason")) {
				t.Errorf("%d cells under %d headings", len(cells), len(table.withColumn("reason")))
			}
		}
	})
}

func TestHardwareIDs(t *testing.T) {
	for text, want := range map[string]string{"00:1b": "00:1b", "hex:001B": "\x00\x1b", "imei:4": "imei:4"} {
		if got, err := hardwareID(text); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"hex:", "hex:0", "hex:zz", strings.Repeat("x", chain.MaxHardwareID+1)} {
		if got, err := hardwareID(text); err == nil {
			t.Errorf("%q: %q", text, got)
		}
	}
}
