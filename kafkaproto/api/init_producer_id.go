package api

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/log/batch"
)

// InitProducerId (key 22): a producer id for idempotent producing.
//
// Behavior:
//   - Without a transactional id every call gets a new id with epoch 0, whatever id and epoch the
//     producer had, as in Kafka.
//   - Transactions are not supported yet: a transactional id gets
//     TRANSACTIONAL_ID_AUTHORIZATION_FAILED, which every client takes as final. Codes that read
//     better, such as COORDINATOR_NOT_AVAILABLE, make clients ask for ever.
//
// Version notes:
//   - v2: flexible; v3: the producer's current id and epoch, both or neither
func (s *Service) initProducerID(c *call, r *kmsg.InitProducerIDRequest) (Reply, error) {
	return inTurn(func(*Waiter) (kmsg.Response, error) {
		out := kmsg.NewPtrInitProducerIDResponse()
		out.Version = c.Version
		out.ProducerID, out.ProducerEpoch = -1, -1
		id, err := s.newProducerID(r)
		if err != nil {
			out.ErrorCode = codeOf(err)
			return out, nil
		}
		out.ProducerID, out.ProducerEpoch = int64(id), 0
		return out, nil
	}), nil
}

func (s *Service) newProducerID(r *kmsg.InitProducerIDRequest) (batch.ProducerID, error) {
	if (r.ProducerID == -1) != (r.ProducerEpoch == -1) {
		return -1, fmt.Errorf("%w: producer id and epoch go together", errInvalidRequest)
	}
	if r.TransactionalID != nil {
		if *r.TransactionalID == "" {
			return -1, fmt.Errorf("%w: the transactional id is empty", errInvalidRequest)
		}
		return -1, fmt.Errorf("%w; %w", batch.ErrTransactional, errNoTransactions)
	}
	return s.o.Replicas.NextProducerID()
}
