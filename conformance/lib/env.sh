# shellcheck shell=bash disable=SC2034
# The testbed's variables; set any of the upper ones beforehand to change it.
conformance=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
repo=$(dirname "$conformance")

TESTBED_NAME=${TESTBED_NAME:-testbed}
TESTBED_CACHE=$(realpath -m "${TESTBED_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fairway/testbed}")
TESTBED_STATE=$(realpath -m "${TESTBED_STATE:-${XDG_STATE_HOME:-$HOME/.local/state}/fairway/testbed/$TESTBED_NAME}")
TESTBED_CRDS=${TESTBED_CRDS:-experimental}
FAIRWAY_BIN=$(realpath -m "${FAIRWAY_BIN:-${CARGO_TARGET_DIR:-$repo/target}/release}")

# RFC 2544 range: not private, and not refused by the API's validation as loopback is. The first 256 are the node's.
NODE_IP=198.18.0.1 POD_CIDR=198.18.0.0/16
SERVICE_CIDR=198.19.0.0/17 LB_CIDR=198.19.255.0/24 VIP_CIDR=198.19.0.0/16
API_IP=198.19.0.1 DNS_IP=198.19.0.10
USABLE_ADDRESS=198.19.255.200 UNUSABLE_ADDRESS=192.0.2.1

bin=$TESTBED_CACHE/bin
crds=$TESTBED_CACHE/crds
pki=$TESTBED_STATE/pki
logs=$TESTBED_STATE/log
pids=$TESTBED_STATE/run
admin=$pki/admin.kubeconfig
netns=/run/netns/$TESTBED_NAME

fail() {
  printf 'testbed: %s\n' "$*" >&2
  exit 1
}

say() { printf '%s\n' "$*"; }

[[ $TESTBED_NAME =~ ^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$ ]] || fail "TESTBED_NAME=$TESTBED_NAME: small letters, digits and dashes, at most 32"

# inside COMMAND…: run it in the node's network namespace and this machine's mount namespace.
# (`ip netns exec` would change the mount namespace, and network namespaces made there would not be seen here.)
inside() {
  [[ -e $netns ]] || fail "the testbed $TESTBED_NAME is not up; conformance/testbed up"
  KUBECONFIG=$admin KUBECACHEDIR=$TESTBED_STATE/kubectl PATH=$bin:$PATH:$FAIRWAY_BIN nsenter --net="$netns" "$@"
}

kubectl() { inside "$bin/kubectl" --kubeconfig "$admin" "$@"; }

need_root() { ((EUID == 0)) || fail "needs root, for network namespaces and mounts"; }

need_built() {
  local program
  for program in etcd control-plane testbed-kubelet testbed-dns conformance.test verdict; do
    [[ -x $bin/$program ]] || fail "$bin/$program is missing; conformance/testbed build"
  done
}

# locked: only one command at a time changes a testbed; the lock is released when this process ends.
locked() {
  mkdir -p "$TESTBED_STATE"
  exec 9>"$TESTBED_STATE/lock"
  flock -w 60 9 || fail "another command is changing the testbed $TESTBED_NAME"
}
