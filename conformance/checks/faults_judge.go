package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"fairway.dev/conformance/checks/load"
)

// judge knows what an answer has to be: nothing that every proxy has left behind before the request was sent.
type judge struct {
	edit   atomic.Int64 // the newest edit that every proxy serves
	serial atomic.Int64 // of the newest certificate that every proxy shows
}

// before packs what is served when a request is sent.
func (j *judge) before() int64 { return j.edit.Load()<<32 | j.serial.Load() }

func (j *judge) after(before int64, answer *load.Answer) error {
	edit, serial := before>>32, before&0xffff_ffff
	if !strings.Contains("abc", answer.Body) || len(answer.Body) != 1 {
		return fmt.Errorf("answered by %q", answer.Body)
	}
	shown, err := strconv.ParseInt(answer.Header.Get("X-Edit"), 10, 64)
	if err != nil || shown < edit {
		return fmt.Errorf("edit %d was served before, this answer is of edit %q", edit, answer.Header.Get("X-Edit"))
	}
	// A connection that is kept keeps its certificate.
	if answer.Fresh && answer.TLS != nil && serialOf(answer) < serial {
		return fmt.Errorf("certificate %d was shown before, this connection shows %d", serial, serialOf(answer))
	}
	return nil
}

func serialOf(answer *load.Answer) int64 { return answer.TLS.PeerCertificates[0].SerialNumber.Int64() }
