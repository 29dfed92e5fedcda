# shellcheck shell=bash
# Volumes: what is late, what changes, tokens.

shows() { exec_in reader cat "$1" | grep -qF -- "$2"; }

check_volumes() {
  sleep 1
  ! is_ready reader || broken "a pod runs without its Secret"
  k create secret generic late --from-literal=key=value >/dev/null
  soon 10 "a pod starts when its Secret comes" is_ready reader
  shows /late/sub/key value || broken "Secret"
  [[ $(exec_in reader sh -c 'stat -Lc %a /late/sub/key') == 440 ]] || broken "mode of a Secret with fsGroup"
  # shellcheck disable=SC2016
  [[ $(exec_in reader sh -c 'echo "$BOTH"') == "before $(k get pod reader -o jsonpath='{.status.podIP}') \$(WORD)" ]] || broken "variables"
  ok "Secret and variables"
  k patch configmap settings -p '{"data":{"word":"after"}}' >/dev/null
  soon 3 "a changed ConfigMap arrives" shows /all/word after
  k label pod reader colour=blue --overwrite >/dev/null
  soon 3 "a changed label arrives" shows /all/labels 'colour="blue"'
  exec_in reader cat /all/token | cut -d. -f2 | tr '_-' '/+' | { base64 -d 2>/dev/null || true; } | grep -q '"aud":\["fairway"\]' ||
    broken "audience of the token"
  ok "a token has the audience it was asked for"
  ! exec_in reader sh -c 'echo x >/all/word' 2>/dev/null || broken "a projected volume can be written"
  exec_in reader sh -c 'test -s /var/run/secrets/kubernetes.io/serviceaccount/token' || broken "ServiceAccount token"
  ok "the ServiceAccount's token is there, and nothing of it can be written"
}
