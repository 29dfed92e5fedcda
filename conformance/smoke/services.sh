# shellcheck shell=bash disable=SC2154 # variables of env.sh
# Services: every way to a pod, with the source address that arrives there.

# answers POD URL: "HOSTNAME SOURCE" of each of 20 requests from a pod, each on a connection of its own.
answers() {
  exec_in "$1" client "$2" --count=20 --new-connection-per-request |
    awk '/body\] IP=/{split($3,a,"=");i=a[2]} /body\] Hostname=/{split($3,a,"=");print a[2],i}'
}

vip_of() { k get service "$1" -o jsonpath='{.status.loadBalancer.ingress[0].ip}'; }
has_vip() { [[ -n $(vip_of "$1") ]]; }
from_node() { inside curl -sf --max-time 3 "$@"; }

check_services() {
  local pods pod name ip url seen other vip i service
  k rollout status deployment/echo --timeout=60s >/dev/null
  mapfile -t pods < <(k get pods -l app=echo -o jsonpath='{range .items[*]}{.metadata.name} {.status.podIP}{"\n"}{end}')
  read -r name ip <<<"${pods[0]}"
  soon 10 "a pod reaches its Service" exec_in "$name" client grpc://echo:7070 --timeout=1s # kube-proxy is a second behind
  for pod in "${pods[@]}"; do
    read -r name ip <<<"$pod"
    for url in http://echo grpc://echo:7070; do
      seen=$(answers "$name" "$url")
      [[ $(grep -c . <<<"$seen") == 20 ]] || broken "$name $url: not 20 answers: $seen"
      other=$(awk -v me="$name" '$1 != me' <<<"$seen")
      [[ -z $(awk -v ip="$ip" '$2 != ip' <<<"$other") ]] || broken "$name $url: source not kept: $other"
      ok "$name $url: 20 of 20, $(grep -c . <<<"$other" || true) by the other pod, which saw $ip"
    done
  done
  [[ $(exec_in "$name" client http://headless:8080 --count=2 | grep -c 'StatusCode=200') == 2 ]] || broken "headless Service"
  ok "headless Service resolves to pods"
  for service in lb lb-local; do
    soon 5 "Service $service has an address" has_vip "$service"
    vip=$(vip_of "$service")
    soon 5 "Service $service: $vip serves" from_node "http://$vip/"
    for ((i = 0; i < 20; i++)); do from_node "http://$vip/" | grep -q ^Hostname= || broken "$service $vip: request $i"; done
    seen=$(exec_in "$name" client "http://$vip/" --count=10 --new-connection-per-request | grep -o ' IP=.*' | sort | uniq -c | xargs)
    ok "Service $service: $vip 20 of 20 from the node; from pod $ip, source seen $seen"
  done
  [[ $(vip_of lb-local) == 198.19.255.200 ]] || broken "the address that was asked for was not given"
  for service in lb-unusable lb-taken; do
    ! has_vip "$service" || broken "Service $service got $(vip_of "$service")"
    ok "Service $service has no address"
  done
  k delete service lb-local >/dev/null
  soon 5 "Service lb-taken gets the address when it is free" has_vip lb-taken
  soon 5 "node port" from_node "http://$NODE_IP:30080/"
  from_node "http://$ip:8080/?smoke" | grep -q "IP=$NODE_IP" || broken "node to pod"
  ok "node to pod: source $NODE_IP"
}
