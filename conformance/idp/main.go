// Idp is an OpenID Provider whose keys change when a test says so: POST /publish makes a key and publishes it, POST /rotate signs with
// the newest from now on (with one made now, if that one signs already), POST /forget publishes no other. The protocol is
// zitadel/oidc's, its clients and users are those of that module's example: sid1 with verysecret gets tokens for itself, as JWT. It
// listens on 127.0.0.1:PORT, its argument.
package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"os"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	example "github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// key is one that signs, and is published.
type key struct {
	id      string
	private *rsa.PrivateKey
}

func (k key) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k key) Key() any                                    { return k.private }
func (k key) ID() string                                  { return k.id }

// public is what is published of a key.
type public struct{ key }

func (p public) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (p public) Use() string                        { return "sig" }
func (p public) Key() any                           { return &p.private.PublicKey }

// storage is the example's, with keys that rotate and tokens that can be read.
type storage struct {
	*example.Storage
	mu      sync.Mutex
	made    int
	keys    []key
	signing key
}

func (s *storage) publish() error {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	s.keys = append(s.keys, key{fmt.Sprintf("key-%d", s.made), private})
	return nil
}

func (s *storage) newest() key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[len(s.keys)-1]
}

func (s *storage) rotate() error {
	if s.newest() == s.signing {
		if err := s.publish(); err != nil {
			return err
		}
	}
	newest := s.newest()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signing = newest
	return nil
}

func (s *storage) forget() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = []key{s.signing}
	return nil
}

func (s *storage) SigningKey(context.Context) (op.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signing, nil
}

func (s *storage) KeySet(context.Context) ([]op.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var published []op.Key
	for _, key := range s.keys {
		published = append(published, public{key})
	}
	return published, nil
}

// client gets tokens that say who it is, not opaque ones.
type client struct{ op.Client }

func (client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

func (s *storage) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	found, err := s.Storage.ClientCredentials(ctx, id, secret)
	if err != nil {
		return nil, err
	}
	return client{found}, nil
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: idp PORT")
	}
	address := "127.0.0.1:" + os.Args[1]
	issuer := "http://" + address
	keys := &storage{Storage: example.NewStorage(example.NewUserStore(issuer))}
	for _, change := range []func() error{keys.publish, keys.rotate} {
		if err := change(); err != nil {
			log.Fatal(err)
		}
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	provider := exampleop.SetupServer(issuer, keys, quiet, true, op.WithAllowInsecure())
	change := func(how func() error) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if err := how(); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /publish", change(keys.publish))
	mux.HandleFunc("POST /rotate", change(keys.rotate))
	mux.HandleFunc("POST /forget", change(keys.forget))
	mux.Handle("/", provider)
	log.Fatal(http.ListenAndServe(address, mux))
}
