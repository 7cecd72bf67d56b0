package timer

import (
	"cmp"
	"fmt"
	"strconv"

	"github.com/chronosdb/chronosdb/log/batch"
)

// Occurrence counts the deliveries of one recurring record from 0. It is 0 for all others.
type Occurrence int32

// Position names one delivery and is never used twice: the leader epoch rises at every start, and
// an epoch gives an offset of the staging log only once.
type Position struct {
	Epoch      batch.LeaderEpoch // leader epoch of the staged batch
	Offset     batch.Offset      // offset in the staging log
	Occurrence Occurrence
}

// first returns the position of the record's first delivery, under which the index keeps its place.
func (p Position) first() Position {
	p.Occurrence = 0
	return p
}

// Compare orders positions by epoch, offset and occurrence.
func (p Position) Compare(o Position) int {
	if c := cmp.Compare(p.Epoch, o.Epoch); c != 0 {
		return c
	}
	if c := cmp.Compare(p.Offset, o.Offset); c != 0 {
		return c
	}
	return cmp.Compare(p.Occurrence, o.Occurrence)
}

// String returns the position as the header chronos-position has it.
func (p Position) String() string { return string(p.AppendText(nil)) }

// AppendText appends what String returns to dst.
func (p Position) AppendText(dst []byte) []byte {
	dst = strconv.AppendInt(dst, int64(p.Epoch), 10)
	dst = append(dst, '.')
	dst = strconv.AppendInt(dst, int64(p.Offset), 10)
	dst = append(dst, '.')
	return strconv.AppendInt(dst, int64(p.Occurrence), 10)
}

// ParsePosition reads what AppendText wrote. Only numbers without sign or leading zeros are taken,
// so that each position has one text.
func ParsePosition(text []byte) (Position, error) {
	epoch, rest, ok1 := cutNumber(text, 1<<31-1)
	offset, rest, ok2 := cutNumber(rest, 1<<63-1)
	occurrence, rest, ok3 := cutNumber(rest, 1<<31-1)
	dots := 0
	for _, c := range text {
		if c == '.' {
			dots++
		}
	}
	if !ok1 || !ok2 || !ok3 || len(rest) != 0 || dots != 2 {
		return Position{}, fmt.Errorf("%w: %.40q is not <epoch>.<offset>.<occurrence>",
			ErrBadDelivery, text)
	}
	return Position{
		Epoch:      batch.LeaderEpoch(epoch),
		Offset:     batch.Offset(offset),
		Occurrence: Occurrence(occurrence),
	}, nil
}

// cutNumber reads a decimal number of at most limit and the dot behind it, if there is one.
func cutNumber(text []byte, limit uint64) (n uint64, rest []byte, ok bool) {
	i := 0
	for ; i < len(text) && text[i] != '.'; i++ {
		d := uint64(text[i] - '0')
		if d > 9 || n > (limit-d)/10 {
			return 0, nil, false
		}
		n = n*10 + d
	}
	if i == 0 || (i > 1 && text[0] == '0') {
		return 0, nil, false
	}
	if i < len(text) {
		i++
	}
	return n, text[i:], true
}
