package gateway

import (
	"encoding/hex"
	"testing"
)

// FuzzHardwareModule: whatever stands in a certificate's alternative names, it
// is read or refused.
func FuzzHardwareModule(f *testing.F) {
	for _, s := range []string{
		"3000", "", "30", "3080", "0500",
		"3003820161", // a DNS name
		"301ba019060a2b0601050507080401a00b300906042a030405040153",
		"301ca01a06082b06010505070804a00e300c06052b060104010403532d31", // the module S-1
		"3038a01a06082b06010505070804a00e300c06052b060104010403532d31a01a06082b06010505070804a00e300c06052b060104010403532d31",
		"3084ffffffff",
	} {
		der, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		m, err := parseHardwareModule(der)
		if err != nil && m != nil || m != nil && len(m.Serial) == 0 {
			t.Errorf("%x: %+v, %v", der, m, err)
		}
	})
}

func TestHardwareModule(t *testing.T) {
	der, _ := hex.DecodeString("301ca01a06082b06010505070804a00e300c06052b060104010403532d31")
	m, err := parseHardwareModule(der)
	if err != nil || m == nil || string(m.Serial) != "S-1" || m.Type.String() != "1.3.6.1.4.1" {
		t.Fatalf("%+v, %v", m, err)
	}
	for n := range der {
		if m, err := parseHardwareModule(der[:n]); err == nil {
			t.Errorf("the first %d bytes: %+v", n, m)
		}
	}
	if m, err := parseHardwareModule(append(der, 0)); err == nil {
		t.Errorf("with a byte behind it: %+v", m)
	}
}
