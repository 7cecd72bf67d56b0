package kafkaproto

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/groups"
	"github.com/chronosdb/chronosdb/kafkaproto/api"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// Defaults of Options.
const (
	// MaxRequestBytesDefault is Kafka's socket.request.max.bytes. Clients count on it: one that
	// writes to many partitions fills its requests up to here, and repeats for ever what is refused.
	MaxRequestBytesDefault = maxRequestBytesMax
	ConnectionsMaxDefault  = 4096
	// RequestMemoryDefault has room for the largest request, as its buffer grows, in the lane of
	// large ones, which is three quarters of it.
	RequestMemoryDefault = 208 << 20
	AnswerMemoryDefault  = 256 << 20
)

// Options configure a Server. Zero values mean the defaults.
type Options struct {
	// Listener is where connections come from. The server closes it.
	Listener net.Listener
	// Replicas and Groups are what is served.
	Replicas *replication.Manager
	Groups   *groups.Coordinator
	// Advertised is the "host:port" that clients are told to connect to. Empty means the
	// listener's own address.
	Advertised string
	// MaxRequestBytes bounds a Produce request; all others are bounded by OtherRequestBytesMax.
	MaxRequestBytes int
	// NoAutoCreate leaves topics uncreated that a client asks for and that do not exist.
	NoAutoCreate bool
	// BrokerConfigs are shown by DescribeConfigs of this broker beside what this package knows.
	BrokerConfigs []api.BrokerConfig
	// ConnectionsMax bounds the open connections; one more is closed at once.
	ConnectionsMax int
	// RequestMemoryBytes and AnswerMemoryBytes bound the memory of all requests, and of all
	// fetched data, in flight together.
	RequestMemoryBytes, AnswerMemoryBytes int64
	// IdleTimeout closes connections on which nothing happens.
	IdleTimeout time.Duration
	// Clock is the time source.
	Clock clock.Clock
	// Logger is told about refused connections and failures.
	Logger *zap.Logger

	// backend replaces Replicas and Groups in tests.
	backend *api.Options
}

// EnsureDefaults fills every zero field with its default.
func (o *Options) EnsureDefaults() {
	setDefault(&o.MaxRequestBytes, MaxRequestBytesDefault)
	setDefault(&o.ConnectionsMax, ConnectionsMaxDefault)
	setDefault(&o.RequestMemoryBytes, RequestMemoryDefault)
	setDefault(&o.AnswerMemoryBytes, AnswerMemoryDefault)
	setDefault(&o.IdleTimeout, idleTimeoutDefault)
	if o.Clock == nil {
		o.Clock = clock.Real()
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Advertised == "" && o.Listener != nil {
		o.Advertised = o.Listener.Addr().String()
	}
}

// Validate refuses what cannot work, and says what would.
func (o *Options) Validate() error {
	if o.Listener == nil {
		return fmt.Errorf("kafkaproto: Listener is nil; it must be open")
	}
	if o.backend == nil && (o.Replicas == nil || o.Groups == nil) {
		return fmt.Errorf("kafkaproto: Replicas and Groups must both be set")
	}
	if o.MaxRequestBytes < api.HeaderBytesMin || o.MaxRequestBytes > maxRequestBytesMax {
		return fmt.Errorf("kafkaproto: max-request-bytes is %d; use 0 for the default of %d, or up to %d",
			o.MaxRequestBytes, MaxRequestBytesDefault, maxRequestBytesMax)
	}
	if o.AnswerMemoryBytes < api.FetchBytesMax {
		return fmt.Errorf("kafkaproto: AnswerMemoryBytes is %d; one answer alone may need %d",
			o.AnswerMemoryBytes, api.FetchBytesMax)
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"ConnectionsMax", int64(o.ConnectionsMax)},
		{"RequestMemoryBytes", o.RequestMemoryBytes},
		{"IdleTimeout", int64(o.IdleTimeout)},
	} {
		if f.value <= 0 {
			return fmt.Errorf("kafkaproto: %s is %d; use 0 for the default or a positive value",
				f.name, f.value)
		}
	}
	_, _, err := o.advertised()
	return err
}

// maxRequestBytesMax is Kafka's own default limit (socket.request.max.bytes); more than that in one
// frame is no use to anyone.
const maxRequestBytesMax = 100 << 20

// advertised splits the advertised address.
func (o *Options) advertised() (host string, port int32, err error) {
	host, text, err := net.SplitHostPort(o.Advertised)
	if err != nil {
		return "", 0, fmt.Errorf("kafkaproto: advertised address %q is not host:port: %w",
			o.Advertised, err)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("kafkaproto: advertised address %q has no port from 1 to 65535",
			o.Advertised)
	}
	return host, int32(n), nil
}

// apiOptions are what the APIs are built from.
func (o *Options) apiOptions() (api.Options, error) {
	host, port, err := o.advertised()
	if err != nil {
		return api.Options{}, err
	}
	a := api.Options{}
	if o.backend != nil {
		a = *o.backend
	} else {
		a.Replicas = api.ReplicasOf(o.Replicas)
		a.Groups = o.Groups
	}
	a.AdvertisedHost, a.AdvertisedPort = host, port
	a.AutoCreate = !o.NoAutoCreate
	a.BrokerConfigs = o.BrokerConfigs
	a.Clock, a.Logger = o.Clock, o.Logger
	return a, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
