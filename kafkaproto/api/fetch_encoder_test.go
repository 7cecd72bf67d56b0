package api

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// chance makes a response out of a stream of choices: random ones in the test, the input's bytes
// in the fuzz target.
type chance struct{ next func() byte }

func (c chance) upTo(n int) int { return int(c.next()) % (n + 1) }

func (c chance) int64() (v int64) {
	switch c.upTo(3) {
	case 0:
		return -1
	case 1:
		return int64(c.next())
	}
	for range 8 {
		v = v<<8 | int64(c.next())
	}
	return v
}

// recordSizes are around the sizes at which a length takes one byte more.
var recordSizes = []int{0, 1, 126, 127, 128, 16382, 16383, 16384, 20000, 1<<21 - 2, 1<<21 - 1, 1 << 21}

func (c chance) partition(committed bool) (fetchedPartition, []byte) {
	p := fetchedPartition{
		index: int32(c.int64()), code: int16(c.int64()), highWatermark: c.int64(),
		lastStable: c.int64(), logStart: c.int64(), preferred: int32(c.int64()),
	}
	if committed {
		p.aborted = []abortedTxn{}
		for range c.upTo(3) {
			p.aborted = append(p.aborted, abortedTxn{c.int64(), c.int64()})
		}
	}
	if c.upTo(3) == 0 {
		p.diverging = &epochOffset{int32(c.next()), c.int64()}
	}
	if c.upTo(3) == 0 {
		p.leader = &leaderEpoch{int32(c.next()), int32(c.next())}
	}
	size := recordSizes[c.upTo(8)]
	if c.upTo(40) == 0 {
		size = recordSizes[c.upTo(len(recordSizes)-1)]
	}
	return p, bytes.Repeat([]byte{c.next()}, size)
}

// spare is how many more elements of an array were expected than come.
func (c chance) spare() int { return []int{0, 0, 1, 130, 20_000}[c.upTo(4)] }

// both encodes one response with kmsg and with the encoder of this package.
func (c chance) both(version int16) (want, got []byte) {
	r := kmsg.NewFetchResponse()
	r.Version = version
	if version >= fetchSessionsSince {
		r.ErrorCode, r.SessionID = int16(c.int64()), int32(c.int64())
	}
	prefix := []byte("what was there before")
	e := newFetchEncoder(bytes.Clone(prefix), version)
	topics := c.upTo(3)
	session := r.SessionID
	open := e.begin(r.ErrorCode, 0, topics+c.spare())
	for range topics {
		t := kmsg.NewFetchResponseTopic()
		t.Topic, t.TopicID = string(bytes.Repeat([]byte("n"), c.upTo(200))), [16]byte{c.next(), 15: c.next()}
		n := c.upTo(3)
		length := e.topic(t.Topic, t.TopicID, n+c.spare())
		for range n {
			p, records := c.partition(c.upTo(1) == 0)
			at := e.reserve(int(c.next()) << c.upTo(20))
			recordsAt := len(e.dst)
			e.dst = append(e.dst, records...)
			e.finish(at, recordsAt, p)
			t.Partitions = append(t.Partitions, asKmsg(p, records))
		}
		e.endTopic(length, n)
		r.Topics = append(r.Topics, t)
	}
	var nodes []endpoint
	for range c.upTo(4) * 60 {
		b := kmsg.NewFetchResponseBroker()
		b.NodeID, b.Host, b.Port = int32(c.int64()), string(bytes.Repeat([]byte("h"), c.upTo(130))), int32(c.int64())
		nodes = append(nodes, endpoint{b.NodeID, b.Host, b.Port})
		r.Brokers = append(r.Brokers, b)
	}
	e.end(nodes)
	e.closeArray(open, topics)
	e.setSession(len(prefix), session)
	return r.AppendTo(prefix), e.dst
}

func asKmsg(p fetchedPartition, records []byte) kmsg.FetchResponseTopicPartition {
	out := kmsg.NewFetchResponseTopicPartition()
	out.Partition, out.ErrorCode = p.index, p.code
	out.HighWatermark, out.LastStableOffset, out.LogStartOffset = p.highWatermark, p.lastStable, p.logStart
	out.PreferredReadReplica, out.RecordBatches = p.preferred, records
	if p.aborted != nil {
		out.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
	}
	for _, a := range p.aborted {
		txn := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
		txn.ProducerID, txn.FirstOffset = a.producerID, a.firstOffset
		out.AbortedTransactions = append(out.AbortedTransactions, txn)
	}
	if p.diverging != nil {
		out.DivergingEpoch.Epoch, out.DivergingEpoch.EndOffset = p.diverging.epoch, p.diverging.offset
	}
	if p.leader != nil {
		out.CurrentLeader.LeaderID, out.CurrentLeader.LeaderEpoch = p.leader.leader, p.leader.epoch
	}
	return out
}

// firstDifference shows where two encodings part.
func firstDifference(a, b []byte) string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	return hex.Dump(a[max(0, i-16):min(len(a), i+32)]) + "instead\n" + hex.Dump(b[max(0, i-16):min(len(b), i+32)])
}

func TestFetchEncoderAgreesWithKmsg(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	c := chance{func() byte { return byte(rng.Uint32()) }}
	for version := int16(4); version <= 18; version++ {
		for range 200 {
			if want, got := c.both(version); !bytes.Equal(want, got) {
				t.Fatalf("seed %d, version %d: kmsg has\n%s", seed, version, firstDifference(want, got))
			}
		}
	}
}

func FuzzFetchEncoder(f *testing.F) {
	f.Add(int16(4), []byte{1, 2, 3})
	f.Add(int16(12), []byte{3, 200, 1, 1, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9})
	f.Add(int16(16), []byte{2, 0, 2, 2, 2, 1, 255, 3, 4, 0, 0, 0, 0, 0, 8, 8, 8})
	f.Fuzz(func(t *testing.T, version int16, choices []byte) {
		version = 4 + (version&0x7fff)%15
		c := chance{func() byte {
			if len(choices) == 0 {
				return 0
			}
			b := choices[0]
			choices = choices[1:]
			return b
		}}
		if want, got := c.both(version); !bytes.Equal(want, got) {
			t.Fatalf("version %d: kmsg has\n%s", version, firstDifference(want, got))
		}
	})
}
