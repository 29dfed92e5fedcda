# shellcheck shell=bash disable=SC2154 # variables of env.sh
# The official conformance suite, unmodified, run inside the node's network namespace: it dials Gateway addresses itself.

# given NAME ARGUMENTS…: is --NAME among them?
given() {
  local name=$1 a
  shift
  for a; do [[ $a != --"$name" && $a != --"$name"=* && $a != -"$name"=* ]] || return 0; done
  return 1
}

# value NAME ARGUMENTS…: the value of --NAME=VALUE.
value() {
  local name=$1 a
  shift
  for a; do [[ $a != --"$name"=* ]] || echo "${a#*=}"; done
}

suite() {
  local args=("$@") flags=() channel output report status=0 verbose='' profiles
  [[ " $* " != *" --verbose "* ]] || verbose=1
  for i in "${!args[@]}"; do [[ ${args[i]} != --verbose ]] || unset "args[i]"; done
  need_built
  channel=$(installed_channel)
  default() { given "$1" ${args[@]+"${args[@]}"} || flags+=("--$1=$2"); }
  default gateway-class fairway
  default conformance-profiles GATEWAY-HTTP,GATEWAY-GRPC,GATEWAY-TLS,GATEWAY-TCP,GATEWAY-UDP
  default usable-address "$USABLE_ADDRESS"
  default unusable-address "$UNUSABLE_ADDRESS"
  default organization fairway
  default project fairway
  default url "${FAIRWAY_URL:-https://fairway.dev}"
  default contact "${FAIRWAY_CONTACT:-https://fairway.dev}"
  default version "$(fairway_version)"
  # One test on its own: features are not read from the GatewayClass then, so an extended one would be skipped. Its
  # report says nothing about the whole and must not replace one that does.
  output=$conformance/reports/gateway-api-$(suite_version)-$channel.yaml
  if given run-test ${args[@]+"${args[@]}"}; then
    output=$TESTBED_STATE/reports/$(value run-test "${args[@]}").yaml
    given supported-features "${args[@]}" || given all-features "${args[@]}" || flags+=(--all-features)
  elif given skip-tests ${args[@]+"${args[@]}"} || given exempt-features ${args[@]+"${args[@]}"}; then
    output=$TESTBED_STATE/reports/partial.yaml
  fi
  report=$TESTBED_STATE/reports/new.yaml # of a run that ends early nothing is left to be mistaken for a result
  given report-output ${args[@]+"${args[@]}"} || flags+=("--report-output=$report")
  profiles=$(value conformance-profiles "${flags[@]}" ${args[@]+"${args[@]}"})
  if [[ $profiles == *MESH* && $profiles != *GATEWAY* ]]; then
    kubectl apply -f "$conformance/manifests/mesh-only.yaml" >/dev/null
  fi
  mkdir -p "$TESTBED_STATE/reports"
  rm -f "$report"
  inside "$bin/conformance.test" -test.run '^TestConformance$' -test.v -test.timeout="${TESTBED_SUITE_TIMEOUT:-60m}" \
    "${flags[@]}" ${args[@]+"${args[@]}"} 2>&1 | tee "$logs/suite.log" | progress "$verbose" || status=$?
  if [[ -s $report ]]; then
    mkdir -p "$(dirname "$output")"
    install -m 0644 "$report" "$output"
  else
    output=none
  fi
  summary "$logs/suite.log" "$output" "$(value run-test ${args[@]+"${args[@]}"})"
  return "$status"
}

# installed_channel: of the Gateway API's CRDs in the cluster.
installed_channel() {
  local channel
  channel=$(kubectl get crd gateways.gateway.networking.k8s.io -o jsonpath='{.metadata.annotations.gateway\.networking\.k8s\.io/channel}') ||
    fail "the Gateway API's CRDs are not installed; conformance/testbed up, without --crds=none"
  echo "$channel"
}

suite_version() { awk '$2 == "sigs.k8s.io/gateway-api/conformance" {print $3} $1 == "sigs.k8s.io/gateway-api/conformance" {print $2}' "$conformance/suite/go.mod"; }

fairway_version() { echo "v$(awk -F'"' '/^version = / {print $2; exit}' "$repo/Cargo.toml")"; }

# progress: each test's outcome as it comes; everything with VERBOSE.
progress() {
  if [[ -n $1 ]]; then
    cat
  else
    # Of a failed check, what it expected; the trace and all the waiting before it are in the log.
    awk '
      /Error Trace:|\.go:[0-9]+: / {told = 0}
      /^[ \t]+Error:[ \t]/ {told = 1}
      told {print}
      /^[ \t]+Messages:/ {told = 0}
      /^    --- (PASS|FAIL|SKIP)/ || /^--- / || /^panic:/ || /^no tests|^cannot/ {print; told = 0}
      {fflush()}'
  fi
}

# summary LOG REPORT [TEST]: numbers, and names of what did not pass; of one test on its own all others are skipped.
summary() {
  awk -v report="$2" -v log_file="$1" -v one="$3" '
    /^    --- PASS: TestConformance\/[^\/]+ / {passed++}
    /^    --- FAIL: TestConformance\/[^\/]+ / {failed[$3]; f++}
    /^    --- SKIP: TestConformance\/[^\/]+ / {skipped[$3]; s++}
    END {
      for (t in failed) {sub(".*/", "", t); print "failed   " t | "sort"}
      if (!one) for (t in skipped) {sub(".*/", "", t); print "skipped  " t | "sort"}
      close("sort")
      printf "\n%d passed, %d failed, %d skipped\nreport: %s\nlog: %s\n", passed, f, s, report, log_file
    }' "$1"
}
