# shellcheck shell=bash disable=SC2154 # variables of env.sh
# What needs Fairway in the cluster: its installation, and the checks of conformance/checks.

# install_fairway: as a user does, with the programs of $FAIRWAY_BIN as images.
install_fairway() {
  [[ -x $FAIRWAY_BIN/fairway && -x $FAIRWAY_BIN/fairway-gateway ]] ||
    fail "$FAIRWAY_BIN lacks fairway or fairway-gateway; cargo build --release, or set FAIRWAY_BIN"
  "$FAIRWAY_BIN/fairway" install | kubectl apply --server-side -f - >/dev/null
  kubectl -n fairway-system rollout status deployment/fairway-controller --timeout=60s >/dev/null
  kubectl wait --for=condition=Accepted gatewayclass/fairway --timeout=60s >/dev/null
}

# check NAME FLAGS…: one of the checks, in the node's network; its exit code is the verdict.
check() {
  [[ -x $bin/checks ]] || fail "$bin/checks is missing; conformance/testbed build"
  inside true
  install_fairway
  TESTBED=$conformance/testbed TESTBED_NAME=$TESTBED_NAME TESTBED_STATE=$TESTBED_STATE TESTBED_CACHE=$TESTBED_CACHE \
    inside "$bin/checks" "$@"
}
