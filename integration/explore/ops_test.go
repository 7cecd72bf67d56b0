package explore

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// op is one kind of operation and how often it is drawn.
type op struct {
	name   string
	weight int
	do     func(w *world)
}

// ops are the operations of a random history. Weights are per thousand, about.
var ops = []op{
	{"produce", 360, (*world).produce},
	{"retry", 60, (*world).retry},
	{"commit", 130, func(w *world) { w.call("commit", w.m.CommitOnce) }},
	{"deliver", 130, (*world).deliver},
	{"idle", 70, (*world).idle},
	{"advance", 100, (*world).advance},
	{"step back", 6, (*world).stepBack},
	{"fetch", 60, (*world).fetch},
	{"retain", 16, (*world).retain},
	{"checkpoint", 8, func(w *world) { w.call("checkpoint", w.m.CheckpointAll) }},
	{"flush index", 10, func(w *world) { w.call("flush index", w.m.FlushIndex) }},
	{"configure", 8, (*world).configure},
	{"replace producer", 6, (*world).replaceProducer},
	{"restart", 4, func(w *world) { w.note("restart"); w.restart() }},
	{"cut", 6, (*world).cutNow},
	{"kill", 4, (*world).kill},
	{"arm", 12, (*world).armSoon},
	{"fault", 10, (*world).faultSoon},
	{"compare index", 2, (*world).compareIndex},
}

// random makes one operation.
func (w *world) random() {
	w.totals.ops++
	for slices.Contains(w.producers, nil) {
		w.through(w.refill)
	}
	n := w.rng.IntN(opsWeight)
	for i := range ops {
		if n -= ops[i].weight; n < 0 {
			w.through(func() { ops[i].do(w) })
			return
		}
	}
}

var opsWeight = func() (sum int) {
	for i := range ops {
		sum += ops[i].weight
	}
	return sum
}()

// call makes one call on the manager as a step.
func (w *world) call(name string, f func() error) (crashed bool) {
	w.note("%s", name)
	return w.do(f)
}

func (w *world) deliver() {
	w.call("deliver", func() error {
		_, err := w.m.DeliverOnce()
		return err
	})
}

// idle lets the node do what there is to do; what is due must be there afterwards.
func (w *world) idle() {
	if w.call("run until idle", w.m.RunUntilIdle) {
		return
	}
	for i := range int32(partitionCount) {
		w.readAll(i)
	}
	if !w.diskFailed() { // else a delivery may wait for space
		w.judge(w.oracle.Idle(w.now()))
	}
}

func (w *world) advance() {
	var ms int
	switch k := w.rng.IntN(100); {
	case k < 30:
		ms = 1 + w.rng.IntN(5)
	case k < 60:
		ms = 1 + w.rng.IntN(200)
	case k < 70:
		ms = 1 + w.rng.IntN(2000)
	case k < 80:
		ms = 1 + w.rng.IntN(10_000)
	default: // to the next due time, or one millisecond before it
		if m := w.m.Metrics(); m.HasNextDue {
			ms = int(int64(m.NextDue)-w.now()) - w.rng.IntN(2)
		}
		if ms < 1 || ms > 60_000 {
			ms = 1
		}
	}
	w.note("advance %d ms", ms)
	w.clock.Advance(time.Duration(ms) * time.Millisecond)
}

func (w *world) stepBack() {
	ms := 1 + w.rng.IntN([]int{20, 900, 5000, 60_000}[w.rng.IntN(4)])
	w.note("the clock steps back by %d ms", ms)
	w.totals.backSteps++
	w.clock.Set(w.clock.Now().Add(-time.Duration(ms) * time.Millisecond))
}

// fetch reads on, or reads again something old, in random sizes.
func (w *world) fetch() {
	i := int32(w.rng.IntN(partitionCount))
	p := w.partition(i)
	w.next[i] = max(w.next[i], p.LogStart())
	from := w.next[i]
	again := w.rng.IntN(2) == 0
	if again {
		from = p.LogStart() + batch.Offset(w.rng.Int64N(int64(w.next[i]-p.LogStart())+1))
	}
	next := w.read(i, from, 1+w.rng.IntN(20_000))
	if !again {
		w.next[i] = next
	}
}

// retain runs retention. Everything is committed and read before: nothing may go unseen.
func (w *world) retain() {
	if w.call("commit before retention", w.m.CommitOnce) {
		return
	}
	var before batch.Offset
	for i := range int32(partitionCount) {
		w.readAll(i)
		before += w.partition(i).LogStart()
	}
	if w.call("retain", w.m.Retain) {
		return
	}
	for i := range int32(partitionCount) {
		before -= w.partition(i).LogStart()
	}
	if before < 0 {
		w.totals.retained++
	}
}

// configure changes the topic's configs: what is pending must not notice.
func (w *world) configure() {
	key, text := metadata.ConfigScheduleMaxDelay, ""
	switch w.rng.IntN(6) {
	case 0, 1:
		text = []string{"", "10000", "3600000"}[w.rng.IntN(3)]
	case 2, 3:
		key, text = metadata.ConfigScheduleEnable, []string{"", "true", "true", "false"}[w.rng.IntN(4)]
	case 4:
		key = metadata.ConfigCompressionType
		text = []string{"", "producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"}[w.rng.IntN(7)]
	case 5:
		key, text = metadata.ConfigRetentionMs, []string{"", "3000"}[w.rng.IntN(2)]
	}
	w.setConfig(key, text)
}

// setConfig sets a config; an empty text returns it to its default.
func (w *world) setConfig(key, text string) {
	set := map[string]*string{key: nil}
	if text != "" {
		set[key] = &text
	}
	if w.call(fmt.Sprintf("set %s=%s", key, text), func() error { return w.m.SetConfigs(w.topic, set) }) {
		return
	}
	schedules, maxDelayMs := w.schedules, w.maxDelayMs
	w.learnConfigs()
	switch {
	case key == metadata.ConfigScheduleEnable && w.schedules != (text != "false"),
		key == metadata.ConfigScheduleMaxDelay && fmt.Sprint(w.maxDelayMs) != text && text != "",
		key != metadata.ConfigScheduleEnable && w.schedules != schedules,
		key != metadata.ConfigScheduleMaxDelay && w.maxDelayMs != maxDelayMs:
		w.fail(errors.New("the configs are not what was set"))
	}
}

// learnConfigs looks at the topic's configs: after a crash in a change nobody knows which hold.
func (w *world) learnConfigs() {
	t := w.m.Image().TopicByID(w.topic)
	if t == nil {
		w.fail(errors.New("the topic is gone"))
	}
	w.schedules, w.maxDelayMs = t.Config.ScheduleEnable, 0
	if _, set := t.Configs[metadata.ConfigScheduleMaxDelay]; set {
		w.maxDelayMs = t.Config.ScheduleMaxDelayMs
	}
}

func (w *world) replaceProducer() {
	i := w.rng.IntN(len(w.producers))
	w.note("producer %d vanishes", w.producers[i].id)
	w.producers[i] = nil
	w.refill()
}

// cutNow lets the power go between two operations.
func (w *world) cutNow() {
	if !w.quiet {
		w.cut(w.randomKeep())
	}
}

// armSoon lets the power go at one of the next syncs.
func (w *world) armSoon() {
	if w.quiet {
		return
	}
	match := []func(string) bool{anyPath, otherPath, otherPath, indexPath}[w.rng.IntN(4)]
	w.arm(1+w.rng.IntN(12), w.randomKeep(), match)
	w.note("the power will go %s", w.describe())
}

// faultSoon lets the disk fail, in the histories that are about that.
func (w *world) faultSoon() {
	switch {
	case w.quiet || !w.faults:
	case w.rng.IntN(2) == 0:
		w.breakDisk(10)
	default:
		w.fillDisk()
	}
}

// compareIndex compares the schedule index with one that is built anew.
func (w *world) compareIndex() {
	if w.call("run until idle", w.m.RunUntilIdle) {
		return
	}
	w.must(w.fs.RemoveAll(scratchDir))
	if !w.call("compare index", func() error { return w.m.CheckIndex(scratchDir) }) {
		w.totals.indexChecks++
	}
}
