//go:build race || invariants

package invariant

// Enabled says whether the expensive checks run: under the race detector and with the build tag
// invariants.
const Enabled = true
