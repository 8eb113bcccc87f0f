package chain

import "github.com/seed79541315/postern/abi"

// deviceVectors are the arguments of the operations on devices, blacklists and
// logs, and what is signed within them.
func deviceVectors() map[string]interface{ Append([]byte) []byte } {
	hardware := []byte{2, 0, 0, 0, 0, 1}
	keys := [][]byte{newEd("acme").Public(), newEC("acme").Public()}
	return map[string]interface{ Append([]byte) []byte }{
		"register-manufacturer":  &RegisterManufacturer{Name: "Acme", Account: hash("acme"), Keys: keys},
		"prove-origin":           &ProveOrigin{Device: hash("device"), Origin: []byte("origin")},
		"device-origin":          &DeviceOrigin{Manufacturer: "Acme", Model: "L100", Serial: "0001", Key: newEd("device").Public()},
		"device-origin/all":      &DeviceOrigin{Manufacturer: "Acme", Model: "L100", Serial: "0001", Key: newEd("device").Public(), Hardware: hardware},
		"transfer":               &Transfer{Device: hash("device"), Statement: []byte("statement")},
		"acceptance":             &Acceptance{Device: hash("device"), Owner: hash("owner")},
		"acceptance/all":         &Acceptance{Device: hash("device"), Owner: hash("owner"), Since: 12},
		"bind-device":            &BindDevice{Device: hash("device"), Contracts: []string{"thermostat", "network"}},
		"bind-device/none":       &BindDevice{Device: hash("device")},
		"blacklist":              &Blacklist{Manufacturer: "Acme", Serial: "0001", Listed: true, Reason: "stolen"},
		"blacklist/all":          &Blacklist{Manufacturer: "Acme", Serial: "0001", Hardware: hardware, Reason: "found"},
		"register-platform":      &RegisterPlatform{Name: "harbour", Keys: keys, URL: "https://harbour.example/blacklist"},
		"register-platform/none": &RegisterPlatform{Name: "harbour", URL: "https://harbour.example/blacklist"},
		"import-blacklist":       &ImportBlacklist{List: []byte("list")},
		"platform-list": &PlatformList{Platform: "harbour", Sequence: 7, Time: 1_700_000_000_000, Entries: []ListEntry{
			{Manufacturer: "Acme", Serial: "0001", Hardware: ref(HardwareHash("Acme", hardware)), Listed: true, Reason: "stolen"},
			{Manufacturer: "Acme", Serial: "0002"}}},
		"anchor":         &Anchor{Note: []byte("note")},
		"anchor/all":     &Anchor{Note: []byte("note"), Path: []abi.Hash{hash("left"), hash("right")}},
		"offence":        &Offence{Account: hash("gateway"), First: []byte("note"), Second: []byte("other note")},
		"witness":        &Witness{Account: hash("gateway"), Size: 70000, Root: hash("root")},
		"verdict":        &Verdict{Device: hash("device"), Contract: "thermostat", Level: abi.LevelAlert, Evidence: hash("observation")},
		"verdict/all":    &Verdict{Device: hash("device"), Contract: "thermostat", Level: abi.LevelQuarantine, Score: -3, ReasonID: "scans", Evidence: hash("observation")},
		"evidence":       &Evidence{Device: hash("device"), Contract: "thermostat", Statement: []byte("statement")},
		"report":         &Report{Time: 1_700_000_000_000, Kind: abi.ObserveTelemetry, Payload: []byte{0x81, 0xa0}},
		"alert":          &Alert{Kind: "handshake-flood", Count: 9000, Evidence: hash("log")},
		"alert/all":      &Alert{Kind: "bad-signatures", Count: 1, Evidence: hash("log"), Device: ref(hash("device"))},
		"sealed":         &Sealed{Device: hash("device"), Owner: []byte("sealed"), Evidence: hash("report")},
		"sealed/all":     &Sealed{Device: hash("device"), Owner: []byte("sealed"), Authorities: []SealedCopy{{hash("police"), []byte("too")}}, Evidence: hash("report")},
		"declare-stolen": &DeclareStolen{Device: hash("device"), Reason: "it is gone"},
		"propose/stolen": &Propose{Kind: ProposeStolen, Args: (&DeclareStolen{Device: hash("device"), Reason: "it is gone"}).Append(nil), Reason: "its owner asks"},
	}
}

// deviceRecordVectors are the records that those operations write.
func deviceRecordVectors() map[string]interface{ Append([]byte) []byte } {
	hardware := HardwareHash("Acme", []byte{2, 0, 0, 0, 0, 1})
	return map[string]interface{ Append([]byte) []byte }{
		"manufacturer":  &Manufacturer{Account: hash("acme"), Keys: [][]byte{newEd("acme").Public()}, Height: 4},
		"listing":       &Listing{Height: 5, Platforms: []string{"harbour"}, Manufacturer: "Acme", Serial: "0001"},
		"listing/all":   &Listing{By: ref(hash("owner")), Height: 5, Reason: "stolen", Hardware: &hardware, Platforms: []string{"harbour", "rail"}, Manufacturer: "Acme", Serial: "0001"},
		"platform":      &Platform{URL: "https://harbour.example/blacklist", Height: 4},
		"platform/all":  &Platform{Keys: [][]byte{newEd("harbour").Public()}, URL: "https://harbour.example/blacklist", Height: 4, Sequence: 7, Time: 1_700_000_000_000},
		"anchored":      &Anchored{Size: 70000, Root: hash("root"), Height: 6, Time: 1_700_000_000_000, Note: []byte("note"), Key: newEd("gateway").Public(), Kept: 3},
		"anchored-at":   &AnchoredAt{Root: hash("root"), Height: 6},
		"forked":        &Forked{Size: 70000, First: hash("root"), Second: hash("other root"), Height: 7, By: hash("auditor")},
		"witnessed":     &Witnessed{Size: 70000, Root: hash("root"), Height: 6},
		"witnessed/all": &Witnessed{Size: 70000, Root: hash("root"), Height: 6, Conflict: true},
		"verdicts": &Verdicts{List: []GatewayVerdict{
			{hash("gateway"), "thermostat", abi.LevelQuarantine, -3, "scans", hash("observation"), 1_700_000_000_000, 7},
			{Gateway: hash("gateway 2"), Contract: "thermostat", Level: abi.LevelAlert, Evidence: hash("other"), Time: 1_700_000_001_000, Height: 8}}},
		"alerts":          &Alerts{Count: 9000, Height: 7, Evidence: hash("log")},
		"alerts/all":      &Alerts{Count: 9000, Height: 7, Evidence: hash("log"), Device: ref(hash("device"))},
		"sealed-item":     &SealedItem{Account: hash("owner"), Owner: []byte("sealed"), Evidence: hash("report"), Gateway: hash("gateway"), Height: 8, Time: 1_700_000_000_000},
		"sealed-item/all": &SealedItem{Account: hash("owner"), Owner: []byte("sealed"), Authorities: []SealedCopy{{hash("police"), []byte("too")}}, Evidence: hash("report"), Gateway: hash("gateway"), Height: 8, Time: 1_700_000_000_000},
		"notice":          &Notice{Subject: hash("device")},
		"notice/all":      &Notice{Subject: hash("device"), Level: uint8(abi.StatusQuarantined), Reason: "scans", By: ref(hash("gateway")), Hash: ref(hash("observation")), Number: 2},
	}
}
