package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"slices"
	"time"
)

func server(args []string) {
	fs := flag.NewFlagSet("server", flag.ExitOnError)
	var httpPorts, grpcPorts, tcpPorts, tlsPorts list
	fs.Var(&httpPorts, "port", "HTTP port, repeatable")
	fs.Var(&grpcPorts, "grpc", "gRPC port, repeatable")
	fs.Var(&tcpPorts, "tcp", "TCP port, repeatable")
	fs.Var(&tlsPorts, "tls", "which of the other ports speak TLS, repeatable")
	crt := fs.String("crt", "", "certificate file; a self-signed one is made when it is missing")
	key := fs.String("key", "", "key file")
	_ = fs.Parse(args) // ExitOnError
	if len(httpPorts) == 0 {
		httpPorts = list{"80", "8080"}
	}
	for _, p := range httpPorts {
		var protocols http.Protocols
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(true)
		protocols.SetUnencryptedHTTP2(true)
		go serve(p, echoHTTP(p), &protocols, slices.Contains(tlsPorts, p), *crt, *key)
	}
	for _, p := range grpcPorts {
		var protocols http.Protocols
		protocols.SetHTTP2(true)
		protocols.SetUnencryptedHTTP2(true)
		go serve(p, echoGRPC(p), &protocols, slices.Contains(tlsPorts, p), *crt, *key)
	}
	for _, p := range tcpPorts {
		go serveTCP(p)
	}
	select {}
}

func serve(port string, h http.Handler, protocols *http.Protocols, secure bool, crt, key string) {
	s := &http.Server{Addr: ":" + port, Handler: h, Protocols: protocols}
	if !secure {
		fmt.Println("listen", port, s.ListenAndServe())
		return
	}
	pair, err := tls.LoadX509KeyPair(crt, key)
	if err != nil {
		pair = selfSigned()
	}
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}}
	fmt.Println("listen", port, s.ListenAndServeTLS("", ""))
}

func serveTCP(port string) {
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		fmt.Println("listen", port, err)
		return
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() { io.Copy(c, c); c.Close() }()
	}
}

func selfSigned() tls.Certificate {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	t := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"echo"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, _ := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func echoHTTP(port string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, report(r, port, r.Proto))
	})
}
