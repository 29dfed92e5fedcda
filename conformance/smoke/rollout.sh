# shellcheck shell=bash disable=SC2154 # variables of env.sh
# A rolling update under traffic loses nothing.

check_rollout() {
  local log caller pods
  k rollout status deployment/rolling --timeout=60s >/dev/null
  soon 10 "a Deployment serves" from_node http://198.19.100.100/
  log=$TESTBED_STATE/smoke.log
  (while :; do from_node -o /dev/null -w '%{http_code}\n' http://198.19.100.100/ || echo "curl $?"; sleep 0.01; done) >"$log" 2>/dev/null &
  caller=$!
  k rollout restart deployment/rolling >/dev/null
  k rollout status deployment/rolling --timeout=60s >/dev/null
  sleep 4 # the last old pods end
  kill "$caller"
  wait "$caller" 2>/dev/null || true
  sed -i '$d' "$log" # may be half a line
  ! grep -qvx 200 "$log" || broken "rolling update: $(sort "$log" | uniq -c | xargs)"
  pods=$(k get pods -l app=rolling --no-headers | wc -l)
  ((pods == 2)) || broken "$pods pods after the update"
  ok "rolling update: $(wc -l <"$log") of $(wc -l <"$log") requests answered"
  rm -f "$log"
}
