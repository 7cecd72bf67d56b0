package harness

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Bounds of one raw connection.
const (
	connTimeout      = 30 * time.Second
	responseBytesMax = 256 << 20
	apiVersionsKey   = 18
)

// Conn is one Kafka connection that sends exactly what it is told to, in any version, and reads
// the answers in order. It is for one goroutine.
type Conn struct {
	net     net.Conn
	in      *bufio.Reader
	format  *kmsg.RequestFormatter
	next    int32          // correlation id of the next request
	pending []kmsg.Request // sent and not answered, oldest first
}

// Dial connects to a server.
func Dial(addr string) (*Conn, error) {
	c, err := net.DialTimeout("tcp", addr, connTimeout)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	return &Conn{
		net:    c,
		in:     bufio.NewReaderSize(c, 64<<10),
		format: kmsg.NewRequestFormatter(kmsg.FormatterClientID("harness")),
	}, nil
}

// Close closes the connection.
func (c *Conn) Close() error { return c.net.Close() }

// Send writes one request at its version, without waiting for the answer.
func (c *Conn) Send(req kmsg.Request) error {
	frame := c.format.AppendRequest(nil, req, c.next)
	if err := c.SendFrame(frame); err != nil {
		return fmt.Errorf("send %s: %w", kmsg.NameForKey(req.Key()), err)
	}
	c.next++
	c.pending = append(c.pending, req)
	return nil
}

// SendFrame writes bytes as they are; nothing expects an answer to them.
func (c *Conn) SendFrame(frame []byte) error {
	if err := c.net.SetWriteDeadline(time.Now().Add(connTimeout)); err != nil {
		return fmt.Errorf("set the write deadline: %w", err)
	}
	if _, err := c.net.Write(frame); err != nil {
		return fmt.Errorf("write %d bytes: %w", len(frame), err)
	}
	return nil
}

// Receive reads the answer to the oldest unanswered request.
func (c *Conn) Receive() (kmsg.Response, error) {
	if len(c.pending) == 0 {
		return nil, fmt.Errorf("receive: no request is waiting for an answer")
	}
	req := c.pending[0]
	want := c.next - int32(len(c.pending))
	c.pending = c.pending[1:]
	body, err := c.readFrame()
	if err != nil {
		return nil, fmt.Errorf("answer to %s: %w", kmsg.NameForKey(req.Key()), err)
	}
	if len(body) < 4 || int32(binary.BigEndian.Uint32(body)) != want {
		return nil, fmt.Errorf("answer to %s: wrong correlation id, want %d: %x",
			kmsg.NameForKey(req.Key()), want, body[:min(len(body), 16)])
	}
	body = body[4:]
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if resp.IsFlexible() && req.Key() != apiVersionsKey {
		// The header's tag section: a server has no tag to send, so it is one zero byte.
		if len(body) == 0 || body[0] != 0 {
			return nil, fmt.Errorf("answer to %s: header tags %x, want none",
				kmsg.NameForKey(req.Key()), body[:min(len(body), 16)])
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("decode the answer to %s v%d: %w",
			kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	return resp, nil
}

// Do sends one request and reads its answer.
func (c *Conn) Do(req kmsg.Request) (kmsg.Response, error) {
	if err := c.Send(req); err != nil {
		return nil, err
	}
	return c.Receive()
}

func (c *Conn) readFrame() ([]byte, error) {
	if err := c.net.SetReadDeadline(time.Now().Add(connTimeout)); err != nil {
		return nil, fmt.Errorf("set the read deadline: %w", err)
	}
	var length [4]byte
	if _, err := io.ReadFull(c.in, length[:]); err != nil {
		return nil, fmt.Errorf("read the length of a frame: %w", err)
	}
	n := int(int32(binary.BigEndian.Uint32(length[:])))
	if n < 4 || n > responseBytesMax {
		return nil, fmt.Errorf("frame of %d bytes, want 4 to %d", n, responseBytesMax)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return nil, fmt.Errorf("read a frame of %d bytes: %w", n, err)
	}
	return body, nil
}
