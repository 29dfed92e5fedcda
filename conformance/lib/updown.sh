# shellcheck shell=bash disable=SC2154 # variables of env.sh
# Start and stop of the whole.

# up: a fresh cluster. What is left of an earlier one is removed; one that runs is refused.
up() {
  local began program pid
  began=$(date +%s%N)
  need_root
  need_built
  locked
  for program in "${programs[@]}" kube-scheduler; do
    ! pid=$(living "$pids/$program") || fail "$program already runs (process $pid); conformance/testbed down"
  done
  clear_away
  rm -rf "$TESTBED_STATE/etcd" "$logs"
  mkdir -p "$logs/pods" "$pids"
  [[ $(stat -f -c %T "$TESTBED_STATE") != overlayfs ]] ||
    fail "$TESTBED_STATE lies on an overlay, where pods' roots cannot be made; set TESTBED_STATE"
  make_pki
  make_network
  sed -e "s|@TESTBED_BIN@|$bin|" -e "s|@FAIRWAY_BIN@|$FAIRWAY_BIN|" "$conformance/images.json" >"$TESTBED_STATE/images.json"
  launch etcd
  launch kube-apiserver
  await_served
  for program in "${programs[@]:2}"; do launch "$program"; done
  kubectl apply -f "$conformance/manifests/kube-dns.yaml" >/dev/null
  apply_crds
  wait_for 60 "the node" kubectl wait --for=condition=Ready node/testbed --timeout=30s
  wait_for 60 "kube-proxy" inside nft list table ip kube-proxy
  say "up in $((($(date +%s%N) - began) / 1000000)) ms: kubectl with \`conformance/testbed kubectl\`, logs in $logs"
}

# apply_crds: those of the Gateway API, of the channel or directory in TESTBED_CRDS.
apply_crds() {
  local dir=$TESTBED_CRDS file files=()
  case $dir in
    none) return ;;
    standard | experimental) dir=$crds/$dir ;;
  esac
  for file in "$dir"/*.yaml; do # file by file: a directory may also hold a kustomization.yaml, which is not an object
    [[ ${file##*/} == kustomization.yaml || ! -e $file ]] || files+=(-f "$file")
  done
  ((${#files[@]})) || fail "no CRDs in $dir"
  kubectl apply --server-side "${files[@]}" >/dev/null
  kubectl wait --for=condition=Established crd --all --timeout=60s >/dev/null
}

# down: stop what runs, by its recorded process, and remove what is left but keys and logs.
down() {
  local began program
  began=$(date +%s%N)
  need_root
  locked
  stop testbed-kubelet TERM 10 # ends every pod
  # The rest has nothing to lose, and the API server would drain its watches for a minute.
  for program in "${programs[@]}" kube-scheduler; do signal_file "$pids/$program" KILL || true; done
  for program in "${programs[@]}" kube-scheduler; do stop "$program" KILL 1; done
  clear_away
  say "down in $((($(date +%s%N) - began) / 1000000)) ms"
}

# clear_away: what an earlier testbed of this name left, whose processes have ended.
clear_away() {
  local left
  if [[ -e $netns ]] && left=$(ip netns pids "$TESTBED_NAME") && [[ -n $left ]]; then
    say "still running in the testbed, started by others: $(xargs ps -o pid=,comm= -p <<<"$(paste -sd, <<<"$left")" | xargs)"
  fi
  remove_networks
  rm -rf --one-file-system "$TESTBED_STATE/pods" "$TESTBED_STATE/kubectl" "$pids"
}

# status: what runs, with its memory.
status() {
  local program pid rss total=0
  printf '%-26s %8s %10s\n' PROGRAM PROCESS "RSS (MB)"
  for program in "${programs[@]}"; do
    if pid=$(living "$pids/$program"); then
      rss=$(awk '/^VmRSS/{print int($2 / 1024)}' "/proc/$pid/status")
      total=$((total + rss))
      printf '%-26s %8s %10s\n' "$program" "$pid" "$rss"
    else
      printf '%-26s %8s %10s\n' "$program" - -
    fi
  done
  printf '%-26s %8s %10s\n' "" "" "$total"
  [[ ! -e $netns ]] || kubectl get pods -A --no-headers 2>/dev/null | awk '{n[$4]++} END {for (s in n) printf "pods %s: %d\n", s, n[s]}'
}
