# shellcheck shell=bash disable=SC2154 # variables of env.sh
# Pods: identity, probes, gates, init containers, restarts.

restarts() { k get pod "$1" -o jsonpath='{.status.containerStatuses[0].restartCount}'; }
has_restarted() { (($(restarts "$1") >= $2)); }
waiting_for() { [[ $(k get pod "$1" -o jsonpath='{.status.containerStatuses[0].state.waiting.reason}') == "$2" ]]; }
phase_is() { [[ $(k get pod "$1" -o jsonpath='{.status.phase}') == "$2" ]]; }
is_ready() { [[ $(k get pod "$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}') == True ]]; }

check_pods() {
  soon 20 "a strict pod is ready" is_ready strict
  [[ $(exec_in strict sh -c 'id -u; id -g; id -G' | xargs) == "65532 65532 65532" ]] || broken "strict pod: user"
  exec_in strict sh -c 'grep -q "CapEff:.0000000000000000" /proc/self/status' || broken "strict pod: capabilities"
  exec_in strict sh -c 'grep -q "NoNewPrivs:.1" /proc/1/status' || broken "strict pod: no_new_privs"
  ! exec_in strict sh -c 'echo x >/tmp/x || echo x >/usr/local/bin/x || echo x >/run/x' 2>/dev/null || broken "strict pod: can write"
  exec_in strict sh -c 'echo x >/var/cache/fairway/x' || broken "strict pod: cannot write its volume"
  exec_in strict sh -c 'ps ax 2>/dev/null | wc -l; test ! -e /proc/sysrq-trigger || ! echo h >/proc/sysrq-trigger' >/dev/null 2>&1 ||
    broken "strict pod: /proc is writable"
  ok "a strict pod has no root, no capability, nothing to write but its volume"
  soon 5 "a pod that must not be root is refused" waiting_for refused CreateContainerConfigError
  soon 20 "a pod has ended" phase_is unprivileged Succeeded
  k logs unprivileged | grep -q refused || broken "port 80 was bound without the right to"
  ok "without root and sysctl, port 80 cannot be bound"
  soon 20 "TCP startup and gRPC readiness probe pass" is_ready ailing
  exec_in ailing touch /tmp/ill
  soon 20 "a failed liveness probe restarts" has_restarted ailing 1
  soon 20 "the restarted container has a fresh root" is_ready ailing
  ! is_ready gated || broken "a pod is ready before its gate"
  k patch pod gated --subresource=status -p '{"status":{"conditions":[{"type":"example.com/programmed","status":"True"}]}}' >/dev/null
  soon 5 "a readiness gate opens" is_ready gated
  soon 20 "init container, sidecar and main container run in order, and the pod ends" phase_is stages Succeeded
  [[ $(k logs stages -c last) == one ]] || broken "volume between containers"
  soon 20 "a container that exits is restarted" has_restarted crashing 2
  soon 20 "with a pause" waiting_for crashing CrashLoopBackOff
  [[ $(k logs crashing --previous) == run ]] || broken "previous log"
  [[ $(k get pod crashing -o jsonpath='{.status.containerStatuses[0].lastState.terminated.exitCode}') == 3 ]] || broken "exit code"
  ok "exit code and previous log are kept"
  exec_in strict sh -c 'exit 3' 2>/dev/null && broken "exit code of exec lost"
  [[ $(k get events --field-selector reason=Unhealthy -o name | wc -l) -gt 0 ]] || broken "no event Unhealthy"
  ok "events tell of it"
}
