package api

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/log/batch"
)

// Kinds of coordinators.
const (
	coordinatorGroup       = 0
	coordinatorTransaction = 1
)

// FindCoordinator (key 10): the node that coordinates a group.
//
// Behavior:
//   - It is this node, for every group.
//   - A transaction coordinator does not exist yet: TRANSACTIONAL_ID_AUTHORIZATION_FAILED with a
//     sentence, because every client takes that as final (librdkafka asks again for ever on most
//     others). Other kinds get INVALID_REQUEST.
//
// Version notes:
//   - v1: kind and error message; v3: flexible; v4: many keys; v6: share groups
func (s *Service) findCoordinator(c *call, r *kmsg.FindCoordinatorRequest) (Reply, error) {
	// In turn, because the answer to many keys is large.
	return inTurn(func(*Waiter) (kmsg.Response, error) {
		out := kmsg.NewPtrFindCoordinatorResponse()
		out.Version = c.Version
		err := checkCoordinator(r)
		if c.Version < 4 {
			one := s.coordinator(r.CoordinatorKey, err)
			out.ErrorCode, out.ErrorMessage = one.ErrorCode, one.ErrorMessage
			out.NodeID, out.Host, out.Port = one.NodeID, one.Host, one.Port
			return out, nil
		}
		for _, key := range r.CoordinatorKeys {
			out.Coordinators = append(out.Coordinators, s.coordinator(key, err))
		}
		return out, nil
	}), nil
}

func checkCoordinator(r *kmsg.FindCoordinatorRequest) error {
	switch r.CoordinatorType {
	case coordinatorGroup:
		return nil
	case coordinatorTransaction:
		return fmt.Errorf("%w; %w", batch.ErrTransactional, errNoTransactions)
	default:
		return fmt.Errorf("%w: coordinators of type %d are not supported by this version",
			errInvalidRequest, r.CoordinatorType)
	}
}

func (s *Service) coordinator(key string, err error) kmsg.FindCoordinatorResponseCoordinator {
	out := kmsg.NewFindCoordinatorResponseCoordinator()
	out.Key = key
	if err != nil {
		out.ErrorCode, out.ErrorMessage = codeOf(err), textOf(err)
		out.NodeID, out.Port = -1, -1
		return out
	}
	out.NodeID, out.Host, out.Port = s.o.Replicas.NodeID(), s.o.AdvertisedHost, s.o.AdvertisedPort
	return out
}
