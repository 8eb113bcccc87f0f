package abi

import (
	"regexp"
	"strings"
	"testing"
)

func TestValidName(t *testing.T) {
	want := regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	for _, s := range []string{"", "a", "0", "access", "a-b.c_d", "-a", ".a", "_a", "A", "aB", "ä", "a b", "a/b", "a\x00", "a\n",
		strings.Repeat("a", MaxName), strings.Repeat("a", MaxName+1)} {
		if ValidName(s) != want.MatchString(s) || strings.HasSuffix(s, "\n") && ValidName(s) {
			t.Errorf("ValidName(%q) = %v", s, ValidName(s))
		}
	}
}

func TestRoleNames(t *testing.T) {
	names := AllRoles.Names()
	if len(names) != 10 || names[0] != "validator" || names[9] != "credit-issuer" || RoleCreditIssuer<<1-1 != AllRoles {
		t.Errorf("roles %v", names)
	}
	var all Role
	for _, n := range names {
		r, ok := RoleByName(n)
		if !ok || len(r.Names()) != 1 || r.Names()[0] != n {
			t.Errorf("role %s is %d", n, r)
		}
		all |= r
	}
	if all != AllRoles || len(Role(0).Names()) != 0 {
		t.Error("names and roles differ")
	}
	if _, ok := RoleByName("root"); ok {
		t.Error("there is a role root")
	}
}

func TestStatusNames(t *testing.T) {
	for s := StatusActive; s <= StatusRetired; s++ {
		if got, ok := StatusByName(s.String()); !ok || got != s {
			t.Errorf("status %d is %s", s, s)
		}
	}
	for _, s := range []Status{0, StatusRetired + 1, 255} {
		if s.String() != "unknown" {
			t.Errorf("status %d is %s", s, s)
		}
	}
	if _, ok := StatusByName("unknown"); ok {
		t.Error("unknown can be set")
	}
}

// TestActive: whoever is not known or not active asks for nothing.
func TestActive(t *testing.T) {
	for _, tt := range []struct {
		s    Standing
		want bool
	}{
		{Standing{}, false}, {Standing{Device: StatusActive}, false}, {Standing{Known: true}, true},
		{Standing{Known: true, Device: StatusActive}, true}, {Standing{Known: true, Device: StatusSuspended}, false},
		{Standing{Known: true, Device: StatusQuarantined}, false}, {Standing{Known: true, Device: StatusStolen}, false},
		{Standing{Known: true, Device: StatusRetired}, false}, {Standing{Known: true, Device: 200}, false},
	} {
		if tt.s.Active() != tt.want {
			t.Errorf("%+v is active: %v", tt.s, tt.s.Active())
		}
	}
}

// TestHostFunctions holds the table together: names are unique, types are
// wasm's integers, and what changes something is closed to read-only entries.
func TestHostFunctions(t *testing.T) {
	types := regexp.MustCompile(`^[il]*$`)
	names := map[string]bool{}
	for f := range HostFuncCount {
		h := HostFuncs[f]
		if h.Name == "" || names[h.Name] || !types.MatchString(h.Params) || !types.MatchString(h.Results) || len(h.Results) > 1 {
			t.Errorf("host function %d: %+v", f, h)
		}
		names[h.Name] = true
		if hostEntries[f] == 0 {
			t.Errorf("%s is open to no entry point", h.Name)
		}
	}
	for e := range EntryCount {
		for _, f := range []HostFunc{HostStateSet, HostStateDelete, HostEmit, HostCall, HostDeviceSetStatus, HostSchedule} {
			if e.ReadOnly() && f.AllowedIn(e) {
				t.Errorf("%s may %s", e, HostFuncs[f].Name)
			}
		}
		// A clock in a transaction would be a fork.
		if HostNow.AllowedIn(e) != (e == EntryDecide || e == EntryObserve) {
			t.Errorf("now is open to %s: %v", e, HostNow.AllowedIn(e))
		}
		if HostLocalGet.AllowedIn(e) != (e == EntryObserve) || HostLocalSet.AllowedIn(e) != (e == EntryObserve) {
			t.Errorf("the local record is open to %s", e)
		}
	}
}
