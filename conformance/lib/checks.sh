# shellcheck shell=bash disable=SC2154 # variables of env.sh
# The checks of conformance/checks.

# install_crds: ours, as the charts have them.
install_crds() {
  kubectl apply --server-side --force-conflicts -f "$repo/deploy/charts/fairway-crds/templates/crds.yaml"
  kubectl wait --for=condition=Established crd --all --timeout=60s
}

# check NAME FLAGS…: one of the checks, in the node's network; its exit code is the verdict.
check() {
  [[ -x $bin/checks ]] || fail "$bin/checks is missing; conformance/testbed build"
  inside true
  if [[ $1 == schema ]]; then install_crds; else install_fairway; fi >/dev/null
  TESTBED=$conformance/testbed TESTBED_NAME=$TESTBED_NAME TESTBED_STATE=$TESTBED_STATE TESTBED_CACHE=$TESTBED_CACHE \
    inside "$bin/checks" "$@"
}
