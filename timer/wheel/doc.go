// Package wheel is a timing wheel: it holds entries with due times and gives back those that are
// due. Adding and taking an entry cost a few nanoseconds each, whatever the number of entries.
//
// The wheel is pure. It has no clock, no goroutine and no lock: the caller says what time it is,
// and one goroutine owns the wheel. One tick is one millisecond.
//
// # How it works
//
// Entries lie in buckets, which are singly linked lists, on two levels. The fine level has 256
// buckets of one tick each and covers the 255 ticks after now. The coarse level has slots/256
// buckets of one block each; a block is 256 ticks. What lies behind the coarse level waits in one
// bucket "far", and what is due already when it is added lies in one bucket "ready".
//
// When now enters a block, the entries of that block's coarse bucket move to the fine level, so
// each entry moves at most twice (far to coarse, coarse to fine). The far bucket is looked through
// only when its earliest entry's block is reached; everything that the coarse level covers by then
// leaves it, so at least a whole turn of the coarse level passes between two such walks.
//
// Every bucket keeps its earliest due time and bitmaps tell which buckets have entries, so the
// next due time is known exactly and empty ticks cost nothing: a caller sleeps until Next, and a
// jump over any span of time visits only the buckets that hold something.
//
// # Example
//
// A wheel of 65,536 slots (256 coarse buckets) at now = 1000, which is in block 3 (768..1023).
// Five entries are added:
//
//	due     due-now  block  goes to
//	1003    3        3      fine bucket 1003 mod 256 = 235
//	1020    20       3      fine bucket 252
//	1100    100      4      fine bucket 76
//	1600    600      6      coarse bucket 6 mod 256 = 6
//	70000   69000    273    far, because the coarse level ends with block 3+255 = 258
//
// Then time passes:
//
//	Advance   block  returns       moves                        Next
//	1003      3      1003                                       1020
//	1500      5      1020, 1100                                 1600
//	1540      6                    1600: coarse 6 to fine 64    1600
//	69900     273    1600          70000: far to fine 112       70000
//	69900     273                                               70000
//	80000     312    70000                                      none
//
// # Memory
//
// Entries live in slabs of 4,096 and are linked by 32-bit indexes. With a T free of pointers the
// garbage collector has nothing to look at in a slab, so millions of entries do not lengthen its
// work.
package wheel
