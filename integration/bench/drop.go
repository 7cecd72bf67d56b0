package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Bounds and facts of the reference server.
const (
	dropFrameMax   = 128 << 20
	dropReadBuffer = 64 << 10
	batchHeader    = 61
	batchCRCAt     = 17
	batchCRCFrom   = 21
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// dropVersions are the APIs of the reference, each from version 0: what a producer and a consumer
// ask for. The newest versions name topics, so that the reference needs no topic ids; that of Fetch
// is the last one whose answer ends with the records.
var dropVersions = map[int16]int16{0: 12, 1: 11, 2: 5, 3: 9, 18: 3, 22: 4}

// partitionsMark stands before the number of partitions in the name of a topic: the reference knows
// nothing else of a topic.
const partitionsMark = "-p"

// dropServer accepts produced batches, checks them, and forgets them. To consumers it sends one
// canned batch again and again.
type dropServer struct {
	host   string
	port   int32
	canned canned
}

// dropMain runs the reference server until SIGTERM. Its arguments are the Kafka and the HTTP
// address.
func dropMain(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want a Kafka and an HTTP address, got %q", args)
	}
	host, port, err := net.SplitHostPort(args[0])
	if err != nil {
		return fmt.Errorf("address: %w", err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("port: %w", err)
	}
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	answerHealth(args[1])
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	// Closing the listener, below, ends this goroutine.
	go func() {
		<-stop
		_ = l.Close()
	}()
	return (&dropServer{host: host, port: int32(n)}).accept(l)
}

// answerHealth serves /health as long as the process lives.
func answerHealth(addr string) {
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "OK\n") // the harness asks again
	})
	// The exit of the process ends this goroutine, and those of the connections.
	go func() { _ = http.ListenAndServe(addr, mux) }()
}

// accept serves connections until the listener is closed.
func (d *dropServer) accept(l net.Listener) error {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		// The client's close, or a broken frame, ends this goroutine.
		go d.serve(c)
	}
}

// serve answers one connection. Its buffers live as long as the connection: a fresh megabyte for
// each request would measure the allocator.
func (d *dropServer) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	in := bufio.NewReaderSize(c, dropReadBuffer)
	var frame []byte
	var a dropAnswer
	for {
		var err error
		if frame, err = readFrame(in, frame); err != nil {
			return
		}
		a.bytes, a.records = a.bytes[:0], nil
		if err = d.answer(&a, frame); err != nil {
			fmt.Fprintf(os.Stderr, "drop: %v\n", err)
			return
		}
		if err = a.write(c); err != nil {
			return
		}
	}
}

// dropAnswer is a response frame: its bytes, and the records behind them, which are not copied.
type dropAnswer struct {
	bytes   []byte
	records net.Buffers
}

func (a *dropAnswer) write(c net.Conn) error {
	if len(a.records) == 0 {
		_, err := c.Write(a.bytes)
		return err
	}
	all := append(net.Buffers{a.bytes}, a.records...)
	_, err := all.WriteTo(c)
	return err
}

func readFrame(in io.Reader, reuse []byte) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(in, length[:]); err != nil {
		return nil, err
	}
	n := int(int32(binary.BigEndian.Uint32(length[:])))
	if n < 8 || n > dropFrameMax {
		return nil, fmt.Errorf("frame of %d bytes", n)
	}
	if cap(reuse) < n {
		reuse = make([]byte, n)
	}
	frame := reuse[:n]
	_, err := io.ReadFull(in, frame)
	return frame, err
}

// answer decodes one request and makes the response frame.
func (d *dropServer) answer(a *dropAnswer, frame []byte) error {
	r := kbin.Reader{Src: frame}
	key, version, correlation := r.Int16(), r.Int16(), r.Int32()
	_ = r.NullableString() // client id
	newest, known := dropVersions[key]
	if !known || version < 0 || (version > newest && key != 18) {
		return fmt.Errorf("key %d version %d is not served", key, version)
	}
	req := kmsg.RequestForKey(key)
	unsupported := version > newest
	req.SetVersion(min(version, newest))
	if !unsupported {
		if req.IsFlexible() {
			kmsg.SkipTags(&r)
		}
		if err := req.ReadFrom(r.Src); err != nil {
			return fmt.Errorf("decode key %d version %d: %w", key, version, err)
		}
	}
	resp, err := d.respond(a, req)
	if err != nil {
		return err
	}
	resp.SetVersion(req.GetVersion())
	if v, ok := resp.(*kmsg.ApiVersionsResponse); ok && unsupported {
		v.SetVersion(0)
		v.ErrorCode = 35
	}
	dst := append(a.bytes, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlation))
	if resp.IsFlexible() && key != 18 {
		dst = append(dst, 0)
	}
	dst = resp.AppendTo(dst)
	behind := 0
	for _, p := range a.records {
		behind += len(p)
	}
	if behind > 0 { // The last four bytes are the length of the records.
		binary.BigEndian.PutUint32(dst[len(dst)-4:], uint32(behind))
	}
	binary.BigEndian.PutUint32(dst, uint32(len(dst)+behind-4))
	a.bytes = dst
	return nil
}

func (d *dropServer) respond(a *dropAnswer, req kmsg.Request) (kmsg.Response, error) {
	switch req := req.(type) {
	case *kmsg.FetchRequest:
		return d.canned.fetch(a, req)
	case *kmsg.ListOffsetsRequest:
		return listStart(req), nil
	case *kmsg.ApiVersionsRequest:
		return dropVersionsResponse(), nil
	case *kmsg.MetadataRequest:
		return d.metadata(req), nil
	case *kmsg.InitProducerIDRequest:
		resp := kmsg.NewPtrInitProducerIDResponse()
		resp.ProducerID, resp.ProducerEpoch = 1, 0
		return resp, nil
	case *kmsg.ProduceRequest:
		return produce(req)
	}
	return nil, fmt.Errorf("no answer to %T", req)
}

func dropVersionsResponse() *kmsg.ApiVersionsResponse {
	resp := kmsg.NewPtrApiVersionsResponse()
	for key, newest := range dropVersions {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MaxVersion = key, newest
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	return resp
}

// metadata says that every topic exists, with as many partitions as its name says, here.
func (d *dropServer) metadata(req *kmsg.MetadataRequest) *kmsg.MetadataResponse {
	resp := kmsg.NewPtrMetadataResponse()
	broker := kmsg.NewMetadataResponseBroker()
	broker.NodeID, broker.Host, broker.Port = 1, d.host, d.port
	resp.Brokers = append(resp.Brokers, broker)
	resp.ControllerID = 1
	for _, rt := range req.Topics {
		t := kmsg.NewMetadataResponseTopic()
		t.Topic = rt.Topic
		for i := range partitionsOf(*rt.Topic) {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Partition, p.Leader, p.Replicas, p.ISR = i, 1, []int32{1}, []int32{1}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// partitionsOf reads a topic's number of partitions from its name; a name without one has one.
func partitionsOf(topic string) int32 {
	_, number, _ := strings.Cut(topic, partitionsMark)
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil || n < 1 {
		return 1
	}
	return int32(n)
}

// produce checks every batch as a broker must and answers with offset 0: no client minds.
func produce(req *kmsg.ProduceRequest) (kmsg.Response, error) {
	resp := kmsg.NewPtrProduceResponse()
	for _, rt := range req.Topics {
		t := kmsg.NewProduceResponseTopic()
		t.Topic = rt.Topic
		for _, rp := range rt.Partitions {
			if err := checkBatch(rp.Records); err != nil {
				return nil, fmt.Errorf("topic %s: %w", rt.Topic, err)
			}
			p := kmsg.NewProduceResponseTopicPartition()
			p.Partition = rp.Partition
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp, nil
}

func checkBatch(raw []byte) error {
	if len(raw) < batchHeader {
		return fmt.Errorf("batch of %d bytes", len(raw))
	}
	sum := crc32.Checksum(raw[batchCRCFrom:], castagnoli)
	if want := binary.BigEndian.Uint32(raw[batchCRCAt:]); sum != want {
		return fmt.Errorf("checksum %08x, the batch says %08x", sum, want)
	}
	return nil
}
