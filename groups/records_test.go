package groups

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestRecordBytes holds the stored bytes against Kafka's format, written out by hand
// (GroupCoordinatorRecordHelpers.java and the JSON schemas beside it).
func TestRecordBytes(t *testing.T) {
	k := topicPartition{"ab", 3}
	plain := committed{offset: 5, leaderEpoch: 2, metadata: "m", at: 7, expires: noExpiry}
	expiring, withID := plain, plain
	expiring.expires = 9
	withID.topicID = TopicID{15: 1}
	const key = "0001" + "0001" + "67" + "0002" + "6162" + "00000003"
	tests := map[string]struct {
		c         committed
		wantValue string
	}{
		"plain": {plain, "0003" + "0000000000000005" + "00000002" + "0001" + "6d" +
			"0000000000000007"},
		"expiring": {expiring, "0001" + "0000000000000005" + "0001" + "6d" +
			"0000000000000007" + "0000000000000009"},
		"topic id": {withID, "0004" + "0000000000000005" + "00000002" + "02" + "6d" +
			"0000000000000007" + "01" + "00" + "10" + "00000000000000000000000000000001"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := offsetRecord("g", k, &tt.c)
			if got := hex.EncodeToString(r.Key); got != key {
				t.Errorf("key %s, want %s", got, key)
			}
			if got := hex.EncodeToString(r.Value); got != tt.wantValue {
				t.Errorf("value %s, want %s", got, tt.wantValue)
			}
			s, err := decodeRecord(r.Key, r.Value)
			want := tt.c
			if want.expires != noExpiry {
				want.leaderEpoch = -1 // version 1 has no place for it
			}
			if err != nil || s.groupID != "g" || s.key != k || *s.offset != want {
				t.Errorf("decoded %+v, %v", s, err)
			}
		})
	}
	if got := hex.EncodeToString(metadataKey("g")); got != "0002"+"0001"+"67" {
		t.Errorf("group key %s", got)
	}
}

// TestMetadataRecord goes through kmsg's own decoder.
func TestMetadataRecord(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		r := joinRequest("g", "")
		r.InstanceID = ptr("inst")
		r.RebalanceTimeout = 40 * time.Second
		c := w.join(r)
		w.advance(3 * time.Second)
		m := c.get()
		w.syncAll("g", []JoinResponse{m})
		last := w.log.mu.records[len(w.log.mu.records)-1]
		var v kmsg.GroupMetadataValue
		if err := v.ReadFrom(last.Value); err != nil {
			t.Fatal(err)
		}
		if v.Version != 3 || v.ProtocolType != "consumer" || v.Generation != 1 ||
			*v.Protocol != "range" || *v.Leader != m.MemberID || len(v.Members) != 1 ||
			v.CurrentStateTimestamp != epoch.Add(3*time.Second).UnixMilli() {
			t.Fatalf("stored %+v", v)
		}
		got := v.Members[0]
		if got.MemberID != m.MemberID || *got.InstanceID != "inst" || got.ClientID != "client" ||
			got.ClientHost != "/127.0.0.1" || got.SessionTimeoutMillis != 10_000 ||
			got.RebalanceTimeoutMillis != 40_000 ||
			!bytes.Equal(got.Subscription, subscription("orders")) ||
			string(got.Assignment) != m.MemberID {
			t.Errorf("stored %+v", got)
		}
	})
}

// TestGroupThatIsTooLargeToStore gets no assignment.
func TestGroupThatIsTooLargeToStore(t *testing.T) {
	inWorld(t, func(o *Options) { o.MemberBytesMax = 8 << 20 }, func(w *world) {
		r := joinRequest("g", "")
		r.Protocols[0].Metadata = make([]byte, 7_000_000)
		a, b := w.join(r), w.join(r)
		w.advance(6 * time.Second)
		_ = b.get()
		s := w.sync(SyncRequest{GroupID: "g", MemberID: a.get().MemberID, Generation: 1})
		wantErr(t, s.get().Err, ErrLimit)
		w.wantState("g", PreparingRebalance)
	})
}

// FuzzDecodeRecord: any bytes may be in the topic; none may panic, and what is
// understood must be written again as it was read.
func FuzzDecodeRecord(f *testing.F) {
	c := committed{offset: 5, leaderEpoch: 2, metadata: "m", at: 7, expires: noExpiry}
	r := offsetRecord("g", topicPartition{"t", 1}, &c)
	f.Add(r.Key, r.Value)
	c.topicID = TopicID{1}
	r = offsetRecord("g", topicPartition{"t", 1}, &c)
	f.Add(r.Key, r.Value)
	f.Add(metadataKey("g"), []byte{0, 3, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 77}, []byte{1})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		e := &env{o: &Options{GroupMaxSize: 10}}
		rp := replayer{env: e, groups: make(map[string]*group)}
		if rp.apply(key, value) != nil {
			return
		}
		s, err := decodeRecord(key, value)
		if err != nil || !s.known || s.offset == nil {
			return
		}
		again := offsetRecord(s.groupID, s.key, s.offset)
		s2, err := decodeRecord(again.Key, again.Value)
		if err != nil || s2.groupID != s.groupID || s2.key != s.key {
			t.Fatalf("read %+v, wrote it, read %+v, %v", s, s2, err)
		}
		if s.offset.expires == noExpiry && *s2.offset != *s.offset {
			t.Fatalf("read %+v, wrote it, read %+v", s.offset, s2.offset)
		}
	})
}

// FuzzTopicsOf compares with kmsg, which reads the whole subscription: what it
// understands we must understand alike.
func FuzzTopicsOf(f *testing.F) {
	f.Add(subscription("orders", "payments"))
	f.Add(subscription())
	f.Add([]byte{0, 0, 0x7f, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0, 0, 0, 1, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		got := topicsOf(b)
		var m kmsg.ConsumerMemberMetadata
		if m.ReadFrom(b) != nil {
			return
		}
		if len(got) != len(m.Topics) {
			t.Fatalf("got %q, kmsg %q", got, m.Topics)
		}
		for i := range got {
			if got[i] != m.Topics[i] {
				t.Fatalf("got %q, kmsg %q", got, m.Topics)
			}
		}
	})
}
