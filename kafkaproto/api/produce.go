package api

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// Produce (key 0): append one batch to each of some partitions.
//
// Behavior:
//   - Batches are appended in the order of the request while the connection is read, so a client
//     may have several requests in flight; the answer waits, parked, until they are durable.
//   - A partition gets exactly one batch of magic 2. Its rules are those of package batch and of
//     the topic; a refusal of a record carries its index and a sentence.
//   - acks 1 and -1 both wait for the disk: on one node they promise the same. acks 0 gets no
//     answer, and an error closes the connection, as in Kafka.
//   - A staged batch is answered with base offset -1 and no error.
//   - Internal topics are refused with INVALID_TOPIC_EXCEPTION.
//   - Transactions are not supported yet: TRANSACTIONAL_ID_AUTHORIZATION_FAILED, which every
//     client takes as final, with a sentence.
//
// Version notes:
//   - v0-2 are advertised for old librdkafka and refused when used
//   - v5: log start offset; v7: zstd; v8: record errors; v9: flexible
//   - v10: current leader with NOT_LEADER_OR_FOLLOWER; v13: topic ids
func (s *Service) produce(c *call, r *kmsg.ProduceRequest) (Reply, error) {
	p := &produceReply{s: s, timeout: produceTimeout(r.TimeoutMillis)}
	p.response.Version = c.Version
	p.response.Topics = make([]kmsg.ProduceResponseTopic, len(r.Topics))
	image := s.o.Replicas.Image()
	var failed error
	batches := 0
	for i := range r.Topics {
		batches += len(r.Topics[i].Partitions)
	}
	p.acks = make([]placedAck, 0, batches)
	for i := range r.Topics {
		t, out := &r.Topics[i], &p.response.Topics[i]
		out.Topic, out.TopicID = t.Topic, t.TopicID
		out.Partitions = make([]kmsg.ProduceResponseTopicPartition, len(t.Partitions))
		topic, topicErr := produceTopic(image, c.Version, t)
		if topicErr == nil {
			topicErr = checkProduce(r)
		}
		for j := range t.Partitions {
			ack, err := Ack(nil), topicErr
			if err == nil {
				ack, err = s.append(c, r.Acks, topic, &t.Partitions[j])
			}
			p.add(place{i, j}, t.Partitions[j].Partition, ack)
			if err != nil {
				failed = err
				p.refuse(place{i, j}, err)
			}
		}
	}
	if r.Acks != 0 {
		return p, nil
	}
	if failed != nil {
		return nil, fmt.Errorf("%w: acks is 0, so closing is the only answer: %w", ErrRefused, failed)
	}
	return nil, nil //nolint:nilnil // A nil reply is what the client asked for.
}

// produceTimeoutMin replaces shorter timeouts: Kafka's acks of one replica come from memory, ours
// from the disk, and some clients ask for no time at all.
const produceTimeoutMin = time.Second

func produceTimeout(ms int32) time.Duration {
	return max(time.Duration(ms)*time.Millisecond, produceTimeoutMin)
}

func produceTopic(
	image Image, version int16, t *kmsg.ProduceRequestTopic,
) (*metadata.Topic, error) {
	topic, err := findTopic(image, version >= 13, t.Topic, t.TopicID)
	if err != nil {
		return nil, err
	}
	if topic.Internal {
		return nil, fmt.Errorf("%w: %s is internal and may only be read", errInvalidTopic, topic.Name)
	}
	return topic, nil
}

// findTopic looks a topic up by id or by name.
func findTopic(
	image Image, byID bool, name string, id [16]byte,
) (*metadata.Topic, error) {
	if byID {
		if topic := image.TopicByID(id); topic != nil {
			return topic, nil
		}
		return nil, fmt.Errorf("%w: %s", errUnknownTopicID, metadata.TopicID(id))
	}
	if topic := image.Topic(name); topic != nil {
		return topic, nil
	}
	return nil, fmt.Errorf("%w: topic %q", errUnknownTopic, name)
}

// acksAll asks for the acknowledgement of all in-sync replicas.
const acksAll = -1

// checkProduce judges what concerns every partition of a request.
func checkProduce(r *kmsg.ProduceRequest) error {
	if r.Acks < -1 || r.Acks > 1 {
		return fmt.Errorf("%w: acks is %d; it must be -1, 0 or 1", errInvalidAcks, r.Acks)
	}
	if r.TransactionID != nil {
		return fmt.Errorf("%w; %w", batch.ErrTransactional, errNoTransactions)
	}
	return nil
}

// What a produce request takes beside its records: a topic and a partition, decoded, with the
// answer for it and its Ack.
const (
	produceTopicBytes     = 256
	producePartitionBytes = 512
)

// zstdVersionMin is the first produce version that may carry zstd, fetchZstdVersionMin its twin.
const (
	zstdVersionMin      = 7
	fetchZstdVersionMin = 10
)

func (s *Service) append(
	c *call, acks int16, topic *metadata.Topic, p *kmsg.ProduceRequestTopicPartition,
) (Ack, error) {
	if len(p.Records) == 0 {
		return nil, fmt.Errorf("%w: a partition without a batch", errInvalidRecord)
	}
	raw := batch.Batch(p.Records)
	if c.Version < zstdVersionMin && len(raw) >= batch.HeaderBytes && raw.Codec() == batch.Zstd {
		return nil, fmt.Errorf("%w: zstd needs produce version %d", errUnsupportedCodec, zstdVersionMin)
	}
	partition, err := s.o.Replicas.Partition(topic.ID, p.Partition)
	if err != nil {
		return nil, err
	}
	return partition.Append(c.ctx, raw, replication.AppendOptions{
		Origin: c.session.origin, AllReplicas: acks == acksAll,
	})
}

// place is where a partition stands in a request and in its response.
type place struct{ topic, partition int }

// produceReply waits for the acks of one request.
type produceReply struct {
	s        *Service
	response kmsg.ProduceResponse
	acks     []placedAck
	timeout  time.Duration
	// recordErrors counts the records that the response names.
	recordErrors int
}

type placedAck struct {
	place
	ack Ack
}

// add prepares a partition's place in the response. ack is nil if the batch was refused.
func (p *produceReply) add(at place, index int32, ack Ack) {
	out := p.at(at)
	out.Default()
	out.Partition = index
	out.BaseOffset, out.LogAppendTime, out.LogStartOffset = -1, -1, -1
	if ack != nil {
		p.acks = append(p.acks, placedAck{at, ack})
	}
}

func (p *produceReply) at(at place) *kmsg.ProduceResponseTopicPartition {
	return &p.response.Topics[at.topic].Partitions[at.partition]
}

// refuse fills in an error for one partition.
func (p *produceReply) refuse(at place, err error) {
	s, r := p.s, &p.response
	topic := &r.Topics[at.topic]
	out := &topic.Partitions[at.partition]
	out.ErrorCode, out.ErrorMessage = codeOf(err), textOf(err)
	p.addRecordErrors(out, err)
	if out.ErrorCode == kerr.NotLeaderForPartition.Code && len(r.Brokers) == 0 {
		b := kmsg.NewProduceResponseBroker()
		b.NodeID, b.Host, b.Port = s.o.Replicas.NodeID(), s.o.AdvertisedHost, s.o.AdvertisedPort
		r.Brokers = append(r.Brokers, b)
	}
	if out.ErrorCode == kerr.NotLeaderForPartition.Code {
		meta := partitionMeta(s.o.Replicas.Image(), topic.Topic, topic.TopicID, out.Partition)
		out.CurrentLeader.LeaderID, out.CurrentLeader.LeaderEpoch = meta.Leader, int32(meta.LeaderEpoch)
	}
}

// recordErrorsMax bounds the records that one response names: a small request may have millions to
// be refused. Clients take those that are not named for victims of the others in their batch.
const recordErrorsMax = 1000

// addRecordErrors names the records that a batch was refused for.
func (p *produceReply) addRecordErrors(out *kmsg.ProduceResponseTopicPartition, err error) {
	add := func(index int, sentence string) {
		if p.recordErrors == recordErrorsMax {
			return
		}
		p.recordErrors++
		e := kmsg.NewProduceResponseTopicPartitionErrorRecord()
		e.RelativeOffset = int32(index)
		e.ErrorMessage = &sentence
		out.ErrorRecords = append(out.ErrorRecords, e)
	}
	var record *batch.RecordError
	if errors.As(err, &record) && out.ErrorCode == kerr.InvalidRecord.Code {
		add(record.Index, record.Err.Error())
	}
	var keyless *replication.KeylessError
	if errors.As(err, &keyless) {
		for _, index := range keyless.Records {
			add(index, keyless.Sentence())
		}
	}
}

// partitionMeta is what the metadata says of a partition, or "no leader".
func partitionMeta(
	image Image, name string, id [16]byte, index int32,
) metadata.PartitionMeta {
	topic := image.TopicByID(id)
	if topic == nil {
		topic = image.Topic(name)
	}
	if topic == nil || index < 0 || int(index) >= len(topic.Partitions) {
		return metadata.PartitionMeta{Leader: -1, LeaderEpoch: -1}
	}
	return topic.Partitions[index]
}

// Ready implements Reply.
func (p *produceReply) Ready() bool {
	for _, a := range slices.Backward(p.acks) {
		if !a.ack.IsDone() {
			return false
		}
	}
	return true
}

// Held implements Reply: the records have been written, what stays is the response.
func (p *produceReply) Held() int64 {
	n := int64(len(p.response.Topics)) * produceTopicBytes
	for i := range p.response.Topics {
		n += int64(len(p.response.Topics[i].Partitions)) * producePartitionBytes
	}
	return n
}

// AppendBody implements Reply.
func (p *produceReply) AppendBody(w *Waiter, dst []byte) ([]byte, error) {
	if err := p.wait(w); err != nil {
		return dst, err
	}
	return p.response.AppendTo(dst), nil
}

// wait fills the response in as the acks come, until all are there or the time is up. It begins
// with the last one: a commit tells the batches of a request one after the other, and whoever waits
// for each of a thousand in turn is woken a thousand times.
func (p *produceReply) wait(w *Waiter) error {
	var up <-chan time.Time
	if !p.Ready() {
		up = w.arm(p.timeout)
		defer w.disarm()
	}
	late := false
	for _, a := range slices.Backward(p.acks) {
		if a.ack.IsDone() {
			p.answered(a)
			continue
		}
		if late {
			p.timedOut(a)
			continue
		}
		select {
		case <-a.ack.Done():
			p.answered(a)
		case <-up:
			late = true
			p.timedOut(a)
		case <-w.Ctx.Done():
			return w.Ctx.Err()
		}
	}
	return nil
}

func (p *produceReply) answered(a placedAck) {
	result, err := a.ack.Result()
	if err != nil {
		p.refuse(a.place, err)
		return
	}
	out := p.at(a.place)
	out.BaseOffset = int64(result.BaseOffset)
	out.LogAppendTime = int64(result.LogAppendTime)
	out.LogStartOffset = int64(result.LogStart)
}

// timedOut says what Kafka says when the replicas are too slow. The batch may still become durable;
// a producer with an id repeats it and learns its first answer.
func (p *produceReply) timedOut(a placedAck) {
	out := p.at(a.place)
	err := fmt.Errorf("%w: the batch is not durable after %v", errTimedOut, p.timeout)
	out.ErrorCode, out.ErrorMessage = codeOf(err), textOf(err)
}
