package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// What design.md section 7 and issue 4 allow for what is pending.
const (
	indexEntryGoal = 24 // bytes on disk
	indexNameGoal  = 16 // more for a named record, beside the name
	restartGoal    = 5 * time.Second
)

// pendingGoals are bounds of resident memory, by the number of pending records.
var pendingGoals = map[int]int64{
	1_000_000: 100_000_000, 10_000_000: 250_000_000, 100_000_000: 512_000_000,
}

// pendingNameBytes is the length of a record's name.
const pendingNameBytes = 16

// indexFolder is where the server keeps the order of all pending records.
const indexFolder = "index"

// settle is how long a server may come to rest before its memory is read.
func (b *bench) settle() time.Duration {
	if b.quick {
		return 2 * time.Second
	}
	return 5 * time.Second
}

// pendingCase is one row: a number of pending records of a kind.
type pendingCase struct {
	records int
	kind    string
}

func (c pendingCase) String() string { return count(float64(c.records)) + " " + c.kind }

// headers returns what gives each record its due time, and its name, which counts on from a number.
func (c pendingCase) headers(from int) func() headerList {
	due, i := dueAhead(), from
	if c.kind == kindPlain {
		return due
	}
	return func() headerList {
		i++
		// Each number once, in no order: names are often random.
		id := fmt.Appendf(nil, "%0*x", pendingNameBytes, uint64(i)*0x9e3779b97f4a7c15)
		return append(due(), headerList{{Key: headerID, Value: id}}...)
	}
}

// entryGoal is how many bytes of the index an entry may take on disk.
func (c pendingCase) entryGoal() float64 {
	if c.kind == kindNamed {
		return indexEntryGoal + pendingNameBytes + indexNameGoal
	}
	return indexEntryGoal
}

// pendingTables are the results.
type pendingTables struct{ memory, restart *table }

// pendingSection measures memory and disk with many records pending, and how long the server takes
// to serve again after a SIGKILL with them.
func pendingSection(ctx context.Context, b *bench) error {
	t := pendingTables{
		memory: newTable("Pending: 100 B, due within a day, 1 partition", "pending", "resident", "peak",
			"bytes a record", "index", "bytes an entry", "closed, bytes an entry", "all on disk",
			"accepted in", "indexed in"),
		restart: newTable("Restart: the same, after SIGKILL", "pending", "ready", "produced and fetched",
			"overdue came", "on time again", "its lateness", "resident", "peak"),
	}
	t.memory.note("Bytes a record: resident memory above that of an empty server. Index: its files "+
		"after some seconds of rest; closed: after an orderly stop. Named: each with an id of "+
		"%d bytes.", pendingNameBytes)
	t.restart.note("Killed as soon as a tenth more was acknowledged, so that neither logs nor index "+
		"are at rest. All from the start of the process. Overdue: a record that became due while the "+
		"server was down. On time again: the arrival of the first record that came within %s "+
		"of its due time, in the partition with all the others.", onTime)
	for _, records := range b.schedules.pending {
		for kind := range strings.SplitSeq(b.schedules.kinds, ",") {
			c := pendingCase{records: records, kind: kind}
			if err := b.pendingRows(ctx, t, c); err != nil {
				t.print(b) // these cases take minutes: what is measured is not lost
				return fmt.Errorf("%s pending: %w", c, err)
			}
		}
	}
	if b.schedules.natsPending > 0 {
		if err := b.natsPendingRows(ctx, t); err != nil {
			return err
		}
	}
	t.print(b)
	return nil
}

func (t pendingTables) print(b *bench) {
	b.print(t.memory)
	b.print(t.restart)
}

// pendingRows measures one case.
func (b *bench) pendingRows(ctx context.Context, t pendingTables, c pendingCase) error {
	chronos, err := b.startChronos()
	if err != nil {
		return err
	}
	empty, err := harness.Resident(chronos.Pid())
	if err != nil {
		return errors.Join(err, chronos.end())
	}
	topic, err := chronos.newTopic(ctx, topicSpec{partitions: 1, schedules: true})
	if err != nil {
		return errors.Join(err, chronos.end())
	}
	r := resting{empty: empty}
	begun := time.Now()
	err = b.fill(ctx, chronos, topic, filling{
		records: c.records, size: scheduleBytes, headers: c.headers(0),
	})
	if err != nil {
		return errors.Join(err, chronos.end())
	}
	r.accepted = time.Since(begun)
	err = b.awaitPending(ctx, chronos, c.records)
	var late behind
	if errors.As(err, &late) {
		return errors.Join(b.behindRow(ctx, t.memory, chronos, c, r, late), killAndRemove(chronos))
	}
	if err != nil {
		return errors.Join(err, chronos.end())
	}
	r.indexed = time.Since(begun)
	if err := b.rest(ctx, chronos, &r); err != nil {
		return errors.Join(err, chronos.end())
	}
	again, all, err := b.restartRow(ctx, t.restart, chronos, c, topic)
	if err != nil {
		return err
	}
	// An orderly stop writes the rest of the index.
	if err := again.Stop(); err != nil {
		return err
	}
	closed, err := folderBytes(filepath.Join(again.dir, indexFolder))
	if err != nil {
		return err
	}
	entry := func(bytes int64) float64 { return float64(bytes) / float64(c.records) }
	closedEntry := float64(closed) / float64(all)
	t.memory.add(c.String(), megabytes(float64(r.resident)), megabytes(float64(r.peak)),
		fmt.Sprintf("%.1f", entry(r.resident-r.empty)), megabytes(float64(r.index)),
		fmt.Sprintf("%.1f", entry(r.index)), fmt.Sprintf("%.1f", closedEntry),
		megabytes(float64(r.disk)), seconds(r.accepted), seconds(r.indexed))
	if goal, ok := pendingGoals[c.records]; ok {
		b.addFloor(r.resident <= goal, c.String()+" pending: resident at most "+
			megabytes(float64(goal)), "%s", megabytes(float64(r.resident)))
	}
	b.addFloor(closedEntry <= c.entryGoal(), fmt.Sprintf("%s pending: index at most %.0f B an entry",
		c, c.entryGoal()), "%.1f B", closedEntry)
	return os.RemoveAll(again.dir)
}

// behindRow is the row of a server whose index does not follow: it is not at rest, and what a
// restart would take says nothing of one that is.
func (b *bench) behindRow(
	ctx context.Context, t *table, server *target, c pendingCase, r resting, late behind,
) error {
	if err := b.rest(ctx, server, &r); err != nil {
		return err
	}
	t.add(c.String(), megabytes(float64(r.resident)), megabytes(float64(r.peak)), "-",
		megabytes(float64(r.index)), "-", "-", megabytes(float64(r.disk)), seconds(r.accepted),
		late.Error())
	b.addFloor(false, c.String()+" pending: the index follows", "%s", late)
	return nil
}

// killAndRemove ends a server that would take long to stop, and deletes its data.
func killAndRemove(t *target) error {
	t.Kill()
	return os.RemoveAll(t.dir)
}

// resting is what a server takes at rest.
type resting struct {
	empty             int64 // resident memory before there was anything
	resident, peak    int64
	index, disk       int64
	accepted, indexed time.Duration
}

// rest lets a server come to rest and reads what it takes.
func (b *bench) rest(ctx context.Context, t *target, r *resting) error {
	if err := wait(ctx, b.settle()); err != nil {
		return err
	}
	var err error
	if r.resident, err = harness.Resident(t.Pid()); err != nil {
		return err
	}
	if r.peak, err = harness.Peak(t.Pid()); err != nil {
		return err
	}
	if r.disk, err = t.diskBytes(); err != nil || t.name != chronosName {
		return err
	}
	r.index, err = folderBytes(filepath.Join(t.dir, indexFolder))
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// behind is an error of a server that has not indexed all that it accepted after a long time.
type behind struct {
	pending float64
	after   time.Duration
}

// Error says how far it got.
func (b behind) Error() string {
	return fmt.Sprintf("only %s indexed %s later", count(b.pending), b.after)
}

// awaitPending waits until the server counts every record as pending: it answers a producer once
// a record is durable and orders it by due time behind that. One that takes too long is behind.
func (b *bench) awaitPending(ctx context.Context, t *target, records int) error {
	const pendingMax, perRecord = 30 * time.Second, 5 * time.Microsecond
	const askEvery = 50 * time.Millisecond
	most := pendingMax + time.Duration(records)*perRecord
	for deadline := time.Now().Add(most); ; {
		m, err := harness.Scrape(t.web)
		if err != nil {
			return err
		}
		pending, err := m.Sum("chronos_pending_records")
		if err != nil {
			return err
		}
		if int(pending) == records {
			return nil
		}
		if time.Now().After(deadline) {
			return behind{pending, most}
		}
		if err := wait(ctx, askEvery); err != nil {
			return err
		}
	}
}

// natsPendingRows measures the same of NATS, which keeps its order in memory.
func (b *bench) natsPendingRows(ctx context.Context, t pendingTables) error {
	m := natsModes[0]
	nats, err := b.startNats(m)
	if err != nil {
		return err
	}
	var r resting
	if r.empty, err = harness.Resident(nats.Pid()); err != nil {
		return errors.Join(err, nats.end())
	}
	records := b.schedules.natsPending
	var a natsAccepted
	if _, err = b.askNats(ctx, nats, &a, "fill", "-window", strconv.Itoa(m.window),
		"-records", strconv.Itoa(records)); err != nil {
		return errors.Join(err, nats.end())
	}
	r.accepted = a.Elapsed
	if err := b.rest(ctx, nats, &r); err != nil {
		return errors.Join(err, nats.end())
	}
	name := count(float64(records)) + ", " + m.name
	t.memory.add(name, megabytes(float64(r.resident)), megabytes(float64(r.peak)),
		fmt.Sprintf("%.1f", float64(r.resident-r.empty)/float64(records)), "-", "-", "-",
		megabytes(float64(r.disk)), seconds(r.accepted), "-")
	nats.Kill()
	begun := time.Now()
	again, err := b.startNatsOn(m, nats.dir)
	if err != nil {
		return err
	}
	ready := time.Since(begun)
	var d natsDelivered
	if _, err := b.askNats(ctx, again, &d, "probe", "-lead", probeLead.String()); err != nil {
		return errors.Join(err, again.end())
	}
	onTimeAfter := time.Since(begun)
	if err := b.rest(ctx, again, &r); err != nil {
		return errors.Join(err, again.end())
	}
	t.restart.add(name, seconds(ready), "-", "-", seconds(onTimeAfter), millis(d.Max),
		megabytes(float64(r.resident)), megabytes(float64(r.peak)))
	return again.end()
}
