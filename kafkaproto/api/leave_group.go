package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/groups"
)

// leaveMany is the first version in which several members leave at once.
const leaveMany = 3

// LeaveGroup (key 13): members leave their group at once.
//
// Version notes:
//   - v0-2: one member, whose error is the answer's; v3: many, each with its own error
//   - v4: flexible; v5: reason
func (s *Service) leaveGroup(c *call, r *kmsg.LeaveGroupRequest) (Reply, error) {
	in := groups.LeaveRequest{GroupID: r.Group}
	if c.Version < leaveMany {
		in.Members = []groups.LeaveMember{{MemberID: r.MemberID}}
	}
	for _, m := range r.Members {
		in.Members = append(in.Members, groups.LeaveMember{
			MemberID: m.MemberID, InstanceID: m.InstanceID, Reason: orEmpty(m.Reason),
		})
	}
	a := s.o.Groups.Leave(in)
	out := kmsg.NewPtrLeaveGroupResponse()
	out.Version = c.Version
	out.ErrorCode = codeOf(a.Err)
	for _, m := range a.Members {
		if c.Version < leaveMany && out.ErrorCode == 0 {
			out.ErrorCode = codeOf(m.Err)
		}
		member := kmsg.NewLeaveGroupResponseMember()
		member.MemberID, member.InstanceID, member.ErrorCode = m.MemberID, m.InstanceID, codeOf(m.Err)
		out.Members = append(out.Members, member)
	}
	return ready{out, int64(len(out.Members)) * elementBytes}, nil
}
