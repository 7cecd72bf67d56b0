package httpapi

import (
	"strconv"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/timer"
)

// Schedule is one pending record as JSON. Times are Unix milliseconds.
type Schedule struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Position  string `json:"position"` // its name, with topic and partition
	State     string `json:"state"`    // "pending", or "delivering" once it is too late to steer it

	Due        string       `json:"due,omitempty"` // for a person; absent beyond the year 9999
	DueMs      timer.UnixMs `json:"due_ms"`
	AppendedMs timer.UnixMs `json:"appended_ms"` // when the server accepted it
	CreatedMs  timer.UnixMs `json:"created_ms"`  // its producer's timestamp
	ExpireMs   timer.UnixMs `json:"expire_ms,omitempty"`

	ID        *string `json:"id,omitempty"`
	IDBase64  *string `json:"id_base64,omitempty"`
	Key       *string `json:"key,omitempty"`
	KeyBase64 *string `json:"key_base64,omitempty"`

	Recurrence *Recurrence `json:"recurrence,omitempty"`

	Bytes       int32    `json:"bytes"` // of key and value
	Value       *string  `json:"value,omitempty"`
	ValueBase64 *string  `json:"value_base64,omitempty"`
	Headers     []Header `json:"headers,omitempty"`
}

// Recurrence says when a record comes again.
type Recurrence struct {
	Cron    string       `json:"cron,omitempty"`
	Tz      string       `json:"tz,omitempty"`
	EveryMs int64        `json:"every_ms,omitempty"`
	Count   int32        `json:"count,omitempty"` // most deliveries
	UntilMs timer.UnixMs `json:"until_ms,omitempty"`
}

// Header is a header of a record.
type Header struct {
	Name        string  `json:"name"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 *string `json:"value_base64,omitempty"`
}

// Page is a part of a list.
type Page struct {
	Schedules  []Schedule `json:"schedules"`
	NextCursor string     `json:"next_cursor,omitempty"` // absent on the last page
}

func scheduleOf(r replication.PendingRecord) Schedule {
	key := octetsOf(r.Key)
	s := Schedule{
		Topic: r.Topic, Partition: r.Partition, Position: r.Position.String(), State: r.State,
		Due: FormatMoment(r.Due), DueMs: r.Due, AppendedMs: r.Appended, CreatedMs: r.Created,
		ExpireMs: r.Expire, Key: key.Text, KeyBase64: key.Base64, Bytes: r.Bytes,
	}
	if r.ID != "" {
		id := octetsOf([]byte(r.ID))
		s.ID, s.IDBase64 = id.Text, id.Base64
	}
	if r.Cron != "" || r.Every > 0 {
		s.Recurrence = &Recurrence{
			Cron: r.Cron, Tz: r.Tz, EveryMs: r.Every.Milliseconds(), Count: r.Count, UntilMs: r.Until,
		}
	}
	return s
}

func headersOf(all []batch.Header) []Header {
	headers := make([]Header, 0, len(all))
	for _, h := range all {
		value := octetsOf(h.Value)
		headers = append(headers, Header{Name: h.Key, Value: value.Text, ValueBase64: value.Base64})
	}
	return headers
}

// listSchedules answers one page of what is pending.
func listSchedules(c *call) (any, error) {
	body, err := c.query.filter()
	if err != nil {
		return nil, err
	}
	f, err := body.filter()
	if err != nil {
		return nil, err
	}
	records, next, err := c.schedules.ListPending(f)
	if err != nil {
		return nil, err
	}
	page := Page{Schedules: make([]Schedule, 0, len(records)), NextCursor: next}
	for _, r := range records {
		page.Schedules = append(page.Schedules, scheduleOf(r))
	}
	return page, nil
}

// getSchedule answers one record with its payload.
func getSchedule(c *call) (any, error) {
	at, err := c.place()
	if err != nil {
		return nil, err
	}
	r, err := c.schedules.GetPending(at.topic, at.partition, at.position)
	if err != nil {
		return nil, err
	}
	s := scheduleOf(r)
	value := octetsOf(r.Value)
	s.Value, s.ValueBase64 = value.Text, value.Base64
	s.Headers = headersOf(r.Headers)
	return s, nil
}

// place names one record.
type place struct {
	topic     string
	partition int32
	position  timer.Position
}

// place reads it from the path.
func (c *call) place() (place, error) {
	r := c.request
	partition, err := strconv.ParseInt(r.PathValue("partition"), 10, 32)
	if err != nil || partition < 0 {
		return place{}, invalidf("%.40q is no partition; they count from 0", r.PathValue("partition"))
	}
	position, err := timer.ParsePosition([]byte(r.PathValue("position")))
	if err != nil {
		return place{}, invalidf("%.60q is no position; one looks like 3.1042.0",
			r.PathValue("position"))
	}
	return place{r.PathValue("topic"), int32(partition), position}, nil
}
