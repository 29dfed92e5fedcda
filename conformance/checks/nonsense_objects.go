package main

import (
	"bytes"
	"fmt"
	"strings"

	"fairway.dev/conformance/checks/cluster"
	"fairway.dev/conformance/checks/load"
)

// absurdities gives one of each kind, in the namespace of the good ones.
func absurdities(b *bench, a *authority) ([]absurd, error) {
	one, err := a.issue("one.example")
	if err != nil {
		return nil, err
	}
	other, err := a.issue("other.example")
	if err != nil {
		return nil, err
	}
	all := append(badRoutes(b.name), huge(b.name, b.backends[0])...)
	return append(all, badGateways(b.name, one, other)...), nil
}

func condition(kind, status, reason, names string) cluster.Condition {
	return cluster.Condition{Type: kind, Status: status, Reason: reason, Message: names}
}

// badRoutes are wrong in themselves or in what they refer to.
func badRoutes(namespace string) []absurd {
	to := "backendRefs: [{ name: a, port: 80 }]"
	wrong := func(what, name, text string, want cluster.Condition) absurd {
		object := rules(namespace, name, name+".example", text)
		return absurd{what: what, objects: objects{object}, kind: "HTTPRoute", name: name, want: want}
	}
	annotated := func(name string, size int) objects {
		object := route(namespace, name, name+".example", "a", 0)
		object.SetAnnotations(map[string]string{"checks/filler": strings.Repeat("x", size)})
		return objects{object}
	}
	section := wrong("a section that is not there", "no-section", "\n  - "+to,
		condition("Accepted", "False", "NoMatchingParent", "nowhere"))
	section.objects = cluster.Parse(fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: no-section, namespace: %s }
spec:
  parentRefs: [{ name: edge, sectionName: nowhere }]
  hostnames: [no-section.example]
  rules: [{ %s }]
`, namespace, to))
	return []absurd{
		wrong("a regular expression that does not end", "bad-regex", `
  - matches: [{ path: { type: RegularExpression, value: "/([a-z" } }]
    `+to, condition("Accepted", "False", "UnsupportedValue", "regular expression")),
		wrong("a regular expression as long as it may be, of many repetitions", "big-regex", `
  - matches: [{ path: { type: RegularExpression, value: "/`+strings.Repeat("(a{1,900}){1,900}", 60)+`" } }]
    `+to, condition("Accepted", "False", "UnsupportedValue", "regular expression")),
		wrong("a backend that is not there", "no-backend", `
  - backendRefs: [{ name: nobody, port: 80 }]`, condition("ResolvedRefs", "False", "BackendNotFound", "nobody")),
		wrong("a filter that is not there", "no-filter", `
  - filters: [{ type: ExtensionRef, extensionRef: { group: nobody.example, kind: Magic, name: wand } }]
    `+to, condition("ResolvedRefs", "False", "InvalidKind", "wand")),
		section,
		{what: "an annotation of 1 MB", objects: annotated("annotated-too-much", 1<<20), refused: "annotations"},
		{
			what: "an annotation as long as it may be", objects: annotated("annotated", 262_000),
			kind: "HTTPRoute", name: "annotated", want: condition("Accepted", "True", "Accepted", ""), serves: "annotated.example",
		},
	}
}

// huge are objects as large as the API lets them be: all of them are to be served.
func huge(namespace string, a *load.Backend) []absurd {
	var text, slice strings.Builder
	for rule := range 16 {
		text.WriteString("\n  - matches:")
		for match := range 8 {
			if rule == 15 && match == 7 { // the 128th and last
				text.WriteString("\n    - path: { type: PathPrefix, value: / }")
				break
			}
			fmt.Fprintf(&text, "\n    - path: { type: PathPrefix, value: /%d/%d }\n      headers: [", rule, match)
			for header := range 16 {
				fmt.Fprintf(&text, "{ name: X-%d, value: %q },", header, strings.Repeat("v", 100))
			}
			text.WriteString("]\n      queryParams: [")
			for parameter := range 16 {
				fmt.Fprintf(&text, "{ name: q%d, value: %q },", parameter, strings.Repeat("w", 100))
			}
			text.WriteString("]")
		}
		text.WriteString("\n    backendRefs:")
		for backend := range 16 {
			fmt.Fprintf(&text, "\n    - { name: a, port: 80, weight: %d }", 1_000_000-backend)
		}
	}
	for i := range 999 {
		fmt.Fprintf(&slice, "\n- { addresses: [198.18.%d.%d], conditions: { ready: false } }", 200+i/250, 1+i%250)
	}
	crowd := service(namespace, "crowd", a)
	others := cluster.Parse("endpoints:" + slice.String())[0].Object["endpoints"].([]any)
	crowd[1].Object["endpoints"] = append(crowd[1].Object["endpoints"].([]any), others...)
	crowded := rules(namespace, "crowded", "crowded.example", `
  - backendRefs: [{ name: crowd, port: 80 }]`)
	accepted := condition("Accepted", "True", "Accepted", "")
	return []absurd{
		{
			what: "16 rules of 8 matches of 32 conditions", objects: objects{rules(namespace, "huge", "huge.example", text.String())},
			kind: "HTTPRoute", name: "huge", want: accepted, serves: "huge.example",
		},
		{
			what: "an EndpointSlice of 1000, one of them ready", objects: append(crowd, crowded),
			kind: "HTTPRoute", name: "crowded", want: accepted, serves: "crowded.example",
		},
	}
}

// badGateways have certificates that are none, beside listeners that are good; or more listeners than one reads.
func badGateways(namespace string, one, other *pair) []absurd {
	certificates := []struct {
		name             string
		certificate, key []byte
	}{
		{"no-pem", []byte("no certificate"), []byte("no key")},
		{"mixed-up", one.certificate, other.key},
		{"much-pem", bytes.Repeat(one.certificate, 300_000/len(one.certificate)), one.key[:20]},
		{"no-text", []byte{0, 0xff, 0xfe}, one.key},
		{"no-secret", nil, nil},
	}
	listeners := plain + encrypted
	for _, c := range certificates {
		listeners += fmt.Sprintf("\n  - { name: %[1]s, port: 443, protocol: HTTPS, hostname: %[1]s.example, "+
			"tls: { certificateRefs: [{ name: %[1]s }] } }", c.name)
	}
	var all []absurd
	for _, c := range certificates {
		var written objects
		if c.certificate != nil {
			written = secret(namespace, c.name, c.certificate, c.key)
		}
		all = append(all, absurd{
			what: "certificate " + c.name, objects: append(written, edge(namespace, 2, listeners)...),
			kind: "Gateway", name: "edge", section: c.name, want: condition("ResolvedRefs", "False", "InvalidCertificateRef", c.name),
		})
	}
	many := ""
	for i := range 64 {
		many += fmt.Sprintf("\n  - { name: l%d, port: %d, protocol: HTTP, hostname: \"*.l%d.example\" }", i, 8000+i, i)
	}
	crowd := edge(namespace, 0, many)
	for _, o := range crowd {
		o.SetName("crowd")
	}
	crowd[1].Object["spec"].(map[string]any)["infrastructure"].(map[string]any)["parametersRef"].(map[string]any)["name"] = "crowd"
	lost := edge(namespace, 0, plain)[1:]
	lost[0].SetName("lost")
	lost[0].Object["spec"].(map[string]any)["infrastructure"].(map[string]any)["parametersRef"].(map[string]any)["name"] = "nobody"
	return append(all,
		absurd{
			what: "a Gateway of 64 listeners", objects: crowd,
			kind: "Gateway", name: "crowd", section: "l63", want: condition("Accepted", "True", "Accepted", ""),
		},
		absurd{
			what: "parameters that are not there", objects: lost,
			kind: "Gateway", name: "lost", want: condition("Accepted", "False", "InvalidParameters", "nobody"),
		})
}
