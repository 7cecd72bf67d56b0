package api

import (
	"bytes"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/groups"
)

// SyncGroup (key 14): fetch a member's assignment; the leader's request brings all of them.
//
// Behavior:
//   - The answer waits, parked, for the leader's assignment to be durable.
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
	s.o.Groups.Sync(in, func(a groups.SyncResponse) {
		out := kmsg.NewPtrSyncGroupResponse()
		out.Version = version
		out.ErrorCode = codeOf(a.Err)
		if a.Err == nil {
			out.ProtocolType, out.Protocol = &a.ProtocolType, &a.Protocol
		}
		// Never null: clients decode it before they look at the error.
		out.MemberAssignment = append([]byte{}, a.Assignment...)
		p.keep(out)
	})
	return p, nil
}
