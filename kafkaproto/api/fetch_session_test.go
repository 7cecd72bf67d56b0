package api_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/log/batch"
)

// consumer is a client with a fetch session, as KIP-227 describes it.
type consumer struct {
	b       *bench
	version int16
	id      int32
	epoch   int32
}

// fetch sends a request of the session. Topics are asked for by name or id, as the version has it.
func (c *consumer) fetch(
	asked map[string]map[int32]int64, forgotten map[string][]int32, ids map[string][16]byte,
) *kmsg.FetchResponse {
	r := kmsg.NewPtrFetchRequest()
	r.Version = c.version
	r.MaxBytes, r.SessionID, r.SessionEpoch = 1<<20, c.id, c.epoch
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = name, ids[name]
		for _, index := range slices.Sorted(maps.Keys(asked[name])) {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.FetchOffset, p.PartitionMaxBytes = index, asked[name][index], 1<<20
			p.CurrentLeaderEpoch, p.LastFetchedEpoch = -1, -1
			t.Partitions = append(t.Partitions, p)
		}
		r.Topics = append(r.Topics, t)
	}
	for name, indexes := range forgotten {
		t := kmsg.NewFetchRequestForgottenTopic()
		t.Topic, t.TopicID, t.Partitions = name, ids[name], indexes
		r.ForgottenTopics = append(r.ForgottenTopics, t)
	}
	out := c.b.do(r).(*kmsg.FetchResponse)
	if out.ErrorCode == 0 {
		c.id, c.epoch = out.SessionID, c.epoch+1
	}
	return out
}

// listed returns the partitions that an answer names, in its order.
func listed(out *kmsg.FetchResponse, names map[[16]byte]string) (all []string) {
	for _, t := range out.Topics {
		name := t.Topic
		if name == "" {
			name = names[t.TopicID]
		}
		for _, p := range t.Partitions {
			all = append(all, fmt.Sprintf("%s-%d", name, p.Partition))
		}
	}
	return all
}

// sessionBench is two topics of three partitions.
func sessionBench(t *testing.T, version int16) (
	c *consumer, ids map[string][16]byte, names map[[16]byte]string,
) {
	b := newBench(t)
	ids = map[string][16]byte{"a": b.topic("a", 3), "b": b.topic("b", 3)}
	names = map[[16]byte]string{ids["a"]: "a", ids["b"]: "b"}
	return &consumer{b: b, version: version}, ids, names
}

func TestFetchSessionTellsOnlyNews(t *testing.T) {
	for version := int16(7); version <= 18; version++ {
		c, ids, names := sessionBench(t, version)
		expect := func(step string, out *kmsg.FetchResponse, want ...string) {
			t.Helper()
			if got := listed(out, names); out.ErrorCode != 0 || !slices.Equal(got, want) {
				t.Fatalf("v%d, %s: code %d, named %v, want %v", version, step, out.ErrorCode, got, want)
			}
			if out.SessionID == 0 || out.SessionID != c.id {
				t.Fatalf("v%d, %s: session %d", version, step, out.SessionID)
			}
		}
		put := func(topic string, index int32) {
			c.b.replicas.Of(topic, index).Put(records(t, 2, 10, batch.None))
		}
		all := map[string]map[int32]int64{"a": {0: 0, 1: 0}, "b": {2: 0}}
		expect("full", c.fetch(all, nil, ids), "a-0", "a-1", "b-2")
		expect("nothing new", c.fetch(nil, nil, ids))
		put("a", 1)
		expect("data", c.fetch(nil, nil, ids), "a-1")
		expect("data again, as the offset is the same", c.fetch(nil, nil, ids), "a-1")
		expect("offset moved", c.fetch(map[string]map[int32]int64{"a": {1: 2}}, nil, ids))
		put("a", 0)
		put("a", 1)
		put("b", 2)
		expect("who had data is last", c.fetch(nil, nil, ids), "a-0", "b-2", "a-1")
		expect("added and forgotten", c.fetch(map[string]map[int32]int64{"a": {0: 2, 1: 4}, "b": {0: 0}},
			map[string][]int32{"b": {2}}, ids), "b-0")
		c.b.replicas.Of("a", 0).SetStart(1)
		expect("log start", c.fetch(nil, nil, ids), "a-0")
		expect("forgotten for good", c.fetch(nil, nil, ids))
		c.b.replicas.Of("b", 0).Offline(fmt.Errorf("disk"))
		expect("an error, each time", c.fetch(nil, nil, ids), "b-0")
		expect("an error, each time", c.fetch(nil, nil, ids), "b-0")
	}
}

func TestFetchSessionRefusals(t *testing.T) {
	asked := map[string]map[int32]int64{"a": {0: 0}}
	for _, version := range []int16{7, 12, 13, 18} {
		c, ids, _ := sessionBench(t, version)
		expect := func(step string, out *kmsg.FetchResponse, want *kerr.Error) {
			t.Helper()
			if out.ErrorCode != want.Code || len(out.Topics) != 0 || out.SessionID != 0 {
				t.Errorf("v%d, %s: %+v, want %v", version, step, out, want)
			}
		}
		unknown := &consumer{b: c.b, version: version, id: 77, epoch: 1}
		expect("unknown id", unknown.fetch(nil, nil, ids), kerr.FetchSessionIDNotFound)
		c.fetch(asked, nil, ids)
		early := *c
		early.epoch++
		expect("an epoch too far", early.fetch(nil, nil, ids), kerr.InvalidFetchSessionEpoch)
		again := *c
		c.fetch(nil, nil, ids)
		expect("an epoch again", again.fetch(nil, nil, ids), kerr.InvalidFetchSessionEpoch)
		other := *c
		other.version = 25 - version // 7 and 18, 12 and 13: names against ids
		expect("the other naming", other.fetch(nil, nil, ids), kerr.FetchSessionTopicIDError)
		closing := *c
		closing.epoch = -1
		if out := closing.fetch(asked, nil, ids); out.ErrorCode != 0 || out.SessionID != 0 || len(out.Topics) != 1 {
			t.Errorf("v%d, the last fetch: %+v", version, out)
		}
		expect("after the last", c.fetch(nil, nil, ids), kerr.FetchSessionIDNotFound)
		if s := c.b.service.FetchSessions(); s.Sessions != 0 || s.Partitions != 0 {
			t.Errorf("v%d: %+v are left", version, s)
		}
	}
}

// TestFetchWithoutSession: what asks for none gets none, and forgetting the last partition ends one.
func TestFetchWithoutSession(t *testing.T) {
	asked := map[string]map[int32]int64{"a": {0: 0}}
	c, ids, _ := sessionBench(t, 12)
	none := &consumer{b: c.b, version: 12, epoch: -1}
	if out := none.fetch(asked, nil, ids); out.SessionID != 0 || len(out.Topics) != 1 {
		t.Errorf("sessionless: %+v", out)
	}
	c.fetch(asked, nil, ids)
	old := c.id
	c.epoch = 0 // A full fetch replaces the session that it names.
	c.fetch(asked, nil, ids)
	if s := c.b.service.FetchSessions(); s.Sessions != 1 || c.id == old || c.id == 0 {
		t.Errorf("%+v, session %d after %d", s, c.id, old)
	}
	out := c.fetch(nil, map[string][]int32{"a": {0}}, ids)
	if out.ErrorCode != 0 || out.SessionID != 0 || len(out.Topics) != 0 {
		t.Errorf("forgetting all: %+v", out)
	}
	if s := c.b.service.FetchSessions(); s.Sessions != 0 || s.Partitions != 0 {
		t.Errorf("%+v are left", s)
	}
}

// TestFetchSessionOfForgottenPartitions: a request that leaves a session without partitions is a
// full fetch of what it names, without one.
func TestFetchSessionOfForgottenPartitions(t *testing.T) {
	c, ids, names := sessionBench(t, 13)
	c.fetch(map[string]map[int32]int64{"a": {0: 0}}, nil, ids)
	all := map[string][]int32{"a": {0}, "b": {1}}
	out := c.fetch(map[string]map[int32]int64{"b": {1: 0}}, all, ids)
	if got := listed(out, names); out.SessionID != 0 || !slices.Equal(got, []string{"b-1"}) {
		t.Errorf("session %d, named %v", out.SessionID, got)
	}
	if s := c.b.service.FetchSessions(); s.Sessions != 0 || s.Partitions != 0 {
		t.Errorf("%+v are left", s)
	}
}

// TestFetchSessionRemembersNoEndlessNames: what no topic can be called costs no memory beyond the
// answer, however long a client makes it.
func TestFetchSessionRemembersNoEndlessNames(t *testing.T) {
	c, ids, _ := sessionBench(t, 12)
	endless := map[string]map[int32]int64{strings.Repeat("x", 250): {0: 0}}
	out := c.fetch(endless, nil, ids)
	if code := out.Topics[0].Partitions[0].ErrorCode; out.SessionID != 0 || code != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("session %d, code %d", out.SessionID, code)
	}
	c.id, c.epoch = 0, 0
	c.fetch(map[string]map[int32]int64{"a": {0: 0}, strings.Repeat("x", 249): {0: 0}}, nil, ids)
	if s := c.b.service.FetchSessions(); s.Sessions != 1 || s.Partitions != 2 {
		t.Errorf("%+v", s)
	}
	if out = c.fetch(endless, nil, ids); out.ErrorCode != kerr.FetchSessionIDNotFound.Code {
		t.Errorf("code %d", out.ErrorCode)
	}
	if s := c.b.service.FetchSessions(); s.Sessions != 0 || s.Partitions != 0 {
		t.Errorf("%+v are left", s)
	}
}

// TestFetchSessionAgreesWithFullFetches runs random histories of two consumers that see the same
// partitions, one by a session, one by full fetches: what the first knows must be what the second
// sees.
func TestFetchSessionAgreesWithFullFetches(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 3))
		version := []int16{7, 11, 12, 13, 18}[rng.IntN(5)]
		c, ids, names := sessionBench(t, version)
		full := &consumer{b: c.b, version: version}
		wanted := map[string]map[int32]int64{"a": {}, "b": {}}
		type seen struct{ hw, start int64 }
		known := map[string]seen{}
		for step := range 120 {
			topic, index := []string{"a", "b"}[rng.IntN(2)], int32(rng.IntN(3))
			name := fmt.Sprintf("%s-%d", topic, index)
			asked, forgotten := map[string]map[int32]int64{"a": {}, "b": {}}, map[string][]int32{}
			switch rng.IntN(4) {
			case 0:
				c.b.replicas.Of(topic, index).Put(records(t, 1+rng.IntN(3), 10, batch.None))
			case 1:
				wanted[topic][index] = int64(c.b.replicas.Of(topic, index).HighWatermark())
				asked[topic][index] = wanted[topic][index]
			case 2:
				if _, ok := wanted[topic][index]; ok {
					delete(wanted[topic], index)
					delete(known, name)
					forgotten[topic] = []int32{index}
				}
			}
			if len(wanted["a"])+len(wanted["b"]) == 0 {
				c.id, c.epoch = 0, 0
				continue
			}
			if c.id == 0 || rng.IntN(15) == 0 {
				c.epoch, asked, forgotten = 0, wanted, nil
			}
			out := c.fetch(asked, forgotten, ids)
			if out.ErrorCode != 0 {
				t.Fatalf("seed %d, step %d: code %d", seed, step, out.ErrorCode)
			}
			for _, tp := range out.Topics {
				topic := tp.Topic
				if topic == "" {
					topic = names[tp.TopicID]
				}
				for _, p := range tp.Partitions {
					known[fmt.Sprintf("%s-%d", topic, p.Partition)] = seen{p.HighWatermark, p.LogStartOffset}
				}
			}
			full.id, full.epoch = 0, -1
			for _, tp := range full.fetch(wanted, nil, ids).Topics {
				topic := tp.Topic
				if topic == "" {
					topic = names[tp.TopicID]
				}
				for _, p := range tp.Partitions {
					name := fmt.Sprintf("%s-%d", topic, p.Partition)
					if got := known[name]; got != (seen{p.HighWatermark, p.LogStartOffset}) {
						t.Fatalf("seed %d, step %d, v%d: the session knows %+v of %s, there is %d from %d", seed, step,
							version, got, name, p.HighWatermark, p.LogStartOffset)
					}
				}
			}
		}
	}
}
