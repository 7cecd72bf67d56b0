package batch

import "fmt"

// Codec is a compression of the records of a batch, as in attribute bits 0 to 2.
type Codec int8

// The codecs of Kafka. Snappy is written with xerial framing, as Java does, and read
// with or without it.
const (
	None Codec = iota
	Gzip
	Snappy
	Lz4
	Zstd
)

// String returns Kafka's name of the codec, as in compression.type.
func (c Codec) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case Lz4:
		return "lz4"
	case Zstd:
		return "zstd"
	default:
		return fmt.Sprintf("codec(%d)", int8(c))
	}
}

// ParseCodec returns the codec of that name. Besides the names of String it takes
// "uncompressed", which compression.type uses for None.
func ParseCodec(name string) (Codec, error) {
	switch name {
	case "none", "uncompressed":
		return None, nil
	case "gzip":
		return Gzip, nil
	case "snappy":
		return Snappy, nil
	case "lz4":
		return Lz4, nil
	case "zstd":
		return Zstd, nil
	default:
		return None, invalid("codec %q; write none, gzip, snappy, lz4 or zstd", name)
	}
}
