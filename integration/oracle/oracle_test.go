package oracle

import (
	"errors"
	"maps"
	"testing"
)

// plays are made-up histories of one rule: what each must be refused for, nil for a good one.
type plays map[string]struct {
	want error
	play func(p *play)
}

// TestOracleRefuses shows for every rule that breaking it is seen, and that the good histories next
// to it pass.
func TestOracleRefuses(t *testing.T) {
	all := make(plays)
	for _, some := range []plays{
		goodPlays, lossPlays, timePlays, offsetPlays, orderPlays, answerPlays, contentPlays,
	} {
		for name := range some {
			if _, known := all[name]; known {
				t.Fatalf("two histories are called %q", name)
			}
		}
		maps.Copy(all, some)
	}
	broken := make(map[error]bool)
	for name, c := range all {
		broken[c.want] = true
		t.Run(name, func(t *testing.T) {
			p := newPlay(t)
			c.play(p)
			if !errors.Is(p.err, c.want) {
				t.Errorf("got %v, want %v", p.err, c.want)
			}
		})
	}
	for _, rule := range []error{
		nil, ErrLost, ErrTwice, ErrEarly, ErrLate, ErrChanged, ErrNotDense, ErrWentBack, ErrOrder, ErrHole,
		ErrDueOrder, ErrAnswer, ErrPhantom, ErrContent, ErrBadBatch, ErrPosition, ErrUnreadKey,
	} {
		if !broken[rule] {
			t.Errorf("no history ends in %v", rule)
		}
	}
}

var goodPlays = plays{
	"good: plain, mixed and scheduled records, a duplicate, retention, a crash": {nil, func(p *play) {
		a, b, c := plain("a"), plain("b"), plain("c")
		first := p.send(a, b)
		p.store(2, direct(0, shown(a), shown(b)))
		p.ack(first, 0)
		x, y := until("x", 3000), after("y", 500)
		mixed := p.send(c, x, y)
		p.store(1, delivery(2, shownNow(c, "1.0.0")))
		p.ack(mixed, -1)
		p.ack(first, 0)
		p.ack(mixed, -1)
		p.event(p.o.Idle(p.now))
		p.now = 1500
		p.store(1, delivery(3, due(y, 1500, "1.2.0")))
		p.retain(2)
		p.open(4, 4)
		p.read(2, delivery(2, shownNow(c, "1.0.0")), delivery(3, due(y, 1500, "1.2.0")))
		p.now = 3000
		p.store(1, delivery(4, due(x, 3000, "1.1.0")))
		p.event(p.o.Idle(p.now))
		p.event(p.o.Finish())
	}},
	"good: what was not acknowledged may be lost behind all that is there": {nil, func(p *play) {
		a, b := plain("a"), plain("b")
		p.send(a)
		p.send(b)
		p.grow(2)
		p.open(1, 1)
		p.read(0, direct(0, shown(a)))
		p.event(p.o.Finish())
	}},
	"good: a late arrival comes after what was due later": {nil, func(p *play) {
		x, y := until("x", 2000), until("y", 1500)
		p.ack(p.send(x), -1)
		late := p.send(y)
		p.now = 2000
		p.store(1, delivery(0, due(x, 2000, "1.0.0")))
		p.ack(late, -1)
		p.store(1, delivery(1, atMs(due(y, 1500, "1.1.0"), 2000)))
		p.event(p.o.Finish())
	}},
	"good: one of two offers was taken": {nil, func(p *play) {
		x := after("x", 500)
		b := p.send(x)
		p.open(0, 0)
		p.now = 1200
		p.o.Offer(b, p.now, true)
		p.ack(b, -1)
		p.now = 1700
		p.store(1, delivery(0, due(x, 1700, "1.0.0")))
		p.event(p.o.Finish())
	}},
}

var lossPlays = plays{
	"lost: a scheduled record is acknowledged and never shown": {ErrLost, func(p *play) {
		p.ack(p.send(until("x", 2000)), -1)
		p.event(p.o.Finish())
	}},
	"lost: a plain record that was seen is cut off by a crash": {ErrLost, func(p *play) {
		a := plain("a")
		p.send(a)
		p.store(1, direct(0, shown(a)))
		p.open(0, 0)
	}},
	"lost: the high watermark comes back below what was seen": {ErrLost, func(p *play) {
		a := plain("a")
		p.send(a)
		p.store(1, direct(0, shown(a)))
		p.open(0, 1)
	}},
	"lost: retention takes what nobody could read": {ErrLost, func(p *play) {
		p.send(plain("a"))
		p.grow(1)
		p.retain(1)
	}},
	"lost: nothing is returned below the high watermark": {ErrLost, func(p *play) {
		p.send(plain("a"))
		p.grow(1)
		p.read(0)
	}},
	"late: the server is idle and something is due": {ErrLate, func(p *play) {
		p.ack(p.send(until("x", 2000)), -1)
		p.event(p.o.Idle(1999))
		p.event(p.o.Idle(2000))
	}},
	"twice: a plain record": {ErrTwice, func(p *play) {
		a := plain("a")
		p.send(a)
		p.store(2, direct(0, shown(a)), direct(1, shown(a)))
	}},
	"twice: a delivery under another position": {ErrTwice, func(p *play) {
		x := until("x", 2000)
		p.ack(p.send(x), -1)
		p.now = 2000
		p.store(1, delivery(0, due(x, 2000, "1.0.0")))
		p.store(1, delivery(1, due(x, 2000, "1.1.0")))
	}},
	"twice: a delivery again after retention took the first": {ErrTwice, func(p *play) {
		x := until("x", 2000)
		p.ack(p.send(x), -1)
		p.now = 2000
		p.store(1, delivery(0, due(x, 2000, "1.0.0")))
		p.retain(1)
		p.open(1, 1)
		p.store(1, delivery(1, due(x, 2000, "1.0.0")))
	}},
	"phantom: a value that nobody sent": {ErrPhantom, func(p *play) {
		p.store(1, direct(0, shown(plain("a"))))
	}},
	"phantom: a refused batch": {ErrPhantom, func(p *play) {
		a := plain("a")
		p.event(p.o.Refuse(p.send(a)))
		p.store(1, direct(0, shown(a)))
	}},
	"phantom: a batch of another partition": {ErrPhantom, func(p *play) {
		a := plain("a")
		b, err := p.o.Send(p.s, 1, []*Record{a})
		p.event(err)
		p.o.Offer(b, p.now, true)
		p.store(1, direct(0, shown(a)))
	}},
	"phantom: a batch that was turned away at the gate": {ErrPhantom, func(p *play) {
		a := plain("a")
		p.o.Withdraw(p.send(a), 0)
		p.store(1, direct(0, shown(a)))
	}},
}

var timePlays = plays{
	"early: by the server's clock": {ErrEarly, func(p *play) {
		x := until("x", 2000)
		p.ack(p.send(x), -1)
		p.now = 1999
		p.store(1, delivery(0, due(x, 2000, "1.0.0")))
	}},
	"early: by the server's clock when it was appended, though read late": {ErrEarly, func(p *play) {
		x := until("x", 2000)
		p.ack(p.send(x), -1)
		p.now = 1999
		p.grow(1)
		p.now = 5000
		p.read(0, delivery(0, due(x, 2000, "1.0.0")))
	}},
	"early: by the record's timestamp": {ErrEarly, func(p *play) {
		x := until("x", 2000)
		p.ack(p.send(x), -1)
		p.now = 2000
		p.store(1, delivery(0, atMs(due(x, 2000, "1.0.0"), 1999)))
	}},
	"early: a delay that is counted from the record's timestamp": {ErrContent, func(p *play) {
		x := after("x", 500)
		p.ack(p.send(x), -1)
		p.now = 1500
		p.store(1, delivery(0, due(x, x.TimestampMs+500, "1.0.0")))
	}},
	"scheduled-for: another time than was asked for": {ErrContent, func(p *play) {
		x := until("x", 2000)
		p.ack(p.send(x), -1)
		p.now = 2001
		p.store(1, delivery(0, due(x, 2001, "1.0.0")))
	}},
	"scheduled-for: the time of a retry that the server knew for a duplicate": {ErrContent, func(p *play) {
		x := after("x", 500)
		b := p.send(x)
		p.ack(b, -1)
		p.now = 1100
		p.o.Offer(b, p.now, true)
		p.now = 1600
		p.store(1, delivery(0, due(x, 1600, "1.0.0")))
	}},
	"created-at: another time than the producer's": {ErrContent, func(p *play) {
		x := until("x", 2000)
		p.ack(p.send(x), -1)
		p.now = 2000
		s := due(x, 2000, "1.0.0")
		s.headers[2].Value = []byte("2000")
		p.store(1, delivery(0, s))
	}},
	"back: the timestamps of deliveries": {ErrWentBack, func(p *play) {
		x, y := until("x", 2000), until("y", 2001)
		p.ack(p.send(x, y), -1)
		p.now = 3000
		p.store(2, delivery(0, atMs(due(x, 2000, "1.0.0"), 3000)), delivery(1, due(y, 2001, "1.1.0")))
	}},
}

// atMs gives a record another timestamp.
func atMs(s shownRecord, ms int64) shownRecord {
	s.timestampMs = ms
	return s
}

// shownNow is the delivery of a plain record that was staged because its batch was.
func shownNow(r *Record, position string) shownRecord {
	s := shown(r)
	s.headers = append(s.headers[:len(s.headers):len(s.headers)], Header{headerPosition, []byte(position)})
	return s
}
