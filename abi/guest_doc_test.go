package abi

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// hostTable is the table of host functions in docs/abi.md.
func hostTable() string {
	var b strings.Builder
	b.WriteString("\n| function | type | entry points that have it |\n| --- | --- | --- |\n")
	for f := range HostFuncCount {
		t := HostFuncs[f]
		var in []string
		for e := range EntryCount {
			if f.AllowedIn(e) {
				in = append(in, e.String())
			}
		}
		entries := strings.Join(in, ", ")
		if len(in) == int(EntryCount) {
			entries = "all"
		}
		b.WriteString("| `" + t.Name + "` | `(" + t.Params + ") -> (" + t.Results + ")` | " + entries + " |\n")
	}
	return b.String() + "\n"
}

// TestGuestPage holds the page of the guest interface to the tables here.
func TestGuestPage(t *testing.T) {
	const file, begin, end = "../docs/abi.md", "<!-- host functions: made by go test ./abi -update -->\n", "<!-- end -->"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := bytes.Cut(page, []byte(begin))
	_, tail, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table of host functions", file)
	}
	want := string(head) + begin + hostTable() + end + string(tail)
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(page) != want {
		t.Errorf("%s is not what the tables say; remake it with go test ./abi -update", file)
	}
	for f := range HostFuncCount {
		if name := "`" + HostFuncs[f].Name + "`"; strings.Count(string(tail), name) == 0 {
			t.Errorf("%s does not describe %s", file, name)
		}
	}
	for e := range EntryCount {
		if !strings.Contains(string(page), "| `"+e.String()+"` | ") {
			t.Errorf("%s does not describe the entry point %s", file, e)
		}
	}
}
