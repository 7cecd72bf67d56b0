package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/timer/clock"
)

// Options are what a Service is built from. Replicas and Groups are required.
type Options struct {
	Replicas Replicas
	Groups   Groups
	// AdvertisedHost and AdvertisedPort are where clients are told to connect to.
	AdvertisedHost string
	AdvertisedPort int32
	// AutoCreate makes topics that a client asks for and that do not exist.
	AutoCreate bool
	// BrokerConfigs are shown by DescribeConfigs beside what this package knows.
	BrokerConfigs []BrokerConfig
	Clock         clock.Clock
	Logger        *zap.Logger
	// FetchSessionSlots bounds the fetch sessions; 0 means the default.
	FetchSessionSlots int
}

// Service answers requests. It is safe for use by many connections.
type Service struct {
	o    Options
	log  *zap.Logger
	rows map[int16]row // by API key; constant
	list []row         // in the order of the table; constant

	sessions *fetchSessions
}

// FetchSessions returns the figures of the fetch sessions.
func (s *Service) FetchSessions() FetchSessionStats { return s.sessions.stats() }

// NewService returns a service over the given floors.
func NewService(o Options) (*Service, error) {
	if o.Replicas == nil || o.Groups == nil {
		return nil, fmt.Errorf("api: Replicas and Groups must both be set")
	}
	if o.Clock == nil {
		o.Clock = clock.Real()
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.FetchSessionSlots <= 0 {
		o.FetchSessionSlots = FetchSessionSlots
	}
	s := &Service{o: o, log: o.Logger.Named("api"), list: table()}
	s.sessions = newFetchSessions(o.FetchSessionSlots, fetchSessionPartitionsMax)
	s.rows = make(map[int16]row, len(s.list))
	for _, r := range s.list {
		s.rows[r.key] = r
	}
	return s, nil
}

// Session is what is remembered of one connection. It belongs to the goroutine that reads it.
type Session struct {
	origin     *Origin
	clientHost string
}

// NewSession begins a connection from the given host.
func NewSession(clientHost string) *Session {
	return &Session{origin: NewOrigin(), clientHost: clientHost}
}

// call is one request in its first stage.
type call struct {
	ctx     context.Context // the connection's
	session *Session
	Header
}

// Answer is the answer to one request, with the header that it needs. The zero value is silent.
type Answer struct {
	Header
	reply Reply
	// tagged says that the response header ends with a tagged field section.
	tagged bool
}

// Silent reports that nothing is to be written: the client asked for no answer.
func (a Answer) Silent() bool { return a.reply == nil }

// Ready reports whether AppendTo would not wait.
func (a Answer) Ready() bool { return a.reply.Ready() }

// Held is how many bytes the answer keeps of its request until it is written; negative means the
// request's buffer and all that was decoded from it.
func (a Answer) Held() int64 {
	if a.reply == nil {
		return 0
	}
	return a.reply.Held()
}

// ChangesTopics reports that AppendTo may make or remove topics. The first stage of the next
// request of the connection must wait for it, because that may judge by which topics there are.
func (a Answer) ChangesTopics() bool {
	_, ok := a.reply.(topicChange)
	return ok
}

// AppendTo appends the response, without its length, to dst.
func (a Answer) AppendTo(w *Waiter, dst []byte) ([]byte, error) {
	c := uint32(a.CorrelationID)
	dst = append(dst, byte(c>>24), byte(c>>16), byte(c>>8), byte(c))
	if a.tagged {
		dst = append(dst, 0)
	}
	return a.reply.AppendBody(w, dst)
}

// Start runs the first stage of a request: a frame without its length, of at least HeaderBytesMin
// bytes. ctx is the connection's. After it has returned nothing uses the frame any more, unless the
// answer's Held is negative.
//
// An error closes the connection once what was asked before is answered: ErrMalformed, or
// ErrRefused for what is not served, and for a failed request whose client wants no answer.
func (s *Service) Start(ctx context.Context, session *Session, frame []byte) (Answer, error) {
	h := parsePrefix(frame)
	r, known := s.rows[h.Key]
	if known && h.Key == apiVersionsKey && (h.Version < 0 || h.Version > r.max) {
		// Asked in a version of the future, whose body nobody here can read: KIP-511.
		return Answer{Header: h, reply: ready{Response: s.unsupportedApiVersions()}}, nil
	}
	if !known || h.Version < r.served() || h.Version > r.max {
		return Answer{Header: h}, fmt.Errorf("%w: %s version %d", ErrRefused, nameOf(h.Key), h.Version)
	}
	request := kmsg.RequestForKey(h.Key)
	request.SetVersion(h.Version)
	body, err := h.parseRest(frame, request.IsFlexible())
	if err != nil {
		return Answer{Header: h}, err
	}
	if err := r.checkShape(h.Version, request.IsFlexible(), body); err != nil {
		return Answer{Header: h}, fmt.Errorf("%s version %d: %w", r.name, h.Version, err)
	}
	if err := request.ReadFrom(body); err != nil {
		return Answer{Header: h}, malformed("%s version %d: %v", r.name, h.Version, err)
	}
	reply, err := r.handle(s, &call{ctx: ctx, session: session, Header: h}, request)
	if err != nil {
		return Answer{Header: h}, fmt.Errorf("%s version %d: %w", r.name, h.Version, err)
	}
	return Answer{
		Header: h,
		reply:  reply,
		// A response is flexible from the same version on as its request. KIP-511: clients must be
		// able to read the answer to ApiVersions before they know what we speak.
		tagged: h.Key != apiVersionsKey && request.IsFlexible(),
	}, nil
}

func nameOf(key int16) string {
	if name := kmsg.NameForKey(key); name != "" && name != "Unknown" {
		return name
	}
	return fmt.Sprintf("API key %d", key)
}
