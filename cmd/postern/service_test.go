package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnits holds the unit to what a configuration needs and to no more.
func TestUnits(t *testing.T) {
	const state, writable = "StateDirectory=postern", "ReadWritePaths="
	for name, test := range map[string]struct {
		dir  string
		cfg  config
		want []string
		not  []string
	}{
		"defaults": {
			"/var/lib/postern", config{},
			[]string{state, "ProtectHome=yes", "MemoryMax=96M", "CapabilityBoundingSet=\n", "PrivateUsers=yes", "AF_UNIX\n"},
			[]string{writable, "AmbientCapabilities", "BindPaths"},
		},
		"interpreter":   {"/var/lib/postern", config{Engine: "interpreter"}, []string{"MemoryDenyWriteExecute=yes"}, nil},
		"compiler":      {"/var/lib/postern", config{Engine: "compiler"}, []string{"MemoryDenyWriteExecute=no"}, nil},
		"a wide chain":  {"/var/lib/postern", config{Memory: wideMemory}, []string{"MemoryMax=384M"}, nil},
		"two nodes":     {"/var/lib/postern/north", config{}, []string{"StateDirectory=postern/north\n"}, nil},
		"another place": {"/srv/postern", config{}, []string{writable + "/srv/postern\n"}, []string{"StateDirectory"}},
		"a user's home": {
			"/home/ann/.postern", config{},
			[]string{"ProtectHome=tmpfs", "BindPaths=/home/ann/.postern\n", writable + "/home/ann/.postern\n"}, []string{"ProtectHome=yes"},
		},
		"a name like home": {"/homestead/postern", config{}, []string{"ProtectHome=yes"}, []string{"BindPaths"}},
		"a low port": {
			"/var/lib/postern", config{Web: "0.0.0.0:443"},
			[]string{"AmbientCapabilities=CAP_NET_BIND_SERVICE\n", "CapabilityBoundingSet=CAP_NET_BIND_SERVICE\n"},
			[]string{"PrivateUsers"}, // a capability there is none over the host's network
		},
		"no web, any port": {"/var/lib/postern", config{Web: "off", Peer: "off", Quic: "0.0.0.0:0"}, nil, []string{"AmbientCapabilities"}},
		"multicast DNS":    {"/var/lib/postern", config{Local: true}, []string{"AF_NETLINK"}, nil},
	} {
		if err := test.cfg.validate(); err != nil {
			t.Fatal(err)
		}
		text := unitText(t, test.dir, &test.cfg)
		for _, want := range test.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", name, want, text)
			}
		}
		for _, not := range test.not {
			if strings.Contains(text, not) {
				t.Errorf("%s: %q stands in\n%s", name, not, text)
			}
		}
		verifyUnit(t, name, text)
	}
}

func unitText(t *testing.T, dir string, cfg *config) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	u, err := newUnit(dir, "root", program, cfg)
	if err != nil {
		t.Fatal(err)
	}
	text, err := u.text()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// verifyUnit asks systemd itself, on machines that have it.
func verifyUnit(t *testing.T, name, text string) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		return
	}
	path := filepath.Join(t.TempDir(), "postern.service")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", path).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%s: systemd-analyze says %v %s of\n%s", name, err, out, text)
	}
}

// TestUnitsThatCannotBe: words that systemd would take for something else, and
// a home that does not last.
func TestUnitsThatCannotBe(t *testing.T) {
	var cfg config
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	for _, test := range [][3]string{
		{"/var/lib/my node", "postern", "/usr/bin/postern"},
		{"/var/lib/postern\nUser=root", "postern", "/usr/bin/postern"},
		{"/var/lib/%h", "postern", "/usr/bin/postern"},
		{"/var/lib/postern", "root\nUMask=0", "/usr/bin/postern"},
		{"/var/lib/postern", "postern", "/opt/my programs/postern"},
		{"/tmp/postern", "postern", "/usr/bin/postern"},
		{"/var/tmp/postern", "postern", "/usr/bin/postern"},
	} {
		if u, err := newUnit(test[0], test[1], test[2], &cfg); err == nil {
			t.Errorf("%q makes the unit %+v", test, u)
		}
	}
}
