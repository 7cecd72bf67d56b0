package explore

import (
	"fmt"
	"strings"
)

// totals are what histories had in them: figures that show whether a run means anything.
type totals struct {
	seeds, ops, crashes, startCrashes, armed, restarts, wipes int64
	kills, diskErrors, fullDisks                              int64
	dropped, delivered, retained, gateWaits, duplicates       int64
	refused, acked, unknown, indexChecks, backSteps           int64
}

// fields returns all figures in a fixed order.
func (t *totals) fields() []any {
	return []any{
		&t.seeds, &t.ops, &t.crashes, &t.startCrashes, &t.armed, &t.restarts, &t.wipes,
		&t.kills, &t.diskErrors, &t.fullDisks,
		&t.dropped, &t.delivered, &t.retained, &t.gateWaits, &t.duplicates,
		&t.refused, &t.acked, &t.unknown, &t.indexChecks, &t.backSteps,
	}
}

func (t *totals) add(o totals) {
	others := o.fields()
	for i, f := range t.fields() {
		*f.(*int64) += *others[i].(*int64)
	}
}

// totalsPrefix begins the line in which one process tells another its totals.
const totalsPrefix = "explore-totals:"

// encode returns that line, without its end.
func (t *totals) encode() string {
	var b strings.Builder
	b.WriteString(totalsPrefix)
	for _, f := range t.fields() {
		fmt.Fprintf(&b, " %d", *f.(*int64))
	}
	return b.String()
}

// decode reads the line from what a process printed.
func (t *totals) decode(printed string) error {
	_, after, found := strings.Cut(printed, totalsPrefix)
	if !found {
		return fmt.Errorf("no line begins with %q", totalsPrefix)
	}
	_, err := fmt.Sscan(after, t.fields()...)
	return err
}

func (t *totals) String() string {
	return fmt.Sprintf("%d seeds, %d operations, %d crashes (%d between two syncs, %d during a start), "+
		"%d dropped bytes, %d kills (%d within a file operation or for a failed one), %d clean restarts, "+
		"%d due records delivered, %d retentions that deleted, %d batches acknowledged, %d with unknown outcome, "+
		"%d waits at the gate, %d duplicates, %d refusals, %d appends without space, %d indexes deleted, "+
		"%d indexes compared, %d clock steps back",
		t.seeds, t.ops, t.crashes, t.armed, t.startCrashes, t.dropped, t.kills, t.diskErrors, t.restarts,
		t.delivered, t.retained, t.acked, t.unknown, t.gateWaits, t.duplicates, t.refused, t.fullDisks, t.wipes,
		t.indexChecks, t.backSteps)
}
