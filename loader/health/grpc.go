package health

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// grpc asks for grpc.health.v1.Health/Check, by
// https://github.com/grpc/grpc/blob/master/doc/health-checking.md and
// PROTOCOL-HTTP2.md there. The two messages are small enough to be written and
// read by hand.
type grpc struct {
	h2
	request *http.Request
	message []byte
}

const grpcPath = "/grpc.health.v1.Health/Check"

func newGRPC(t Target) (Checker, error) {
	conn, err := newH2(t)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(http.MethodPost, conn.scheme+"://"+t.Address.String()+grpcPath, nil)
	if err != nil {
		return nil, err
	}
	request.Host = host(t)
	for name, value := range map[string]string{
		"Content-Type": "application/grpc", "Te": "trailers", "User-Agent": userAgent,
	} {
		request.Header.Set(name, value)
	}
	return grpc{conn, request, grpcFrame(healthRequest(t.Health.Service))}, nil
}

func (c grpc) Check(ctx context.Context) (Report, error) {
	r := c.request.Clone(ctx)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(c.message)), int64(len(c.message))
	return c.do(r, judgeGRPC)
}

func judgeGRPC(r *http.Response) error {
	if r.StatusCode != http.StatusOK {
		return failedf(ReasonStatus, "status", "%d is not 200", r.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return failed("read the answer", err, ReasonMalformed)
	}
	if len(body) > maxBody {
		return failedf(ReasonMalformed, "read the answer", "longer than %d bytes", maxBody)
	}
	if err := grpcStatus(r); err != nil {
		return err
	}
	status, err := readHealthReply(body)
	if err != nil {
		return failed("read the answer", err, ReasonMalformed)
	}
	if status != serving {
		return failedf(ReasonStatus, "status", "%s", status)
	}
	return nil
}

// grpcStatus is in the trailers or, if there is no message, in the header.
func grpcStatus(r *http.Response) error {
	status, text := r.Trailer.Get("Grpc-Status"), r.Trailer.Get("Grpc-Message")
	if status == "" {
		status, text = r.Header.Get("Grpc-Status"), r.Header.Get("Grpc-Message")
	}
	switch status {
	case "0":
		return nil
	case "":
		return failedf(ReasonMalformed, "read the answer", "it has no grpc-status")
	}
	return failedf(ReasonStatus, "grpc-status", "%s %s", excerpt([]byte(status)), excerpt([]byte(text)))
}

// grpcFrame puts the prefix before a message: not compressed, its length.
func grpcFrame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// healthRequest is a HealthCheckRequest: field 1 is the service's name.
func healthRequest(service string) []byte {
	if service == "" {
		return nil
	}
	return append(binary.AppendUvarint([]byte{1<<3 | wireBytes}, uint64(len(service))), service...)
}

// servingStatus is HealthCheckResponse.ServingStatus.
type servingStatus uint64

const serving servingStatus = 1

func (s servingStatus) String() string {
	names := []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}
	if s < servingStatus(len(names)) {
		return names[s]
	}
	return strconv.FormatUint(uint64(s), 10)
}

// Wire types of protocol buffers.
const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wire32     = 5
)

var errCut = errors.New("the message is cut off")

// readHealthReply reads one frame with a HealthCheckResponse: field 1 is the
// status, what else there is is skipped, and the last of a field counts.
func readHealthReply(frame []byte) (servingStatus, error) {
	if len(frame) < 5 {
		return 0, errCut
	}
	if frame[0] != 0 {
		return 0, errors.New("the message is compressed, which was not asked for")
	}
	length, rest := binary.BigEndian.Uint32(frame[1:]), frame[5:]
	if uint64(length) != uint64(len(rest)) {
		return 0, fmt.Errorf("the message says it has %d bytes and has %d", length, len(rest))
	}
	var status uint64
	for len(rest) > 0 {
		tag, value, after, err := protoField(rest)
		if err != nil {
			return 0, err
		}
		if tag == 1<<3|wireVarint {
			status = value
		}
		rest = after
	}
	return servingStatus(status), nil
}

// protoField takes one field off a message. Of fields that are no varint it
// gives no value.
func protoField(b []byte) (tag, value uint64, rest []byte, err error) {
	tag, n := binary.Uvarint(b)
	if n <= 0 || tag>>3 == 0 {
		return 0, 0, nil, errCut
	}
	b = b[n:]
	skip := uint64(0)
	switch tag & 7 {
	case wireVarint:
		value, n = binary.Uvarint(b)
		if n <= 0 {
			return 0, 0, nil, errCut
		}
		skip = uint64(n)
	case wire64:
		skip = 8
	case wire32:
		skip = 4
	case wireBytes:
		length, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, 0, nil, errCut
		}
		b, skip = b[n:], length
	default:
		return 0, 0, nil, fmt.Errorf("wire type %d is not known", tag&7)
	}
	if skip > uint64(len(b)) {
		return 0, 0, nil, errCut
	}
	return tag, value, b[skip:], nil
}
