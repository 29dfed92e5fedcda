package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
)

// addresses hands out pod addresses in turn, so that one is not soon used again: whoever still knows a pod that has gone
// (a connection pool, a stale endpoint) must not reach another one by mistake.
type addresses struct {
	mu     sync.Mutex
	prefix netip.Prefix // the first 256 are the node's
	last   netip.Addr
	used   map[netip.Addr]bool
	file   string // remembers last over a restart of the kubelet; "": not remembered
}

func newAddresses(prefix netip.Prefix, file string) *addresses {
	a := &addresses{prefix: prefix.Masked(), file: file, used: map[netip.Addr]bool{}}
	if b, err := os.ReadFile(file); err == nil {
		if last, err := netip.ParseAddr(strings.TrimSpace(string(b))); err == nil {
			a.last = last
		}
	}
	return a
}

// take gives an address that no pod has.
func (a *addresses) take() (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	wrapped := false
	for {
		if a.last = a.last.Next(); !a.last.Is4() || !a.prefix.Contains(a.last) {
			if wrapped {
				return netip.Addr{}, fmt.Errorf("no free address in %s", a.prefix)
			}
			wrapped = true
			b := a.prefix.Addr().As4()
			a.last = netip.AddrFrom4([4]byte{b[0], b[1], b[2] + 1, 1})
		}
		if b := a.last.As4(); b[3] != 0 && b[3] != 255 && !a.used[a.last] {
			a.used[a.last] = true
			if a.file != "" {
				if err := os.WriteFile(a.file, []byte(a.last.String()), 0o644); err != nil {
					return netip.Addr{}, err
				}
			}
			return a.last, nil
		}
	}
}

// release lets an address be handed out again, after all others.
func (a *addresses) release(ip netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.used, ip)
}
