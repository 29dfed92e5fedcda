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

# What makes a run less than the whole, whose report must not replace one that says everything.
partial=(run-test skip-tests exempt-features supported-features all-features conformance-profiles conformance-options-file
  skip-provisional-tests gateway-class report-output)

suite() {
  local args=() flags=() a report=$TESTBED_STATE/reports/new.yaml kept status=0 verbose='' check='' how=(--whole)
  for a; do
    case $a in
      --verbose) verbose=1 ;;
      --check) check=1 ;;
      *) args+=("$a") ;;
    esac
  done
  need_built
  kept=$(kept_report)
  for a in "${partial[@]}"; do ! given "$a" ${args[@]+"${args[@]}"} || how=(); done
  [[ -z $check || ${#how[@]} -gt 0 ]] || fail "suite --check: a part of the suite cannot be compared with the report of the whole"
  default() { given "$1" ${args[@]+"${args[@]}"} || flags+=("--$1=$2"); }
  default gateway-class fairway
  default conformance-profiles GATEWAY-HTTP,GATEWAY-GRPC,GATEWAY-TLS,GATEWAY-TCP,GATEWAY-UDP,MESH-HTTP,MESH-GRPC
  default mesh-name fairway
  default namespace-labels fairway.dev/use-waypoint=auto
  default usable-address "$USABLE_ADDRESS"
  default unusable-address "$UNUSABLE_ADDRESS"
  default organization fairway
  default project fairway
  default url "${FAIRWAY_URL:-https://fairway.dev}"
  default contact "${FAIRWAY_CONTACT:-https://fairway.dev}"
  default version "$(fairway_version)"
  default report-output "$report"
  if given run-test ${args[@]+"${args[@]}"}; then
    # Features are not read from the GatewayClass then, so an extended test would be skipped.
    given supported-features "${args[@]}" || given all-features "${args[@]}" || flags+=(--all-features)
    how=(--one)
  fi
  # A mesh-only run waits for pods of namespaces that only a gateway profile fills.
  a=$(value conformance-profiles "${flags[@]}" ${args[@]+"${args[@]}"})
  if [[ $a == *MESH* && $a != *GATEWAY* ]]; then kubectl apply -f "$conformance/manifests/mesh-only.yaml" >/dev/null; fi
  mkdir -p "$TESTBED_STATE/reports"
  settle
  rm -f "$report" # of a run that ends early nothing is left to be mistaken for a result
  run_suite "${flags[@]}" ${args[@]+"${args[@]}"} 2>&1 | tee "$logs/suite.log" | progress "$verbose" || status=$?
  [[ ! -s $report ]] || how+=("--report=$report")
  [[ -z $check ]] || how+=("--kept=$kept")
  say ""
  "$bin/verdict" --log="$logs/suite.log" "${how[@]}" || status=1
  say "log: $logs/suite.log"
  if [[ $status == 0 && ${how[0]:-} == --whole && -z $check ]]; then
    install -D -m 0644 "$report" "$kept"
    say "report: $kept"
  fi
  return "$status"
}

# settle: wait for namespaces of an earlier run to be gone; while they end they refuse what the next run wants to make.
settle() {
  local ending
  mapfile -t ending < <(kubectl get namespaces --field-selector status.phase=Terminating -o name)
  ((${#ending[@]} == 0)) || kubectl wait --for=delete "${ending[@]}" --timeout=120s >/dev/null
}

# run_suite FLAGS…: one test at a time. Tests that may run side by side wait until every Gateway of their namespace is
# programmed, those of other tests that never will be included, and some grant what others expect to be refused.
run_suite() {
  inside "$bin/conformance.test" -test.run '^TestConformance$' -test.v -test.parallel=1 \
    -test.timeout="${TESTBED_SUITE_TIMEOUT:-60m}" "$@"
}

# kept_report: named as Gateway API's repository wants reports of implementations to be: CHANNEL-VERSION-MODE-report.yaml.
kept_report() {
  local channel
  channel=$(installed_channel)
  echo "$conformance/reports/$(suite_version)/$channel-$(fairway_version)-default-report.yaml"
}

# install_fairway: as people do, and until it serves.
install_fairway() {
  [[ -x $FAIRWAY_BIN/fairway ]] || fail "$FAIRWAY_BIN/fairway is missing; cargo build --release --workspace --bins, or set FAIRWAY_BIN"
  "$FAIRWAY_BIN/fairway" install | kubectl apply --server-side -f - >/dev/null
  kubectl -n fairway-system rollout status deployment/fairway-controller --timeout=120s
  kubectl wait --for=condition=Accepted gatewayclass/fairway --timeout=60s
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
