package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/groups"
)

// ListGroups (key 16): the groups that this node coordinates.
//
// Version notes:
//   - v3: flexible; v4: filter by state, and the state; v5: filter by type, and the type
func (s *Service) listGroups(c *call, r *kmsg.ListGroupsRequest) (Reply, error) {
	return inTurn(func(*Waiter) (kmsg.Response, error) {
		out := kmsg.NewPtrListGroupsResponse()
		out.Version = c.Version
		all, err := s.o.Groups.List(groups.ListFilter{States: r.StatesFilter, Types: r.TypesFilter})
		out.ErrorCode = codeOf(err)
		for _, g := range all {
			to := kmsg.NewListGroupsResponseGroup()
			to.Group, to.ProtocolType = g.GroupID, g.ProtocolType
			to.GroupState, to.GroupType = g.State, g.Type
			out.Groups = append(out.Groups, to)
		}
		return out, nil
	}), nil
}
