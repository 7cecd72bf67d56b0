//go:build !linux

package main

import "time"

// sleepUntil sleeps as exactly as Go does it.
func sleepUntil(t time.Time) error {
	time.Sleep(time.Until(t))
	return nil
}
