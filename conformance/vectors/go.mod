// Test vectors of others, which tests read where Go keeps modules, at the version written here.
module fairway.dev/conformance/vectors

go 1.26.4

require (
	github.com/c2sp/wycheproof v0.0.0-20260902155932-3fa63dd0344a
	github.com/envoyproxy/ratelimit v1.4.1-0.20260122083618-3fb702589d36
)
