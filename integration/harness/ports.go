package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports come from below Linux's ephemeral range (32768 on): an outgoing connection of another test
// can then never take a port while its server is between a kill and its restart.
const (
	portMin   = 20000
	portMax   = 32000
	portTries = 1000
)

// ports remembers what this process gave out: a port is free to the kernel until its server
// listens, and two parallel tests must not get the same one.
var ports struct {
	sync.Mutex
	given map[int]bool
}

// FreeAddr returns a loopback address that nothing listens on and that this process has not given
// out before.
func FreeAddr() (string, error) {
	ports.Lock()
	defer ports.Unlock()
	if ports.given == nil {
		ports.given = map[int]bool{}
	}
	for range portTries {
		port := portMin + rand.IntN(portMax-portMin)
		if ports.given[port] {
			continue
		}
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return "", fmt.Errorf("close the probe of %s: %w", addr, err)
		}
		ports.given[port] = true
		return addr, nil
	}
	return "", fmt.Errorf("no free port of 127.0.0.1 between %d and %d in %d tries",
		portMin, portMax, portTries)
}
