package api

import (
	"bytes"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/groups"
)

// First versions in which something changed for a joining member.
const (
	joinRebalanceTimeout = 1
	joinRequireMember    = 4
	joinNullProtocol     = 7
	joinSkipAssignment   = 9
)

// JoinGroup (key 11): become, or stay, a member of a group; the answer comes when the rebalance is
// complete.
//
// Behavior:
//   - The request is handed to the coordinator while the connection is read; the answer waits,
//     parked. When the server goes down, it is COORDINATOR_NOT_AVAILABLE.
//
// Version notes:
//   - v0: the rebalance timeout is the session timeout; v4: a member without an id is sent back
//     with one (MEMBER_ID_REQUIRED); v5: static members; v6: flexible
//   - v7: protocol type in the answer, null protocol with an error; v8: reason; v9: skip assignment
func (s *Service) joinGroup(c *call, r *kmsg.JoinGroupRequest) (Reply, error) {
	in := groups.JoinRequest{
		GroupID:            r.Group,
		MemberID:           r.MemberID,
		InstanceID:         r.InstanceID,
		ClientID:           c.ClientID,
		ClientHost:         "/" + c.session.clientHost,
		ProtocolType:       r.ProtocolType,
		SessionTimeout:     time.Duration(r.SessionTimeoutMillis) * time.Millisecond,
		RequireKnownMember: c.Version >= joinRequireMember,
		CanSkipAssignment:  c.Version >= joinSkipAssignment,
		Reason:             orEmpty(r.Reason),
	}
	if c.Version >= joinRebalanceTimeout {
		in.RebalanceTimeout = time.Duration(r.RebalanceTimeoutMillis) * time.Millisecond
	}
	held := int64(0)
	for _, p := range r.Protocols {
		held += elementBytes + int64(len(p.Metadata))
		// The group keeps it for longer than the frame it came in.
		in.Protocols = append(in.Protocols, groups.Protocol{
			Name: p.Name, Metadata: bytes.Clone(p.Metadata),
		})
	}
	p := newPromise(held)
	version := c.Version
	p.drained = func() kmsg.Response {
		return joined(version, groups.JoinResponse{
			Err: groups.ErrCoordinatorNotAvailable, MemberID: in.MemberID,
		})
	}
	s.o.Groups.Join(in, func(answer groups.JoinResponse) { p.keep(joined(version, answer)) })
	return p, nil
}

func joined(version int16, a groups.JoinResponse) kmsg.Response {
	out := kmsg.NewPtrJoinGroupResponse()
	out.Version = version
	out.ErrorCode = codeOf(a.Err)
	out.Generation = a.Generation
	out.MemberID, out.LeaderID, out.SkipAssignment = a.MemberID, a.Leader, a.SkipAssignment
	if a.Err != nil {
		out.Generation = -1
	}
	if a.Err == nil || version < joinNullProtocol {
		out.ProtocolType, out.Protocol = &a.ProtocolType, &a.Protocol
	}
	for _, m := range a.Members {
		member := kmsg.NewJoinGroupResponseMember()
		member.MemberID, member.InstanceID = m.MemberID, m.InstanceID
		member.ProtocolMetadata = m.Metadata
		out.Members = append(out.Members, member)
	}
	return out
}

// orEmpty is what a nullable string says.
func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
