package httpapi

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// proxyHeaders are what a proxy adds: a request with one comes from elsewhere, though the
// connection is local.
var proxyHeaders = []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"}

// guard refuses a request that may come from someone whom this machine's user did not ask.
//
//   - An order from another machine is refused unless the operator allows them, and so is one that
//     a proxy has passed on.
//   - A page of any site can make a browser send an order to 127.0.0.1. Browsers say so in
//     Sec-Fetch-Site or Origin; such orders are refused. Other programs send neither.
//   - Such a page can also have a name of its own point to 127.0.0.1, after which the browser takes
//     our answers for its site's (DNS rebinding). The name shows in Host: over a local connection
//     that has to be an address or localhost, and for a browser's order over any.
func (a *API) guard(r *http.Request, steers bool) error {
	loopback := isLoopbackRemote(r.RemoteAddr)
	if loopback && !isAddressOrLocal(r.Host) {
		return problemf(kindForbidden, "host %.100q is not this machine's: over a local connection use "+
			"127.0.0.1 or localhost", r.Host)
	}
	if !steers {
		return nil
	}
	if http.NewCrossOriginProtection().Check(r) != nil {
		return problemf(kindForbidden, "a page of another site may not give orders")
	}
	if r.Header.Get("Origin") != "" && !isAddressOrLocal(r.Host) {
		return problemf(kindForbidden, "host %.100q may be a name of any site: in a browser use the "+
			"server's IP address", r.Host)
	}
	if !a.o.AllowRemoteWrites && (!loopback || isProxied(r.Header)) {
		return problemf(kindForbidden, "orders are taken from this machine only; start the server with "+
			"--http-allow-remote-writes to take them from everyone who can connect")
	}
	return nil
}

func isLoopbackRemote(remote string) bool {
	addr, err := netip.ParseAddrPort(remote)
	return err == nil && addr.Addr().Unmap().IsLoopback()
}

func isProxied(h http.Header) bool {
	for _, name := range proxyHeaders {
		if h.Get(name) != "" {
			return true
		}
	}
	return false
}

// isAddressOrLocal tells a host that no name server has a say in.
func isAddressOrLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	host = strings.ToLower(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
