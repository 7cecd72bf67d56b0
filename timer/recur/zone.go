package recur

import (
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // A container without zone files has to know the zones too.
)

const (
	// maxZones bounds the cache. The zone database has some 600 names, and only names that it has
	// get in.
	maxZones = 1024
	// maxZoneBytes is longer than any name in the zone database.
	maxZoneBytes = 64

	wantZone = "; write a name of the IANA database, like Europe/Berlin or UTC (upper and lower case" +
		" matter)"
)

// zones are the zones that were read already: reading one costs more than everything else here.
var zones struct {
	sync.Mutex
	byName map[string]*time.Location
}

// zoneOf returns the zone of a name; none is UTC.
func zoneOf(name string) (*time.Location, error) {
	if name == "" || name == "UTC" {
		return time.UTC, nil
	}
	if mistake := zoneMistake(name); mistake != "" {
		return nil, &Error{Zone: true, Reason: quoted(name) + mistake + wantZone}
	}
	zones.Lock()
	zone := zones.byName[name]
	zones.Unlock()
	if zone != nil {
		return zone, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, &Error{Zone: true, Reason: quoted(name) + " is not known" + wantZone}
	}
	zones.Lock()
	defer zones.Unlock()
	if zones.byName == nil {
		zones.byName = make(map[string]*time.Location)
	}
	if len(zones.byName) < maxZones {
		zones.byName[name] = zone
	}
	return zone, nil
}

// zoneMistake says why a name is not one of the database. It keeps out what package time would take
// beside them: the zone of this machine, and paths to other files.
func zoneMistake(name string) string {
	first, _, _ := strings.Cut(name, "/")
	switch {
	case name == "Local", name == "localtime", name == "posixrules":
		return " is another zone on each machine"
	case first == "posix", first == "right":
		return " is a folder of one system's zone files"
	case strings.ContainsRune(name, ':'), strings.Trim(name, "+-0123456789") == "":
		return " is an offset, which says nothing about when clocks change" +
			" (Etc/GMT-2 is two hours east of Greenwich: the sign is the other way round there)"
	case len(name) > maxZoneBytes:
		return " is not a zone"
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || strings.ContainsFunc(part, isNotZoneByte) {
			return " is not a zone"
		}
	}
	return ""
}

// isNotZoneByte says whether r is in no name of the zone database.
func isNotZoneByte(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	return !letter && (r < '0' || r > '9') && r != '_' && r != '-' && r != '+'
}
