package httpapi

import (
	"encoding/base64"
	"unicode/utf8"
)

// Octets are bytes that a client chose, in JSON: as text where they are UTF-8, else in base64. Both
// are absent for null.
type Octets struct {
	Text   *string
	Base64 *string
}

// octetsOf says bytes in the form that they have.
func octetsOf(p []byte) Octets {
	switch {
	case p == nil:
		return Octets{}
	case utf8.Valid(p):
		text := string(p)
		return Octets{Text: &text}
	default:
		text := base64.StdEncoding.EncodeToString(p)
		return Octets{Base64: &text}
	}
}

// Bytes reads what octetsOf wrote; nil for null. An error names what it is about.
func (o Octets) Bytes(name string) ([]byte, error) {
	switch {
	case o.Text != nil && o.Base64 != nil:
		return nil, invalidf("%s and %s_base64 are two names for one thing; give one", name, name)
	case o.Text != nil:
		return []byte(*o.Text), nil
	case o.Base64 == nil:
		return nil, nil
	}
	p, err := base64.StdEncoding.DecodeString(*o.Base64)
	if err != nil {
		return nil, invalidf("%s_base64 is not standard base64 with padding", name)
	}
	return p, nil
}
