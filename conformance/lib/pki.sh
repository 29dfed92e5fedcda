# shellcheck shell=bash disable=SC2154 # variables of env.sh
# The cluster's keys, made once: one CA, one serving certificate, one ServiceAccount key, one admin token.
make_pki() (
  [[ ! -f $admin ]] || return 0
  umask 077
  rm -rf "$pki"
  mkdir -p "$pki"
  cd "$pki" || exit
  {
    openssl ecparam -name prime256v1 -genkey -noout -out ca.key
    openssl req -x509 -new -key ca.key -subj /CN=testbed-ca -days 3650 -out ca.crt \
      -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
    openssl ecparam -name prime256v1 -genkey -noout -out apiserver.key
    openssl req -new -key apiserver.key -subj /CN=kube-apiserver -out apiserver.csr
    names=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
    printf 'subjectAltName=IP:127.0.0.1,IP:%s,IP:%s,%s\nextendedKeyUsage=serverAuth\n' "$NODE_IP" "$API_IP" "$names" >extensions
    openssl x509 -req -in apiserver.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile extensions -out apiserver.crt
    openssl genrsa -out sa.key 2048
    openssl rsa -in sa.key -pubout -out sa.pub
  } >openssl.log 2>&1 || {
    tail -n 5 openssl.log >&2
    fail "keys could not be made; see $pki/openssl.log"
  }
  token=$(openssl rand -hex 16)
  echo "$token,admin,admin,system:masters" >tokens.csv
  cat >new.kubeconfig <<K
apiVersion: v1
kind: Config
clusters: [{name: testbed, cluster: {server: "https://$NODE_IP:6443", certificate-authority: $pki/ca.crt}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: testbed, context: {cluster: testbed, user: admin}}]
current-context: testbed
K
  mv new.kubeconfig "$admin" # last: it tells that all is there
)
