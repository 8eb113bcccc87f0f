package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/seed79541315/postern/net/flows"
)

const sensor = "../../net/capture/testdata/door_sensor.pcapng"

func TestRun(t *testing.T) {
	var fromFile, log bytes.Buffer
	if err := run([]string{"--mac", "b8:06:0d:3b:47:f8", "--resolver", "10.42.0.1", sensor}, nil, &fromFile, &log); err != nil {
		t.Fatal(err)
	}
	if got := log.String(); got != "2539 packets, 115 records of the device\n" {
		t.Errorf("log: %q", got)
	}
	records, lines := 0, 0
	for line := range strings.Lines(fromFile.String()) {
		var list []flows.Record
		if err := json.Unmarshal([]byte(line), &list); err != nil || len(list) > batch {
			t.Fatalf("%d records, %v: %s", len(list), err, line)
		}
		records, lines = records+len(list), lines+1
	}
	if records != 115 || lines != 2 {
		t.Errorf("%d records in %d lines", records, lines)
	}
	f, err := os.Open(sensor)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var fromInput bytes.Buffer
	if err := run([]string{"--mac", "b8:06:0d:3b:47:f8", "--resolver", "10.42.0.1", "-"}, f, &fromInput, &log); err != nil || !bytes.Equal(fromInput.Bytes(), fromFile.Bytes()) {
		t.Errorf("from standard input something else comes: %v", err)
	}
}

func TestRunRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"":                         "--mac",
		"--mac b8:06:0d:3b:47:f8":  "a capture file",
		"--mac nonsense " + sensor: "--mac: address nonsense",
		"--mac 00:00:00:00:fe:80:00:00:00:00:00:00:02:00:5e:10:00:00:00:01 " + sensor: "six bytes",
		"--mac b8:06:0d:3b:47:f8 --resolver me " + sensor:                             "resolver",
		"--mac b8:06:0d:3b:47:f8 nothing.pcap":                                        "nothing.pcap: open",
		"--mac b8:06:0d:3b:47:f8 main.go":                                             "main.go: reading a capture",
		"--help":                                                                      "help requested",
	} {
		var out, log bytes.Buffer
		if err := run(strings.Fields(args), nil, &out, &log); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", args, err, want)
		}
		if out.Len() > 0 {
			t.Errorf("%s: %s", args, out.String())
		}
	}
}
