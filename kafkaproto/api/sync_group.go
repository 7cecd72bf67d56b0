package api

import (
	"bytes"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/groups"
)

// SyncGroup (key 14): fetch a member's assignment; the leader's request brings all of them.
//
// Behavior:
//   - The answer waits, parked, for the leader's assignment to be durable. A member that waits
//     for it when the server goes down gets COORDINATOR_NOT_AVAILABLE; the leader's own request,
//     which brings it, is waited for.
//
// Version notes:
//   - v3: static members; v4: flexible; v5: protocol type and name, checked and answered
func (s *Service) syncGroup(c *call, r *kmsg.SyncGroupRequest) (Reply, error) {
	in := groups.SyncRequest{
		GroupID:      r.Group,
		MemberID:     r.MemberID,
		Generation:   r.Generation,
		InstanceID:   r.InstanceID,
		ProtocolType: r.ProtocolType,
		Protocol:     r.Protocol,
	}
	held := int64(0)
	for _, a := range r.GroupAssignment {
		held += elementBytes + int64(len(a.MemberAssignment))
		in.Assignments = append(in.Assignments, groups.Assignment{
			MemberID: a.MemberID, Assignment: bytes.Clone(a.MemberAssignment),
		})
	}
	p := newPromise(held)
	version := c.Version
	if len(in.Assignments) == 0 {
		p.drained = func() kmsg.Response {
			return synced(version, groups.SyncResponse{Err: groups.ErrCoordinatorNotAvailable})
		}
	}
	s.o.Groups.Sync(in, func(answer groups.SyncResponse) { p.keep(synced(version, answer)) })
	return p, nil
}

func synced(version int16, a groups.SyncResponse) kmsg.Response {
	out := kmsg.NewPtrSyncGroupResponse()
	out.Version = version
	out.ErrorCode = codeOf(a.Err)
	if a.Err == nil {
		out.ProtocolType, out.Protocol = &a.ProtocolType, &a.Protocol
	}
	// Never null: clients decode it before they look at the error.
	out.MemberAssignment = append([]byte{}, a.Assignment...)
	return out
}
