package groups

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"time"
)

// member is one client in a group. It belongs to its group.
type member struct {
	id                   string
	instanceID           *string // nil for a dynamic member
	clientID, clientHost string
	session, rebalance   time.Duration
	protocols            []Protocol // in order of preference, names are unique
	assignment           []byte

	join func(JoinResponse) // parked join, nil if none; set through group.park
	sync func(SyncResponse) // parked sync, nil if none

	// isNew: it has never got an answer to a join, so it does not heartbeat yet.
	isNew bool
	// unsynced: it was told of the generation and has not asked for its assignment.
	unsynced bool
	// deadline is when it is given up, unless it waits for us (see expectsHeartbeat).
	deadline time.Time
}

// expectsHeartbeat says whether the deadline counts. A member parked in a join or a
// sync cannot send heartbeats and is alive as far as anybody knows; only a new one is
// given up even then, because its client may have gone and come back as another
// (ClassicGroupMember.java, hasSatisfiedHeartbeat).
func (m *member) expectsHeartbeat() bool {
	return m.isNew || (m.join == nil && m.sync == nil)
}

// metadata returns the member's subscription under the protocol, nil if it does not
// support it.
func (m *member) metadata(protocol string) []byte {
	for i := range m.protocols {
		if m.protocols[i].Name == protocol {
			return m.protocols[i].Metadata
		}
	}
	return nil
}

// matches says whether the member would join with exactly what it has joined with.
func (m *member) matches(protocols []Protocol) bool {
	if len(m.protocols) != len(protocols) {
		return false
	}
	for i := range protocols {
		if m.protocols[i].Name != protocols[i].Name ||
			!bytes.Equal(m.protocols[i].Metadata, protocols[i].Metadata) {
			return false
		}
	}
	return true
}

// vote returns the member's favourite among the candidates.
func (m *member) vote(candidates map[string]bool) string {
	for i := range m.protocols {
		if candidates[m.protocols[i].Name] {
			return m.protocols[i].Name
		}
	}
	return ""
}

// ownProtocols copies the protocols out of the request, whose buffer is reused, and
// drops repeated names, which would count as several votes.
func ownProtocols(protocols []Protocol) []Protocol {
	own := make([]Protocol, 0, len(protocols))
	seen := make(map[string]bool, len(protocols))
	for _, p := range protocols {
		if seen[p.Name] {
			continue
		}
		seen[p.Name] = true
		own = append(own, Protocol{Name: p.Name, Metadata: bytes.Clone(p.Metadata)})
	}
	return own
}

// newMemberID returns the prefix, cut to a sane length, and a random UUID: an id that
// nobody can guess, because knowing it is all it takes to speak for the member.
func newMemberID(prefix string) string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // never fails: crypto/rand ends the process instead
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	text := hex.EncodeToString(u[:])
	if len(prefix) > memberIDPrefixBytesMax {
		prefix = strings.ToValidUTF8(prefix[:memberIDPrefixBytesMax], "")
	}
	return prefix + "-" + strings.Join(
		[]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
}
