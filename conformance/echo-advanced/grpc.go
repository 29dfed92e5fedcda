package main

import (
	"encoding/binary"
	"errors"
	"io"
	"net/http"
)

const (
	echoMethod   = "/proto.EchoTestService/Echo"
	healthMethod = "/grpc.health.v1.Health/Check"
)

// echoGRPC answers proto.EchoTestService/Echo, where the message of the answer is the report, and the health check.
func echoGRPC(port string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		var answer []byte
		switch r.URL.Path {
		case healthMethod:
			answer = framed([]byte{0x08, 0x01}) // HealthCheckResponse{status = 1: SERVING}
		case echoMethod:
			msg, err := readMessage(r.Body)
			if err != nil {
				w.Header().Set("Grpc-Status", "13") // INTERNAL
				w.Header().Set("Grpc-Message", err.Error())
				return
			}
			answer = frame("StatusCode=200\n" + report(r, port, "GRPC") + "Echo=" + msg + "\n")
		default:
			w.Header().Set("Grpc-Status", "12") // UNIMPLEMENTED, as a response of trailers only
			w.Header().Set("Grpc-Message", "unknown method "+r.URL.Path)
			return
		}
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write(answer)
		w.Header().Set("Grpc-Status", "0")
	})
}

// frame makes the bytes of EchoRequest and EchoResponse, which are both {string message = 1}; readMessage reads them.
func frame(message string) []byte {
	m := append([]byte{0x0a}, binary.AppendUvarint(nil, uint64(len(message)))...)
	return framed(append(m, message...))
}

// framed puts gRPC's prefix before a message: not compressed, and its length.
func framed(m []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...)
}

func readMessage(r io.Reader) (string, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if head[0] != 0 || n > 4<<20 {
		return "", errors.New("compressed or oversized message")
	}
	m := make([]byte, n)
	if _, err := io.ReadFull(r, m); err != nil {
		return "", err
	}
	for len(m) > 0 { // fields: only length-delimited ones are known
		tag, a := binary.Uvarint(m)
		if a <= 0 || tag&7 != 2 {
			return "", errors.New("unexpected field")
		}
		l, b := binary.Uvarint(m[a:])
		if b <= 0 || uint64(len(m)-a-b) < l {
			return "", errors.New("truncated field")
		}
		v := m[a+b : a+b+int(l)]
		if tag>>3 == 1 {
			return string(v), nil
		}
		m = m[a+b+int(l):]
	}
	return "", nil
}
