# shellcheck shell=bash disable=SC2154 # variables of env.sh
# The node's network namespace: no link to the outside, no default route.
make_network() {
  ip netns add "$TESTBED_NAME"
  # Before any device is made: new devices take over `default`. Redirects off: a hairpin leaves by the device it came from.
  inside sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 \
    net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0
  ip -n "$TESTBED_NAME" link set lo up
  ip -n "$TESTBED_NAME" addr add "$NODE_IP/32" dev lo
  # Service addresses need a route, else connect() fails before kube-proxy's OUTPUT hook sees the packet. What it does not
  # rewrite dies here without an answer to ARP: the pair ends in itself.
  ip -n "$TESTBED_NAME" link add vip0 type veth peer name vip1
  ip -n "$TESTBED_NAME" link set vip0 up
  ip -n "$TESTBED_NAME" link set vip1 up
  ip -n "$TESTBED_NAME" route add "$VIP_CIDR" dev vip0 src "$NODE_IP"
}

# remove_networks: the node's namespace with devices, routes and nftables rules; those of pods that a killed kubelet left.
remove_networks() {
  local path
  for path in "$netns".*; do
    [[ -e $path ]] || continue
    ip netns del "${path##*/}" || true
  done
  [[ ! -e $netns ]] || ip netns del "$TESTBED_NAME"
}
