# Decides by what Fairway tells of a request (input.attributes), as policies written for Envoy do.
package authz

http := input.attributes.request.http

default result := {"allowed": false, "http_status": 403, "body": "not you", "headers": {"x-reason": "default"}}

# Whoever reads is admitted, without what it says of itself, and the backend is told where it comes from.
result := {
	"allowed": true,
	"headers": {"x-source": input.attributes.source.address.socketAddress.address, "x-route": input.attributes.contextExtensions.route},
	"request_headers_to_remove": ["x-role"],
	"response_headers_to_add": {"x-decided-by": "opa"},
} if {
	http.method == "GET"
	http.host == "a.test"
	startswith(http.path, "/public/")
}

result := {"allowed": true, "headers": {"x-role": "admin"}} if {
	http.headers.authorization == "Bearer admin"
}

# A transfer is judged by its body, all of it.
result := {"allowed": true} if {
	http.method == "POST"
	http.path == "/transfers"
	http.headers["x-envoy-auth-partial-body"] == "false"
	json.unmarshal(http.body).amount <= 100
}
