package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/groups"
)

// Heartbeat (key 12): a member is alive, and learns whether it has to join again.
//
// Version notes:
//   - v3: static members; v4: flexible
func (s *Service) heartbeat(c *call, r *kmsg.HeartbeatRequest) (Reply, error) {
	out := kmsg.NewPtrHeartbeatResponse()
	out.Version = c.Version
	out.ErrorCode = codeOf(s.o.Groups.Heartbeat(groups.HeartbeatRequest{
		GroupID:    r.Group,
		MemberID:   r.MemberID,
		Generation: r.Generation,
		InstanceID: r.InstanceID,
	}))
	return ready{Response: out}, nil
}
