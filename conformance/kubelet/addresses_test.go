package main

import (
	"net/netip"
	"path/filepath"
	"testing"
)

func TestAddressesAreNotUsedAgainSoon(t *testing.T) {
	a := newAddresses(netip.MustParsePrefix("198.18.0.0/23"), "")
	seen := map[netip.Addr]bool{}
	for range 254 { // .1 to .254 of the second half; the first is the node's
		ip, err := a.take()
		if err != nil {
			t.Fatal(err)
		}
		if seen[ip] {
			t.Fatalf("%s twice, although others were free", ip)
		}
		seen[ip] = true
		a.release(ip)
	}
	if ip, err := a.take(); err != nil || ip != netip.MustParseAddr("198.18.1.1") {
		t.Errorf("after all: %s, %v", ip, err)
	}
}

func TestAddressesInUseAreNotGiven(t *testing.T) {
	a := newAddresses(netip.MustParsePrefix("198.18.0.0/23"), "")
	for range 254 {
		if _, err := a.take(); err != nil {
			t.Fatal(err)
		}
	}
	if ip, err := a.take(); err == nil {
		t.Errorf("%s was given twice", ip)
	}
	free := netip.MustParseAddr("198.18.1.77")
	a.release(free)
	if ip, err := a.take(); err != nil || ip != free {
		t.Errorf("%s, %v; want the only free one", ip, err)
	}
}

func TestTheLastAddressIsRememberedOverARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "last")
	prefix := netip.MustParsePrefix("198.18.0.0/16")
	before, err := newAddresses(prefix, file).take()
	if err != nil {
		t.Fatal(err)
	}
	if after, err := newAddresses(prefix, file).take(); err != nil || after != before.Next() {
		t.Errorf("%s after %s, %v", after, before, err)
	}
}
