package access

import (
	"fmt"
	"sort"
	"time"
	_ "time/tzdata" // a gateway may hold no zone files, and all must agree
)

// zoneYears are the years that a zone's table covers. They are fixed, so that
// a document has one digest on every day; rules change and tables end, so a
// policy with hours is loaded again after time zone releases.
const (
	zoneFirstYear = 2025
	zoneLastYear  = 2045
)

const day = 24 * 3600

// ZoneTable makes the table of an IANA time zone for the years from 2025 to the
// end of 2044. It looks at each day and
// searches those whose offset changes: time.ZoneBounds gives bounds before
// the time asked about at the end of leap years.
func ZoneTable(name string) (Zone, error) {
	// "Local" would depend on the machine, and "" means UTC.
	if name == "" || name == "Local" {
		return Zone{}, fmt.Errorf("want an IANA time zone such as Europe/Vienna")
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return Zone{}, fmt.Errorf("unknown time zone %q; want an IANA name such as Europe/Vienna", name)
	}
	start := time.Date(zoneFirstYear, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	until := time.Date(zoneLastYear, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	offset := func(at int64) int64 {
		_, seconds := time.Unix(at, 0).In(loc).Zone()
		return int64(seconds)
	}
	zone := Zone{Name: name, Until: until, Steps: []Step{{start, offset(start)}}}
	for at := start; at+day < until; at += day {
		if offset(at) != offset(at+day) {
			change := at + int64(sort.Search(day, func(i int) bool { return offset(at+int64(i)) != offset(at) }))
			zone.Steps = append(zone.Steps, Step{change, offset(change)})
		}
	}
	return zone, nil
}
