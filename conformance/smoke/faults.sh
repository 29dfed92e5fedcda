# shellcheck shell=bash disable=SC2154 # variables of env.sh
# Faults on purpose: they strike, they last, they end.

testbed() { "$conformance/testbed" "$@"; }
is_available() { [[ $(k get deployment victim -o jsonpath='{.status.readyReplicas}') == 1 ]]; }
is_not_available() { ! is_available; }

check_faults() {
  local pod
  k rollout status deployment/victim --timeout=60s >/dev/null
  soon 10 "a victim serves" from_node http://198.19.100.101/
  testbed kill 'smoke/victim-*' --hold >/dev/null
  soon 5 "a killed container is not ready" is_not_available
  sleep 2
  is_not_available || broken "a held container was restarted"
  ok "and stays dead while it is held"
  testbed start 'smoke/victim-*'
  soon 10 "let go, it is restarted" is_available
  soon 5 "and serves" from_node http://198.19.100.101/
  testbed kill kube-apiserver >/dev/null
  ! served || broken "the API server was killed and answers"
  for _ in $(seq 20); do from_node -o /dev/null http://198.19.100.101/ || broken "a Service without the API server"; done
  ok "Services work without the API server"
  testbed kill 'smoke/victim-*' >/dev/null
  soon 10 "containers are restarted without it" from_node http://198.19.100.101/
  testbed start kube-apiserver >/dev/null
  soon 20 "it comes back and knows the pod is ready" is_available
  testbed pause testbed-kubelet >/dev/null
  testbed resume testbed-kubelet >/dev/null
  pod=$(k get pods -l app=victim -o jsonpath='{.items[0].metadata.name}')
  testbed kill testbed-kubelet >/dev/null
  [[ -z $(ip netns list | awk '{print $1}' | grep "^$TESTBED_NAME\.." | xargs -rn1 ip netns pids) ]] || broken "pods outlive their kubelet"
  ok "no process outlives a killed kubelet"
  testbed start testbed-kubelet >/dev/null
  soon 20 "a new kubelet starts its pods again" from_node http://198.19.100.101/
  has_restarted "$pod" 1 || broken "restarts are not counted"
}
