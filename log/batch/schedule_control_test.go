package batch

import (
	"bytes"
	"errors"
	"math"
	"math/bits"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

const aTime = "1767225600000"

// sound is a value that each control header takes alone or beside others.
var sound = map[string]string{
	HeaderScheduleTs: aTime, HeaderScheduleDelay: "5s", HeaderScheduleID: "order-7",
	HeaderScheduleCancel: "order-7", HeaderScheduleExpireTs: "1767225600001",
	HeaderScheduleCron: "30 9 * * MON-FRI", HeaderScheduleEvery: "1m", HeaderScheduleTz: "Europe/Berlin",
	HeaderScheduleCount: "3", HeaderScheduleUntil: "1767225600001", HeaderMessageID: "m-1",
}

func soundHeaders(names ...string) (hs []Header) {
	for _, name := range names {
		hs = append(hs, Header{name, []byte(sound[name])})
	}
	return hs
}

func TestControlAccepts(t *testing.T) {
	const due, end = 1_767_225_600_000, 1_767_225_600_001
	id, cron, tz := []byte("order-7"), []byte("30 9 * * MON-FRI"), []byte("Europe/Berlin")
	for _, c := range []struct {
		names []string
		want  Control
	}{
		{[]string{HeaderScheduleID}, Control{ID: id}},
		{[]string{HeaderMessageID}, Control{MessageID: []byte("m-1")}},
		{[]string{HeaderScheduleExpireTs}, Control{HasExpire: true, Expire: end}},
		{[]string{HeaderScheduleCancel}, Control{Cancel: id}},
		{[]string{HeaderScheduleCancel, HeaderMessageID}, Control{Cancel: id, MessageID: []byte("m-1")}},
		{[]string{HeaderScheduleTs, HeaderScheduleID}, Control{HasTs: true, Due: due, ID: id}},
		{
			[]string{HeaderScheduleExpireTs, HeaderMessageID, HeaderScheduleDelay, HeaderScheduleID},
			Control{
				HasDelay: true, Delay: 5 * time.Second, ID: id, MessageID: []byte("m-1"),
				HasExpire: true, Expire: end,
			},
		},
		{[]string{HeaderScheduleCron}, Control{Cron: cron}},
		{[]string{HeaderScheduleTz, HeaderScheduleCron}, Control{Cron: cron, Tz: tz}},
		{
			[]string{
				HeaderScheduleCount, HeaderScheduleUntil, HeaderScheduleCron, HeaderScheduleTz,
				HeaderScheduleID, HeaderMessageID,
			},
			Control{
				Cron: cron, Tz: tz, HasCount: true, Count: 3, HasUntil: true, Until: end, ID: id,
				MessageID: []byte("m-1"),
			},
		},
		{[]string{HeaderScheduleEvery}, Control{Every: time.Minute}},
		{[]string{HeaderScheduleEvery, HeaderScheduleTs}, Control{Every: time.Minute, HasTs: true, Due: due}},
		{
			[]string{HeaderScheduleDelay, HeaderScheduleEvery, HeaderScheduleUntil},
			Control{Every: time.Minute, HasDelay: true, Delay: 5 * time.Second, HasUntil: true, Until: end},
		},
	} {
		got, present, err := controlOf(t, ControlNames{}, soundHeaders(c.names...)...)
		if err != nil || !present || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %+v, %v, %v", c.names, got, present, err)
		}
	}
}

func TestEveryAndCountAccept(t *testing.T) {
	for v, want := range map[string]time.Duration{
		"100": MinEvery, "100ms": MinEvery, "99.1ms": MinEvery, "PT1M": time.Minute, "P1D": 24 * time.Hour,
		"1h30m": 90 * time.Minute, "999999999999": 999_999_999_999 * time.Millisecond,
	} {
		c, _, err := controlOf(t, ControlNames{}, Header{HeaderScheduleEvery, []byte(v)})
		if err != nil || c.Every != want || !c.Recurs() {
			t.Errorf("every %q: %+v, %v", v, c, err)
		}
	}
	for v, want := range map[string]int32{"1": 1, "007": 7, "2147483647": math.MaxInt32} {
		c, _, err := controlOf(t, ControlNames{}, Header{HeaderScheduleEvery, []byte("1m")},
			Header{HeaderScheduleCount, []byte(v)})
		if err != nil || c.Count != want || !c.HasCount {
			t.Errorf("count %q: %+v, %v", v, c, err)
		}
	}
}

func TestControlValuesRefused(t *testing.T) {
	long := strings.Repeat("x", maxIDBytes+1)
	for _, c := range []struct{ name, v, text string }{
		{HeaderScheduleID, "", "has no value; write 1 to 255 bytes"},
		{HeaderScheduleID, long, "has 256 bytes; write 1 to 255"},
		{HeaderScheduleCancel, "", "has no value"},
		{HeaderScheduleCancel, long, "has 256 bytes"},
		{HeaderMessageID, "", "has no value"},
		{HeaderMessageID, long, "has 256 bytes"},
		{HeaderScheduleExpireTs, "", "has no value; write milliseconds"},
		{HeaderScheduleExpireTs, "1700000000", "looks like Unix seconds"},
		{HeaderScheduleExpireTs, "90s", `"90s" is a duration, and this is a point in time; write milliseconds`},
		{HeaderScheduleExpireTs, "PT5M", "is a duration, and this is a point in time"},
		{HeaderScheduleUntil, "tomorrow", `"tomorrow" is not a time`},
		{HeaderScheduleUntil, "-5s", "is a duration, and this"},
		{HeaderScheduleUntil, "0", "early 1970"},
		{HeaderScheduleCron, "", "has no value; write a cron like"},
		{HeaderScheduleTz, "", "has no value; write an IANA zone"},
		{HeaderScheduleEvery, "", "has no value; write milliseconds"},
		{HeaderScheduleEvery, "0", `"0" is below the shortest interval; write 100ms or more`},
		{HeaderScheduleEvery, "99ms", "is below the shortest"},
		{HeaderScheduleEvery, "60", "is below the shortest"}, // Seconds were meant.
		{HeaderScheduleEvery, "-1s", "is negative; write milliseconds"},
		{HeaderScheduleEvery, "1d", "P1D"},
		{HeaderScheduleEvery, "*/5 * * * *", "is not a duration"},
		{HeaderScheduleCount, "", "has no value; write a number from 1"},
		{HeaderScheduleCount, "0", `"0" would deliver nothing; write a number`},
		{HeaderScheduleCount, "000", "would deliver nothing"},
		{HeaderScheduleCount, "-1", "is not a whole number"},
		{HeaderScheduleCount, "+1", "is not a whole number"},
		{HeaderScheduleCount, "1.0", "is not a whole number"},
		{HeaderScheduleCount, "ten", "is not a whole number"},
		{HeaderScheduleCount, "2147483648", "is too large"},
		{HeaderScheduleCount, "18446744073709551617", "is too large"}, // 1 if it wrapped.
		{HeaderScheduleCount, strings.Repeat("9", 10_000), "is too large"},
	} {
		refused(t, c.name, c.v, c.text)
	}
}

func TestControlContradictions(t *testing.T) {
	for _, c := range []struct {
		names  []string
		header string
		text   string
	}{
		{[]string{HeaderScheduleCron, HeaderScheduleTs}, HeaderScheduleTs, "comes with chronos-schedule-cron; write one"},
		{[]string{HeaderScheduleTs, HeaderScheduleCron}, HeaderScheduleCron, "comes with chronos-schedule-ts; write one"},
		{[]string{HeaderScheduleDelay, HeaderScheduleCron}, HeaderScheduleCron, "with chronos-schedule-delay; write one"},
		{[]string{HeaderScheduleEvery, HeaderScheduleCron}, HeaderScheduleEvery, "with chronos-schedule-cron; write one"},
		{[]string{HeaderScheduleTz}, HeaderScheduleTz, "comes without chronos-schedule-cron"},
		{[]string{HeaderScheduleTz, HeaderScheduleEvery}, HeaderScheduleTz, "comes without chronos-schedule-cron"},
		{[]string{HeaderScheduleTs, HeaderScheduleTz}, HeaderScheduleTz, "write the zone into the time"},
		{[]string{HeaderScheduleCount}, HeaderScheduleCount, "write chronos-schedule-cron or chronos-schedule-every"},
		{[]string{HeaderScheduleDelay, HeaderScheduleCount}, HeaderScheduleCount, "comes without a recurrence"},
		{[]string{HeaderScheduleTs, HeaderScheduleUntil}, HeaderScheduleUntil, "comes without a recurrence"},
		{[]string{HeaderScheduleExpireTs, HeaderScheduleCron}, HeaderScheduleExpireTs, "write chronos-schedule-until"},
		{[]string{HeaderScheduleEvery, HeaderScheduleExpireTs}, HeaderScheduleExpireTs, "write chronos-schedule-until"},
	} {
		checkRefusal(t, ControlNames{}, soundHeaders(c.names...), c.header, c.text)
	}
	for _, name := range controlHeaders {
		if name != HeaderScheduleCancel && name != HeaderMessageID {
			checkRefusal(t, ControlNames{}, soundHeaders(name, HeaderScheduleCancel), HeaderScheduleCancel,
				"comes with "+name+"; write the cancel in a record of its own")
		}
		checkRefusal(t, ControlNames{}, soundHeaders(name, name), name, "is there twice; write it once")
	}
}

func TestTopicsOwnHeaderContradicts(t *testing.T) {
	own := Header{"due-at", []byte(aTime)}
	for _, c := range []struct{ other, header string }{
		{HeaderScheduleCron, HeaderScheduleCron},
		{HeaderScheduleCancel, HeaderScheduleCancel},
	} {
		hs := append([]Header{own}, soundHeaders(c.other)...)
		checkRefusal(t, ControlNames{Ts: "due-at"}, hs, c.header, "comes with due-at; write")
	}
	c, _, err := controlOf(t, ControlNames{Ts: "due-at"}, own, Header{HeaderScheduleEvery, []byte("1s")})
	if err != nil || !c.HasTs || c.Every != time.Second {
		t.Errorf("with every: %+v, %v", c, err)
	}
}

func checkRefusal(t *testing.T, names ControlNames, hs []Header, header, text string) {
	t.Helper()
	_, present, err := controlOf(t, names, hs...)
	ce := (*ControlError)(nil)
	if !present || !errors.As(err, &ce) || ce.Header != header || !strings.Contains(ce.Reason, text) {
		t.Errorf("%q: %v, want %s: %s", hs, err, header, text)
		return
	}
	checkSentence(t, err)
}

// TestControlCombinations takes every set of control headers in any order. Which sets are sound is
// said here a second time, in other words.
func TestControlCombinations(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for set := range controlKind(1) << len(controlHeaders) {
		var names []string
		for i, name := range controlHeaders {
			if set>>i&1 != 0 {
				names = append(names, name)
			}
		}
		rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		has := func(name string) bool { return set&kindIn(name) != 0 }
		recurs := has(HeaderScheduleCron) || has(HeaderScheduleEvery)
		times := bits.OnesCount16(uint16(set & (kindTs | kindDelay | kindCron)))
		isSound := times <= 1 && !(has(HeaderScheduleCron) && has(HeaderScheduleEvery)) &&
			(has(HeaderScheduleCron) || !has(HeaderScheduleTz)) &&
			(recurs || !has(HeaderScheduleCount) && !has(HeaderScheduleUntil)) &&
			!(recurs && has(HeaderScheduleExpireTs)) &&
			(!has(HeaderScheduleCancel) || set&^(kindCancel|kindMessageID) == 0)
		c, present, err := controlOf(t, ControlNames{}, soundHeaders(names...)...)
		if (err == nil) != isSound || present != (set != 0) {
			t.Errorf("%q: %+v, %v, sound is %v", names, c, err, isSound)
		}
		if err != nil {
			checkSentence(t, err)
		}
	}
}

func kindIn(name string) controlKind { return ControlNames{}.kindOf([]byte(name)) }

func TestControlHeadersAndKindsAgree(t *testing.T) {
	for i, name := range controlHeaders {
		if kind := kindIn(name); kind != 1<<i || kind.header() != name || !IsControlHeader([]byte(name)) {
			t.Errorf("%s is kind %b, whose name is %s", name, kind, kind.header())
		}
	}
}

func TestUnknownHeaderSuggestsAKnownOne(t *testing.T) {
	for name, want := range map[string]string{
		"chronos-schedule-delays":                         HeaderScheduleDelay,
		"chronos-schedule-dealy":                          HeaderScheduleDelay,
		"chronos-schedule-Delay":                          HeaderScheduleDelay,
		"chronos-schedule-expire":                         HeaderScheduleExpireTs,
		"chronos-schedule-expires-ts":                     HeaderScheduleExpireTs,
		"chronos-schedule-expire_ts":                      HeaderScheduleExpireTs,
		"chronos-schedule-corn":                           HeaderScheduleCron,
		"chronos-schedule-evry":                           HeaderScheduleEvery,
		"chronos-schedule-cancle":                         HeaderScheduleCancel,
		"chronos-schedule-tx":                             HeaderScheduleTs,
		"chronos-schedule-counts":                         HeaderScheduleCount,
		"chronos-schedule-message-id":                     HeaderMessageID,
		"chronos-schedule-till":                           "", // Three slips from until.
		"chronos-schedule-xx":                             "",
		"chronos-schedule-":                               "",
		"chronos-schedule-after":                          "",
		"chronos-schedule-scheduled-for":                  "",
		"chronos-schedule-\xff\xff":                       "",
		"chronos-schedule-deliver-at-utc":                 "",
		"chronos-schedule-" + strings.Repeat("d", 10_000): "",
	} {
		text := "is not a known header; write " + want
		_, _, err := controlOf(t, ControlNames{}, Header{name, []byte(aTime)})
		ce := (*ControlError)(nil)
		if !errors.As(err, &ce) || want != "" && ce.Reason != text ||
			want == "" && !strings.HasPrefix(ce.Reason, text+"chronos-schedule-ts or ") {
			t.Errorf("%.80q: %v, want %q", name, err, want)
			continue
		}
		checkSentence(t, err)
	}
}

func TestControlAliasesTheRecord(t *testing.T) {
	id := bytes.Repeat([]byte{0, 0xff, 'x', '"', '\n'}, 51) // All 255 bytes, of any kind.
	c, _, err := controlOf(t, ControlNames{}, Header{HeaderScheduleID, id}, Header{HeaderMessageID, id[:1]})
	if err != nil || !bytes.Equal(c.ID, id) || !bytes.Equal(c.MessageID, id[:1]) {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestControlCheck(t *testing.T) {
	const now = 1000
	expire := func(c Control, at UnixMs) Control {
		c.HasExpire, c.Expire = true, at
		return c
	}
	until := func(c Control, at UnixMs) Control {
		c.HasUntil, c.Until = true, at
		return c
	}
	ts := func(due UnixMs) Control { return Control{HasTs: true, Due: due} }
	delay := Control{HasDelay: true, Delay: 500 * time.Millisecond}
	every := Control{Every: 500 * time.Millisecond}
	everyFrom := Control{Every: 500 * time.Millisecond, HasTs: true, Due: 2000}
	cron := Control{Cron: []byte("* * * * *")}
	for _, c := range []struct {
		c      Control
		header string
	}{
		{Control{}, ""},
		{expire(ts(2000), 2001), ""},
		{expire(ts(2000), 2000), HeaderScheduleExpireTs},
		{expire(ts(2000), 1500), HeaderScheduleExpireTs},
		{expire(ts(2000), 10), HeaderScheduleExpireTs},
		{expire(ts(500), 400), HeaderScheduleExpireTs}, // It was wrong when it was written.
		{expire(ts(500), 600), ""},                     // It came too late: expired, not wrong.
		{expire(Control{}, 999), ""},
		{expire(Control{}, 1000), ""},
		{expire(Control{}, 1001), ""},
		{expire(delay, 1500), HeaderScheduleExpireTs},
		{expire(delay, 1501), ""},
		{expire(delay, 1001), HeaderScheduleExpireTs},
		{expire(delay, 1000), ""},
		{until(every, 1500), ""},
		{until(every, 1499), HeaderScheduleUntil},
		{until(every, 1000), ""},
		{until(everyFrom, 1999), HeaderScheduleUntil},
		{until(everyFrom, 100), HeaderScheduleUntil},
		{until(everyFrom, 2000), ""},
		{until(cron, 1001), ""}, // The caller knows the first time.
		{until(cron, 10), ""},
	} {
		err := c.c.Check(now)
		ce := (*ControlError)(nil)
		if errors.As(err, &ce) != (c.header != "") || ce != nil && ce.Header != c.header {
			t.Errorf("%+v: %v, want a refusal of %q", c.c, err, c.header)
		}
		if err != nil {
			checkSentence(t, err)
		}
	}
}
