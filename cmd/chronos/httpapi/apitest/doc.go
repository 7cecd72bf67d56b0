// Package apitest has schedules in memory, for tests of the HTTP API and of the commands that call
// it. They are honest about order, filters, paging and repetition, and can be told to fail.
package apitest
