package main

import (
	"net"
	"strings"

	"github.com/miekg/dns"
	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
)

const (
	suffix = ".svc.cluster.local."
	ttl    = 5 // seconds, as Kubernetes' DNS specification suggests
)

// zone answers for the names of Services, from caches.
type zone struct {
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister
	known    func() bool // whether the caches have been filled
}

func (z *zone) answer(w dns.ResponseWriter, r *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(r)
	m.Authoritative = true
	switch {
	case len(r.Question) != 1:
		m.Rcode = dns.RcodeFormatError
	case !z.known():
		m.Rcode = dns.RcodeServerFailure
	default:
		m.Answer, m.Rcode = z.lookup(r.Question[0])
	}
	_ = w.WriteMsg(m)
}

// lookup finds what a name stands for: SERVICE.NAMESPACE, or HOST.SERVICE.NAMESPACE for a pod of a headless Service, or
// _PORT._PROTOCOL.SERVICE.NAMESPACE for SRV.
func (z *zone) lookup(q dns.Question) ([]dns.RR, int) {
	path, ok := strings.CutSuffix(strings.ToLower(q.Name), suffix)
	part := strings.Split(path, ".")
	if !ok || len(part) < 2 {
		return nil, dns.RcodeNameError
	}
	namespace, name, more := part[len(part)-1], part[len(part)-2], part[:len(part)-2]
	s, err := z.services.Services(namespace).Get(name)
	if err != nil { // a lister fails only with NotFound
		return nil, dns.RcodeNameError
	}
	if s.Spec.Type == v1.ServiceTypeExternalName && len(more) == 0 {
		return []dns.RR{&dns.CNAME{Hdr: header(q, dns.TypeCNAME), Target: dns.Fqdn(s.Spec.ExternalName)}}, dns.RcodeSuccess
	}
	if len(more) == 2 && strings.HasPrefix(more[0], "_") && strings.HasPrefix(more[1], "_") {
		return srv(q, s, more[0][1:], more[1][1:])
	}
	headless := s.Spec.ClusterIP == v1.ClusterIPNone
	switch {
	case len(more) == 0 && !headless:
		return addresses(q, s.Spec.ClusterIPs), dns.RcodeSuccess
	case len(more) == 0:
		return addresses(q, z.endpoints(s, "")), dns.RcodeSuccess
	case len(more) == 1 && headless:
		if ips := z.endpoints(s, more[0]); len(ips) > 0 {
			return addresses(q, ips), dns.RcodeSuccess
		}
	}
	return nil, dns.RcodeNameError
}

// endpoints gives the addresses behind a headless Service that are ready or published anyway; of one host, if it is named.
func (z *zone) endpoints(s *v1.Service, host string) []string {
	slices, err := z.slices.EndpointSlices(s.Namespace).List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: s.Name}))
	if err != nil {
		return nil
	}
	var ips []string
	for _, slice := range slices {
		for _, e := range slice.Endpoints {
			ready := e.Conditions.Ready == nil || *e.Conditions.Ready
			if ready && (host == "" || e.Hostname != nil && *e.Hostname == host) {
				ips = append(ips, e.Addresses...)
			}
		}
	}
	return ips
}

// srv answers for a named port of a Service with a ClusterIP.
func srv(q dns.Question, s *v1.Service, port, protocol string) ([]dns.RR, int) {
	for _, p := range s.Spec.Ports {
		if p.Name != port || !strings.EqualFold(string(p.Protocol), protocol) {
			continue
		}
		if q.Qtype != dns.TypeSRV {
			return nil, dns.RcodeSuccess
		}
		target := s.Name + "." + s.Namespace + suffix
		return []dns.RR{&dns.SRV{Hdr: header(q, dns.TypeSRV), Weight: 100, Port: uint16(p.Port), Target: target}}, dns.RcodeSuccess
	}
	return nil, dns.RcodeNameError
}

// addresses gives the records of the type that is asked for.
func addresses(q dns.Question, ips []string) []dns.RR {
	var records []dns.RR
	for _, s := range ips {
		ip := net.ParseIP(s)
		switch v4 := ip.To4(); {
		case v4 != nil && q.Qtype == dns.TypeA:
			records = append(records, &dns.A{Hdr: header(q, dns.TypeA), A: v4})
		case v4 == nil && ip != nil && q.Qtype == dns.TypeAAAA:
			records = append(records, &dns.AAAA{Hdr: header(q, dns.TypeAAAA), AAAA: ip})
		}
	}
	return records
}

func header(q dns.Question, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: q.Name, Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
}
