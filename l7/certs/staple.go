package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/crypto/ocsp"
)

const (
	stapleMost  = 64 << 10 // bytes of an OCSP answer
	stapleWait  = 10 * time.Second
	stapleRetry = 5 * time.Minute
	stapleNever = time.Hour // until the next look at certificates without a responder
)

// staple keeps OCSP answers (RFC 6960) with the certificates that name a
// responder. Without a fresh answer a certificate is sent without.
func (s *Store) staple(ctx context.Context) {
	client := &http.Client{Timeout: stapleWait}
	defer client.CloseIdleConnections()
	for {
		next := stapleNever
		for _, w := range s.watched() {
			next = min(next, s.stapleOne(ctx, client, w))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
		}
	}
}

func (s *Store) watched() []*watched {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*watched{}, s.files...)
}

// stapleOne tells when to look again.
func (s *Store) stapleOne(ctx context.Context, client *http.Client, w *watched) time.Duration {
	c := w.certificate.Load()
	if len(c.Leaf.OCSPServer) == 0 || len(c.Certificate) < 2 {
		return stapleNever
	}
	if left := freshness(c, s.options.Now()); left > 0 {
		return left
	}
	answer, text, err := askOCSP(ctx, client, c)
	if err != nil || answer.Status != ocsp.Good {
		return stapleRetry
	}
	with := *c
	with.OCSPStaple = text
	w.certificate.CompareAndSwap(c, &with) // or other files came meanwhile
	return min(stapleNever, max(time.Second, answer.NextUpdate.Sub(s.options.Now())/2))
}

// freshness is how long an answer need not be renewed: half of what is left
// when it was fetched, at least.
func freshness(c *tls.Certificate, now time.Time) time.Duration {
	if len(c.OCSPStaple) == 0 {
		return 0
	}
	answer, err := ocsp.ParseResponse(c.OCSPStaple, nil)
	if err != nil {
		return 0
	}
	return answer.ThisUpdate.Add(answer.NextUpdate.Sub(answer.ThisUpdate) / 2).Sub(now)
}

func askOCSP(ctx context.Context, client *http.Client, c *tls.Certificate) (*ocsp.Response, []byte, error) {
	issuer, err := x509.ParseCertificate(c.Certificate[1])
	if err != nil {
		return nil, nil, fmt.Errorf("certificate of the issuer: %w", err)
	}
	question, err := ocsp.CreateRequest(c.Leaf, issuer, nil)
	if err != nil {
		return nil, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Leaf.OCSPServer[0], bytes.NewReader(question))
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Content-Type", "application/ocsp-request")
	reply, err := client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(io.LimitReader(reply.Body, stapleMost+1))
	if err != nil {
		return nil, nil, err
	}
	if reply.StatusCode != http.StatusOK || len(text) > stapleMost {
		return nil, nil, errors.New("the responder has no answer")
	}
	answer, err := ocsp.ParseResponseForCert(text, c.Leaf, issuer)
	return answer, text, err
}
