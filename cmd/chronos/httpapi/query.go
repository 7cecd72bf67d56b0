package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// query are the parameters of a request, each of which is known and there once.
type query url.Values

// readQuery takes the named parameters. A slip in a name must not widen what an order is about.
func readQuery(r *http.Request, known []string) (query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalidf("the query cannot be read: %v", err)
	}
	for name, all := range values {
		switch {
		case len(known) == 0:
			return nil, invalidf("there is no parameter %.40q here, nor any other", name)
		case !slices.Contains(known, name):
			return nil, invalidf("there is no parameter %.40q here; there are %s", name,
				strings.Join(known, ", "))
		case len(all) > 1:
			return nil, invalidf("parameter %s is there %d times; give it once", name, len(all))
		}
	}
	return query(values), nil
}

// text returns a parameter, nil when it is absent. An empty one is refused but where it means
// something, as for a key.
func (q query) text(name string, mayBeEmpty bool) (*string, error) {
	all := q[name]
	if len(all) == 0 {
		return nil, nil
	}
	if all[0] == "" && !mayBeEmpty {
		return nil, invalidf("parameter %s has no value; leave it out", name)
	}
	return &all[0], nil
}

// filter reads filterQuery.
func (q query) filter() (f filterBody, err error) {
	text := func(name string) (p *string) {
		if err == nil {
			p, err = q.text(name, strings.HasPrefix(name, "key"))
		}
		return p
	}
	if t := text("topic"); t != nil {
		f.Topic = *t
	}
	f.Partition = text32(text("partition"), "partition", &err)
	f.Key, f.KeyBase64 = text("key"), text("key_base64")
	f.ID, f.IDBase64 = text("id"), text("id_base64")
	f.DueFrom = textMoment(text("due_from"), "due_from", &err)
	f.DueTo = textMoment(text("due_to"), "due_to", &err)
	f.Limit = text32(text("limit"), "limit", &err)
	if t := text("cursor"); t != nil {
		f.Cursor = *t
	}
	return f, err
}

// text32 reads a number, unless an earlier parameter is wrong.
func text32(text *string, name string, err *error) *int32 {
	if text == nil || *err != nil {
		return nil
	}
	n, parseErr := strconv.ParseInt(*text, 10, 32)
	if parseErr != nil {
		*err = invalidf("%s is %.40q; want a whole number", name, *text)
		return nil
	}
	n32 := int32(n)
	return &n32
}

// textMoment reads a point in time, unless an earlier parameter is wrong.
func textMoment(text *string, name string, err *error) *moment {
	if text == nil || *err != nil {
		return nil
	}
	ms, parseErr := ParseMoment(*text)
	if parseErr != nil {
		*err = invalidf("%s: %v", name, parseErr)
		return nil
	}
	m := moment(ms)
	return &m
}
