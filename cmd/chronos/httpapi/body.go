package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/timer"
)

// bodyBytesMax bounds a body. The largest that means something has a key of some KiB.
const bodyBytesMax = 64 << 10

// noBody refuses bytes where none are read: they would mean something to whoever sent them.
func noBody(r *http.Request) error {
	var one [1]byte
	n, err := io.ReadFull(r.Body, one[:])
	switch {
	case n > 0:
		return invalidf("%s %s takes no body", r.Method, r.URL.Path)
	case errors.Is(err, io.EOF):
		return nil
	default:
		return invalidf("the request cannot be read")
	}
}

// readBody decodes the body, which is one JSON object of known fields. Asking for the media type
// also keeps forms out, which a page of another site may send without asking.
func readBody(r *http.Request, into any) error {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return problemf(kindMediaType, "send a body of Content-Type application/json")
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	err = decoder.Decode(into)
	var large *http.MaxBytesError
	var own *Problem
	switch {
	case errors.As(err, &large), errors.As(err, &own):
		return err
	case errors.Is(err, io.EOF):
		return invalidf("the body is empty; send a JSON object")
	case err != nil:
		return invalidf("the body is not the JSON that is wanted here: %v", err)
	}
	switch err := decoder.Decode(new(json.RawMessage)); {
	case errors.As(err, &large):
		return err
	case !errors.Is(err, io.EOF):
		return invalidf("there is something behind the JSON object of the body")
	}
	return nil
}

// Bounds of one page.
const (
	limitDefault = 100
	limitMax     = replication.PendingLimitMax
)

// filterBody says which records are meant, in a query and in a body.
type filterBody struct {
	Topic     string  `json:"topic"`
	Partition *int32  `json:"partition"`
	Key       *string `json:"key"`
	KeyBase64 *string `json:"key_base64"`
	ID        *string `json:"id"`
	IDBase64  *string `json:"id_base64"`
	DueFrom   *moment `json:"due_from"`
	DueTo     *moment `json:"due_to"`
	Limit     *int32  `json:"limit"`
	Cursor    string  `json:"cursor"`
}

// filter checks it.
func (b filterBody) filter() (f replication.PendingFilter, err error) {
	f = replication.PendingFilter{Topic: b.Topic, Partition: -1, Limit: limitDefault, Cursor: b.Cursor}
	if b.Partition != nil {
		f.Partition = *b.Partition
		switch {
		case f.Partition < 0:
			return f, invalidf("partition is %d; partitions count from 0", f.Partition)
		case f.Topic == "":
			return f, invalidf("a partition is of a topic; give both")
		}
	}
	if b.Limit != nil {
		f.Limit = int(*b.Limit)
		if f.Limit < 1 || f.Limit > limitMax {
			return f, invalidf("limit is %d; want 1 to %d", f.Limit, limitMax)
		}
	}
	if f.Key, err = (Octets{b.Key, b.KeyBase64}).Bytes("key"); err != nil {
		return f, err
	}
	id, err := Octets{b.ID, b.IDBase64}.Bytes("id")
	if err != nil {
		return f, err
	}
	if id != nil && len(id) == 0 {
		return f, invalidf("an id has a byte or more")
	}
	f.ID = string(id)
	if b.DueFrom != nil {
		f.DueFrom = timer.UnixMs(*b.DueFrom)
	}
	if b.DueTo != nil {
		f.DueTo = timer.UnixMs(*b.DueTo)
		if f.DueTo <= f.DueFrom {
			return f, invalidf("due_to is not after due_from, so nothing can be between them")
		}
	}
	return f, nil
}
