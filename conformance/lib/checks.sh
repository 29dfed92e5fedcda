# shellcheck shell=bash disable=SC2154 # variables of env.sh
# The checks of conformance/checks.

# check NAME FLAGS…: one of the checks, in the node's network; its exit code is the verdict.
check() {
  [[ -x $bin/checks ]] || fail "$bin/checks is missing; conformance/testbed build"
  inside true
  install_fairway >/dev/null
  TESTBED=$conformance/testbed TESTBED_NAME=$TESTBED_NAME TESTBED_STATE=$TESTBED_STATE TESTBED_CACHE=$TESTBED_CACHE \
    inside "$bin/checks" "$@"
}
