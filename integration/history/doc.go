// Package history judges what consumers read against what producers were told.
//
// Each check is one small function that knows one way to be wrong: lost, duplicate, phantom,
// out of order, early, not in due order, not dense. They know nothing of the server and share no
// code with it, and their own tests show each of them failing on a history made up for it: a
// checker that cannot fail proves nothing.
package history
