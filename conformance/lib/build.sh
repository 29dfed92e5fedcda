# shellcheck shell=bash disable=SC2154 # variables of env.sh
# Builds every program into $TESTBED_CACHE/bin, from Go modules. Three of them, because Kubernetes, etcd and the suite pin
# versions that one build list would move. Go's build cache makes a second run a matter of seconds.

# step NAME DIRECTORY GO-ARGUMENTS…: one program.
step() {
  local name=$1 dir=$2 began=$SECONDS
  shift 2
  printf '%-16s ' "$name"
  (cd "$conformance/$dir" && GOFLAGS="${GOFLAGS:-} -trimpath -mod=readonly" CGO_ENABLED=0 go "$@") || fail "$name could not be built"
  printf '%4d s\n' $((SECONDS - began))
}

build() {
  local version kubernetes v name
  command -v go >/dev/null || fail "Go 1.26 is needed"
  version=$(cd "$conformance" && go env GOVERSION)
  # Kubernetes 1.36's OpenAPI breaks under Go 1.27: `kubectl apply` would fail with "failed to download openapi".
  [[ $version == go1.26 || $version == go1.26.* ]] || fail "Go 1.26 is needed, this is $version"
  mkdir -p "$bin"
  kubernetes=$(cd "$conformance" && go list -m -f '{{.Version}}' k8s.io/kubernetes)
  say "Kubernetes $kubernetes, Gateway API $(cd "$conformance/suite" && go list -m -f '{{.Version}}' sigs.k8s.io/gateway-api/conformance), into $bin"
  v=k8s.io/component-base/version # without it the server calls itself v0.0.0-master+$Format, which clients refuse to parse
  step control-plane . build -o "$bin/control-plane" -ldflags \
    "-s -w -X $v.gitVersion=$kubernetes -X $v.gitMajor=1 -X $v.gitMinor=$(cut -d. -f2 <<<"$kubernetes")" ./control-plane
  for name in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubectl; do ln -sf control-plane "$bin/$name"; done
  step testbed-kubelet . build -ldflags "-s -w" -o "$bin/testbed-kubelet" ./kubelet
  step testbed-dns . build -ldflags "-s -w" -o "$bin/testbed-dns" ./dns
  step echo-advanced . build -ldflags "-s -w" -o "$bin/server" ./echo-advanced
  ln -sf server "$bin/client"
  step checks . build -ldflags "-s -w" -o "$bin/checks" ./checks
  step etcd etcd build -ldflags "-s -w" -o "$bin/etcd" .
  step suite suite test -c -ldflags "-s -w" -o "$bin/conformance.test" .
  step verdict suite build -ldflags "-s -w" -o "$bin/verdict" ./verdict
  step echo-basic suite build -ldflags "-s -w" -o "$bin/echo-basic" sigs.k8s.io/gateway-api/conformance/echo-basic
  copy_crds
}

# copy_crds: from the module, so that `up` needs no Go.
copy_crds() {
  local from channel
  from=$(cd "$conformance/suite" && go list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api)/config/crd
  rm -rf "$crds"
  for channel in standard experimental; do
    mkdir -p "$crds/$channel"
    install -m 0644 "$from/$channel"/gateway*.yaml "$crds/$channel/"
  done
}
