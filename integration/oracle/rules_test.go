package oracle

import (
	"slices"
)

var offsetPlays = plays{
	"offset: it holds another record than before": {ErrChanged, func(p *play) {
		a, b := plain("a"), plain("b")
		p.send(a)
		p.send(b)
		p.store(1, direct(0, shown(a)))
		p.read(0, direct(0, shown(b)))
	}},
	"offset: it holds another header than before": {ErrChanged, func(p *play) {
		a := plain("a")
		p.send(a)
		p.store(1, direct(0, shown(a)))
		s := shown(a)
		s.headers = nil
		p.read(0, direct(0, s))
	}},
	"offset: it holds another record after a crash": {ErrChanged, func(p *play) {
		a, b := plain("a"), plain("b")
		p.send(a)
		p.send(b)
		p.store(1, direct(0, shown(a)))
		p.open(1, 1)
		p.read(0, direct(0, shown(b)))
	}},
	"gap: between two batches": {ErrNotDense, func(p *play) {
		a, b := plain("a"), plain("b")
		p.send(a)
		p.send(b)
		p.store(3, direct(0, shown(a)), direct(2, shown(b)))
	}},
	"gap: behind the offset that was asked for": {ErrNotDense, func(p *play) {
		a := plain("a")
		p.send(a)
		p.store(2, direct(1, shown(a)))
	}},
	"overlap: of two batches": {ErrNotDense, func(p *play) {
		a, b := plain("a"), plain("b")
		p.send(a)
		p.send(b)
		p.store(2, direct(0, shown(a)), direct(0, shown(b)))
	}},
	"back: the high watermark while the server runs": {ErrWentBack, func(p *play) {
		p.send(plain("a"))
		p.grow(1)
		p.hw = 0
		p.event(p.o.Observe(0, p.marks()))
	}},
	"back: the log's end while the server runs": {ErrWentBack, func(p *play) {
		p.send(plain("a"))
		p.grow(1)
		p.grow(0)
	}},
	"back: the log's start": {ErrWentBack, func(p *play) {
		a := plain("a")
		p.send(a)
		p.store(1, direct(0, shown(a)))
		p.retain(1)
		p.retain(0)
	}},
	"back: the leader epoch does not rise with a start": {ErrWentBack, func(p *play) {
		p.epoch--
		p.open(0, 0)
	}},
}

var orderPlays = plays{
	"order: two plain batches change places": {ErrOrder, func(p *play) {
		a, b := plain("a"), plain("b")
		p.send(a)
		p.send(b)
		p.store(2, direct(0, shown(b)), direct(1, shown(a)))
	}},
	"order: two records of a batch change places": {ErrOrder, func(p *play) {
		a, b := plain("a"), plain("b")
		p.send(a, b)
		p.store(2, direct(0, shown(b), shown(a)))
	}},
	"order: a record due at once comes after a later plain one": {ErrOrder, func(p *play) {
		x, a := until("x", 900), plain("a")
		p.send(x)
		p.send(a)
		p.store(2, direct(0, shown(a)), delivery(1, atMs(due(x, 900, "1.0.0"), 1000)))
	}},
	"order: a delivery comes before a plain record of an earlier batch": {ErrOrder, func(p *play) {
		a, x := plain("a"), until("x", 900)
		p.send(a)
		p.send(x)
		p.store(2, delivery(0, atMs(due(x, 900, "1.0.0"), 1000)), direct(1, shown(a)))
	}},
	"hole: a plain batch is there, the one before it is not": {ErrHole, func(p *play) {
		a, b := plain("a"), plain("b")
		p.send(a)
		p.send(b)
		p.store(1, direct(0, shown(b)))
		p.event(p.o.Finish())
	}},
	"hole: a delivery is there, the plain batch before it is not": {ErrHole, func(p *play) {
		a, x := plain("a"), until("x", 900)
		p.send(a)
		p.send(x)
		p.store(1, delivery(0, atMs(due(x, 900, "1.0.0"), 1000)))
		p.event(p.o.Finish())
	}},
	"hole: half a batch is there": {ErrHole, func(p *play) {
		a, b := plain("a"), plain("b")
		p.send(a, b)
		p.store(1, direct(0, shown(a)))
		p.event(p.o.Finish())
	}},
	"due order: what is due later comes first although both were armed": {ErrDueOrder, func(p *play) {
		x, y := until("x", 2000), until("y", 1500)
		p.ack(p.send(x), -1)
		p.ack(p.send(y), -1)
		p.now = 2000
		p.store(1, delivery(0, due(x, 2000, "1.0.0")))
		p.store(1, delivery(1, atMs(due(y, 1500, "1.1.0"), 2000)))
	}},
	"due order: two of the same time change places": {ErrDueOrder, func(p *play) {
		x, y := until("x", 2000), until("y", 2000)
		p.ack(p.send(x), -1)
		p.ack(p.send(y), -1)
		p.now = 2000
		p.store(2, delivery(0, due(y, 2000, "1.1.0"), due(x, 2000, "1.0.0")))
	}},
}

var answerPlays = plays{
	"duplicate: it is answered with another offset": {ErrAnswer, func(p *play) {
		a, b := plain("a"), plain("b")
		first := p.send(a)
		p.send(b)
		p.store(2, direct(0, shown(a)), direct(1, shown(b)))
		p.ack(first, 0)
		p.ack(first, 1)
	}},
	"duplicate: one that was staged is answered with an offset": {ErrAnswer, func(p *play) {
		b := p.send(until("x", 2000))
		p.ack(b, -1)
		p.ack(b, 0)
	}},
	"answer: the offset of another record": {ErrAnswer, func(p *play) {
		a, b := plain("a"), plain("b")
		first := p.send(a)
		p.send(b)
		p.store(2, direct(0, shown(a)), direct(1, shown(b)))
		p.ack(first, 1)
	}},
	"answer: above the high watermark": {ErrAnswer, func(p *play) {
		p.ack(p.send(plain("a")), 0)
	}},
	"answer: before a record that is due at once is shown": {ErrAnswer, func(p *play) {
		p.ack(p.send(until("x", 900)), -1)
	}},
	"answer: a plain batch as if it were staged": {ErrAnswer, func(p *play) {
		p.ack(p.send(plain("a")), -1)
	}},
	"answer: a scheduled batch as if it were plain": {ErrAnswer, func(p *play) {
		p.ack(p.send(until("x", 2000)), 0)
	}},
	"answer: a refused batch is acknowledged": {ErrAnswer, func(p *play) {
		b := p.send(until("x", 2000))
		p.event(p.o.Refuse(b))
		p.ack(b, -1)
	}},
	"answer: an acknowledged batch is refused": {ErrAnswer, func(p *play) {
		b := p.send(until("x", 2000))
		p.ack(b, -1)
		p.event(p.o.Refuse(b))
	}},
	"answer: a fetch goes above the high watermark": {ErrAnswer, func(p *play) {
		a := plain("a")
		p.send(a)
		p.step = p.o.Step()
		p.end = 1
		p.event(p.o.Observe(0, p.marks()))
		p.read(0, direct(0, shown(a)))
	}},
	"answer: the high watermark is above the log's end": {ErrAnswer, func(p *play) {
		p.hw = 1
		p.event(p.o.Observe(0, p.marks()))
	}},
}

var contentPlays = plays{
	"content: another key": {ErrContent, func(p *play) {
		a := plain("a")
		p.send(a)
		s := shown(a)
		s.key = []byte("other")
		p.store(1, direct(0, s))
	}},
	"content: an empty key for none": {ErrContent, func(p *play) {
		a := plain("a")
		a.Key = nil
		p.send(a)
		s := shown(a)
		s.key = []byte{}
		p.store(1, direct(0, s))
	}},
	"content: a header is missing": {ErrContent, func(p *play) {
		a := plain("a")
		p.send(a)
		s := shown(a)
		s.headers = nil
		p.store(1, direct(0, s))
	}},
	"content: another timestamp": {ErrContent, func(p *play) {
		a := plain("a")
		p.send(a)
		p.store(1, direct(0, atMs(shown(a), 901)))
	}},
	"content: a control header is delivered": {ErrContent, func(p *play) {
		x := until("x", 2000)
		p.ack(p.send(x), -1)
		p.now = 2000
		s := due(x, 2000, "1.0.0")
		s.headers = slices.Insert(s.headers, 1, x.Headers[1])
		p.store(1, delivery(0, s))
	}},
	"content: a scheduled record goes to the partition log at once": {ErrContent, func(p *play) {
		x := until("x", 2000)
		p.send(x)
		p.store(1, direct(0, shown(x)))
	}},
	"content: a plain record with a mark": {ErrContent, func(p *play) {
		a := plain("a")
		p.send(a)
		p.store(1, delivery(0, shownNow(a, "1.0.0")))
	}},
	"content: a leader epoch that has not begun": {ErrContent, func(p *play) {
		a := plain("a")
		p.send(a)
		raw := direct(0, shown(a))
		raw[15] = 2 // the last byte of the leader epoch, which the CRC does not cover
		p.store(1, raw)
	}},
	"position: one for two deliveries": {ErrPosition, func(p *play) {
		x, y := until("x", 2000), until("y", 2000)
		p.ack(p.send(x, y), -1)
		p.now = 2000
		p.store(2, delivery(0, due(x, 2000, "1.0.0"), due(y, 2000, "1.0.0")))
	}},
	"position: malformed": {ErrPosition, func(p *play) {
		x := until("x", 2000)
		p.ack(p.send(x), -1)
		p.now = 2000
		p.store(1, delivery(0, due(x, 2000, "1.0")))
	}},
	"position: missing": {ErrPosition, func(p *play) {
		x := until("x", 2000)
		p.ack(p.send(x), -1)
		p.now = 2000
		s := due(x, 2000, "1.0.0")
		s.headers = s.headers[:len(s.headers)-1]
		p.store(1, delivery(0, s))
	}},
	"batch: a flipped bit": {ErrBadBatch, func(p *play) {
		a := plain("a")
		p.send(a)
		raw := direct(0, shown(a))
		raw[len(raw)-1] ^= 1
		p.store(1, raw)
	}},
	"batch: cut short": {ErrBadBatch, func(p *play) {
		a := plain("a")
		p.send(a)
		raw := direct(0, shown(a))
		p.store(1, raw[:len(raw)-1])
	}},
	"batch: it says more records than it has": {ErrBadBatch, func(p *play) {
		a := plain("a")
		p.send(a)
		raw := direct(0, shown(a))
		raw[headBytes-1] = 2
		p.store(1, seal(raw))
	}},
	"test mistake: two records with one value": {ErrUnreadKey, func(p *play) {
		p.send(plain("a"))
		p.send(plain("a"))
	}},
}
