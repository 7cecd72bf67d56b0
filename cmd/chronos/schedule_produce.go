package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// metadataRetry is the pause before asking again for a topic that is just being created.
const metadataRetry = 50 * time.Millisecond

// requestRetries is how often a request is sent again when its connection breaks or is refused.
const requestRetries = 3

// accepted is how put answers.
type accepted struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

// produce sends one record. The client's own producer is not used: it drops the sentence with which
// a server refuses a record. A producer id makes a request that is sent again the same request.
func produce(ctx context.Context, addr string, m message) (accepted, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ClientID("chronos-schedule-put"),
		kgo.RequestRetries(requestRetries),
		kgo.RetryBackoffFn(func(int) time.Duration { return metadataRetry }))
	if err != nil {
		return accepted{}, err
	}
	defer client.Close()
	p := producer{client: client, message: m}
	if err := p.locate(ctx); err != nil {
		return accepted{}, p.unreached(ctx, addr, err)
	}
	if err := p.begin(ctx); err != nil {
		return accepted{}, p.unreached(ctx, addr, err)
	}
	if err := p.send(ctx); err != nil {
		return accepted{}, p.unreached(ctx, addr, err)
	}
	return accepted{Topic: m.topic, Partition: p.partition}, nil
}

// producer sends one record.
type producer struct {
	client  *kgo.Client
	message message

	topicID   [16]byte
	partition int32
	leader    int32
	id        batch.ProducerID
	epoch     batch.ProducerEpoch
}

// unreached says more about an error that is not the server's.
func (p *producer) unreached(ctx context.Context, addr string, err error) error {
	var known *kerr.Error
	var refused *refusedError
	switch {
	case errors.As(err, &refused), errors.As(err, &known):
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no answer of %s within %s; is a server there? --kafka names its --kafka-addr",
			addr, putMax)
	default:
		return fmt.Errorf("%w; is a server there? --kafka names its --kafka-addr", err)
	}
}

// locate finds the partition, and creates the topic where the server does that.
func (p *producer) locate(ctx context.Context) error {
	for {
		topic, err := p.metadata(ctx)
		if err == nil {
			return p.choose(topic)
		}
		var known *kerr.Error
		if !errors.As(err, &known) || !known.Retriable {
			return err
		}
		pause := clock.Real().NewTimer(metadataRetry)
		select {
		case <-ctx.Done():
			pause.Stop()
			return err
		case <-pause.C():
		}
	}
}

func (p *producer) metadata(ctx context.Context) (kmsg.MetadataResponseTopic, error) {
	request := kmsg.NewPtrMetadataRequest()
	request.AllowAutoTopicCreation = true
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr(p.message.topic)
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(ctx, p.client)
	if err != nil {
		return kmsg.MetadataResponseTopic{}, err
	}
	if len(response.Topics) != 1 {
		return kmsg.MetadataResponseTopic{}, errors.New("the server does not say where the topic is")
	}
	return response.Topics[0], refusalFor(response.Topics[0].ErrorCode, nil)
}

// choose takes the partition that every Kafka client takes for the key.
func (p *producer) choose(topic kmsg.MetadataResponseTopic) error {
	p.topicID = topic.TopicID
	p.partition = p.message.partition
	if p.partition == partitionAny {
		by := kgo.StickyKeyPartitioner(nil).ForTopic(p.message.topic)
		record := &kgo.Record{Key: p.message.record.Key}
		p.partition = int32(by.Partition(record, len(topic.Partitions)))
	}
	for _, one := range topic.Partitions {
		if one.Partition == p.partition {
			p.leader = one.Leader
			return refusalFor(one.ErrorCode, nil)
		}
	}
	return &refusedError{text: fmt.Sprintf("there is no partition %d of %s; it has %d, which count "+
		"from 0", p.partition, p.message.topic, len(topic.Partitions))}
}

// begin gets a producer id.
func (p *producer) begin(ctx context.Context) error {
	request := kmsg.NewPtrInitProducerIDRequest()
	request.ProducerID, request.ProducerEpoch = -1, -1
	response, err := request.RequestWith(ctx, p.client)
	if err != nil {
		return err
	}
	p.id, p.epoch = batch.ProducerID(response.ProducerID), batch.ProducerEpoch(response.ProducerEpoch)
	return refusalFor(response.ErrorCode, nil)
}

func (p *producer) send(ctx context.Context) error {
	builder := batch.NewBuilder(batch.BuilderOptions{
		BaseTimestamp: p.message.created, ProducerID: p.id, ProducerEpoch: p.epoch,
	})
	record := p.message.record
	record.TimestampMs = p.message.created
	if err := builder.Append(record); err != nil {
		return err
	}
	records, err := builder.Build(nil)
	if err != nil {
		return err
	}
	request := kmsg.NewPtrProduceRequest()
	request.Acks, request.TimeoutMillis = -1, int32(putMax.Milliseconds())
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.TopicID = p.message.topic, p.topicID
	partition := kmsg.NewProduceRequestTopicPartition()
	partition.Partition, partition.Records = p.partition, records
	topic.Partitions = append(topic.Partitions, partition)
	request.Topics = append(request.Topics, topic)
	response, err := p.client.Broker(int(p.leader)).RetriableRequest(ctx, request)
	if err != nil {
		return err
	}
	topics := response.(*kmsg.ProduceResponse).Topics
	if len(topics) != 1 || len(topics[0].Partitions) != 1 {
		return errors.New("the server does not say what became of the record")
	}
	answer := topics[0].Partitions[0]
	message := answer.ErrorMessage
	if len(answer.ErrorRecords) > 0 {
		message = answer.ErrorRecords[0].ErrorMessage
	}
	return refusalFor(answer.ErrorCode, message)
}

// refusedError is a refusal in the server's words.
type refusedError struct{ text string }

// Error returns them.
func (e *refusedError) Error() string { return e.text }

// refusalFor is the error of a code, in the server's words where it has some.
func refusalFor(code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	if err == nil || message == nil || *message == "" {
		return err
	}
	return &refusedError{text: fmt.Sprintf("%s (%s)", *message, kerr.TypedErrorForCode(code).Message)}
}
