package groups

import (
	"math"
	"unicode/utf16"
)

// PartitionFor returns the partition, of so many, that holds the group: Java's
// String.hashCode (over UTF-16 units) without its sign, modulo partitions, as Kafka
// and its tools compute it. partitions must be positive.
func PartitionFor(groupID string, partitions int32) int32 {
	var h int32
	for _, r := range groupID {
		if hi, lo := utf16.EncodeRune(r); hi != '\uFFFD' {
			h = 31*(31*h+hi) + lo
			continue
		}
		h = 31*h + r
	}
	// The smallest integer has no positive twin; Kafka takes 0 for it (Utils.abs).
	if h == math.MinInt32 {
		return 0
	}
	if h < 0 {
		h = -h
	}
	return h % partitions
}
