package metadata

import (
	"errors"
	"strings"
	"testing"
)

func create(name string, partitions int, configs map[string]string) Command {
	c := &CreateTopic{Name: name, ID: TopicID{byte(len(name)), name[0], name[len(name)-1]}, Configs: configs}
	for range partitions {
		c.Assignment = append(c.Assignment, []int32{1})
	}
	return Command{CreateTopic: c}
}

func applyAll(t *testing.T, m *Image, commands ...Command) *Image {
	t.Helper()
	for _, c := range commands {
		next, _, err := Apply(m, c)
		if err != nil {
			t.Fatalf("apply %+v: %v", c, err)
		}
		m = next
	}
	return m
}

func TestApplyRefuses(t *testing.T) {
	m := applyAll(t, newImage(), create("a.b", 1, nil))
	tests := []struct {
		name string
		c    Command
		want error
	}{
		{"name exists", create("a.b", 1, nil), ErrTopicExists},
		{"name collides", create("a_b", 1, nil), ErrInvalidTopic},
		{"name is a dot", create(".", 1, nil), ErrInvalidTopic},
		{"name has a slash", create("a/b", 1, nil), ErrInvalidTopic},
		{"name is too long", create(strings.Repeat("x", 250), 1, nil), ErrInvalidTopic},
		{"no partitions", create("c", 0, nil), ErrInvalidPartitions},
		{"unknown config", create("c", 1, map[string]string{"no.such": "1"}), ErrInvalidConfig},
		{"config out of range", create("c", 1, map[string]string{ConfigSegmentMs: "0"}), ErrInvalidConfig},
		{"config not a number", create("c", 1, map[string]string{ConfigRetentionMs: "x"}), ErrInvalidConfig},
		{"delete of an unknown id", Command{DeleteTopic: &DeleteTopic{}}, ErrUnknownTopicID},
		{"empty command", Command{}, ErrCorruptCommand},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			next, _, err := Apply(m, tc.c)
			if !errors.Is(err, tc.want) {
				t.Fatalf("Apply = %v, want %v", err, tc.want)
			}
			if next != m {
				t.Fatal("a refused command changed the image")
			}
		})
	}
}

func TestNumbersAreNeverUsedTwice(t *testing.T) {
	m := applyAll(t, newImage(), create("one", 2, nil))
	first := m.Topic("one")
	m = applyAll(t, m, Command{DeleteTopic: &DeleteTopic{ID: first.ID}}, create("one", 2, nil))
	for i, p := range m.Topic("one").Partitions {
		if p.Number <= first.Partitions[1].Number {
			t.Fatalf("partition %d got number %d, which was used before", i, p.Number)
		}
	}
	if got := m.Deleted(); len(got) != 1 || got[0] != first {
		t.Fatalf("deleted topics are %v, want the first", got)
	}
	m = applyAll(t, m, Command{PurgedTopic: &PurgedTopic{ID: first.ID}})
	if len(m.Deleted()) != 0 {
		t.Fatal("a purged topic is still listed")
	}
}

func TestImagesAreImmutable(t *testing.T) {
	before := applyAll(t, newImage(), create("one", 1, nil))
	kept := before.Topic("one")
	after := applyAll(t, before,
		Command{RaiseEpochs: &RaiseEpochs{Node: 1}},
		Command{SetConfigs: &SetConfigs{ID: kept.ID, Set: map[string]*string{ConfigRetentionMs: new("5")}}})
	if before.Topic("one") != kept || kept.Partitions[0].LeaderEpoch != 0 || len(kept.Configs) != 0 {
		t.Fatal("a later command changed an earlier image")
	}
	now := after.Topic("one")
	if now.Partitions[0].LeaderEpoch != 1 || now.Config.RetentionMs != 5 {
		t.Fatalf("the later image has %+v", now)
	}
	if after.TopicByID(kept.ID) != now {
		t.Fatal("the two indexes of an image disagree")
	}
}

func TestProducerIDBlocksDoNotOverlap(t *testing.T) {
	m := newImage()
	m, a, err := Apply(m, Command{TakeIDs: &TakeIDs{Count: 10}})
	if err != nil {
		t.Fatal(err)
	}
	_, b, err := Apply(m, Command{TakeIDs: &TakeIDs{Count: 10}})
	if err != nil || b.FirstID < a.LastIDPlus {
		t.Fatalf("blocks are [%d,%d) and [%d,%d), %v", a.FirstID, a.LastIDPlus, b.FirstID, b.LastIDPlus, err)
	}
}
