# shellcheck shell=bash disable=SC2154 # variables of env.sh
# The programs of the control plane and the node: names, flags, order. Why a flag is needed stands beside it.
programs=(etcd kube-apiserver kube-controller-manager testbed-kubelet testbed-dns kube-proxy)
[[ -z ${TESTBED_SCHEDULER:-} ]] || programs+=(kube-scheduler)

is_program() { [[ " ${programs[*]} kube-scheduler " == *" $1 "* ]]; }

# launch PROGRAM: start it as `up` does.
launch() {
  case $1 in
    etcd)
      # No fsync: nothing here has to survive the machine.
      daemon etcd "$bin/etcd" --data-dir "$TESTBED_STATE/etcd" --unsafe-no-fsync --log-level=warn \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380
      ;;
    kube-apiserver)
      # InternalIP: else logs and exec dial the node by its name and fail in DNS.
      daemon kube-apiserver "$bin/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --secure-port=6443 \
        --advertise-address="$NODE_IP" --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
        --token-auth-file="$pki/tokens.csv" --authorization-mode=RBAC --service-cluster-ip-range="$SERVICE_CIDR" \
        --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$pki/sa.pub" \
        --service-account-signing-key-file="$pki/sa.key" --allow-privileged=true \
        --kubelet-preferred-address-types=InternalIP --enable-priority-and-fairness=false
      ;;
    kube-controller-manager)
      daemon kube-controller-manager "$bin/kube-controller-manager" --kubeconfig="$admin" --leader-elect=false \
        --kube-api-qps=200 --kube-api-burst=400 --service-account-private-key-file="$pki/sa.key" \
        --root-ca-file="$pki/ca.crt" --controllers="$(controllers)"
      ;;
    testbed-kubelet)
      local bind=true
      [[ -z ${TESTBED_SCHEDULER:-} ]] || bind=false
      daemon testbed-kubelet "$bin/testbed-kubelet" --kubeconfig="$admin" --images="$TESTBED_STATE/images.json" \
        --root="$TESTBED_STATE/pods" --logs="$logs/pods" --netns-prefix="$TESTBED_NAME." --node-ip="$NODE_IP" \
        --pod-cidr="$POD_CIDR" --lb-cidr="$LB_CIDR" --svc-host="$API_IP" --dns="$DNS_IP" --bind="$bind"
      ;;
    testbed-dns)
      daemon testbed-dns "$bin/testbed-dns" --kubeconfig "$admin" --addr "$NODE_IP:53"
      ;;
    kube-proxy)
      # cluster-cidr: what comes from a pod or the node keeps its source address; hence no --masquerade-all.
      # conntrack 0: leave limits alone which belong to the whole machine.
      daemon kube-proxy "$bin/kube-proxy" --kubeconfig "$admin" --proxy-mode=nftables --hostname-override=testbed \
        --cluster-cidr="$POD_CIDR" --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 \
        --conntrack-tcp-timeout-close-wait=0
      ;;
    kube-scheduler)
      daemon kube-scheduler "$bin/kube-scheduler" --kubeconfig "$admin" --leader-elect=false
      ;;
  esac
}

# controllers: those of kube-controller-manager that something here needs.
controllers() {
  local name list=
  for name in clusterrole-aggregation cronjob daemonset deployment disruption endpoints endpointslice garbage-collector \
    horizontal-pod-autoscaler job namespace pod-garbage-collector replicaset root-ca-certificate-publisher \
    serviceaccount statefulset ttl-after-finished; do
    list+=,$name-controller
  done
  echo "${list#,}"
}

# served: is the API server ready?
served() {
  inside curl -sf --max-time 2 --cacert "$pki/ca.crt" -H "Authorization: Bearer $(cut -d, -f1 "$pki/tokens.csv")" \
    "https://$NODE_IP:6443/readyz"
}

# await_served: wait for it, and say so if it ends instead.
await_served() {
  local end=$((SECONDS + 120))
  until served >/dev/null 2>&1; do
    living "$pids/kube-apiserver" >/dev/null || {
      tail -n 5 "$logs/kube-apiserver.log" >&2
      fail "kube-apiserver has ended; see $logs/kube-apiserver.log"
    }
    ((SECONDS < end)) || fail "kube-apiserver is not ready within 120 s; see $logs/kube-apiserver.log"
    sleep 0.1
  done
}
