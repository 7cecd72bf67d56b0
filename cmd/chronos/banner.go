package main

import (
	"fmt"
	"io"
	"net"
)

// banner is what a person sees first: where the server listens, where its data is, and a command to
// try. What is dangerous about the way it was started goes to the log, as warnings.
type banner struct {
	kafka      net.Addr
	web        net.Addr
	advertised string
	dataDir    string

	remoteWrites bool // the HTTP API takes orders from other machines
}

func (b banner) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n", versionText())
	fmt.Fprintf(w, "Kafka clients: %s   data: %s\n", b.kafka, b.dataDir)
	web := advertisedFor("", b.web.String(), b.web)
	fmt.Fprintf(w, "health, metrics and schedules: http://%s/health http://%s/metrics "+
		"http://%s/v1/schedules\n", web, web, web)
	fmt.Fprintf(w, "try: echo hello | kcat -b %s -P -t demo -H chronos-schedule-delay=10s && "+
		"kcat -b %s -C -t demo -u\n", b.advertised, b.advertised)
}

// warnings names what a server that others can reach does not protect, and where its address would
// lead them to themselves.
func (b banner) warnings() []string {
	var all []string
	if !isLoopback(b.kafka) {
		all = append(all, fmt.Sprintf("%s is open to other machines and there is no authentication yet: "+
			"whoever reaches it can read and write every topic", b.kafka))
		if host, _, err := net.SplitHostPort(b.advertised); err == nil && isLocalHost(host) {
			all = append(all, fmt.Sprintf("clients on other machines are told to connect to %s, which is "+
				"themselves; set --advertised-addr to an address of this machine", b.advertised))
		}
	}
	if !isLoopback(b.web) {
		may := "read metrics and what is scheduled"
		if b.remoteWrites {
			may += ", cancel and move it, and pause deliveries"
		}
		all = append(all, fmt.Sprintf("%s is open to other machines and there is no authentication yet: "+
			"whoever reaches it can %s", b.web, may))
	}
	return all
}

// advertisedFor is the address that clients are told: the chosen one, or what they can most likely
// reach. Listening on every interface names none, so this machine's own clients are served first;
// the banner warns the others.
func advertisedFor(chosen, listen string, bound net.Addr) string {
	if chosen != "" {
		return chosen
	}
	host, _, err := net.SplitHostPort(listen)
	_, port, err2 := net.SplitHostPort(bound.String())
	if err != nil || err2 != nil {
		return bound.String()
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// isLocalHost tells a host name or address that means the caller's own machine.
func isLocalHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
