# shellcheck shell=bash disable=SC2154 # variables of env.sh
# Faults on purpose. TARGET is a program of the testbed, or NAMESPACE/POD[/CONTAINER], where POD may hold `*`.
# Only processes that the testbed recorded are signalled.

# pid_files TARGET: the files that remember the target's processes. It asks no API server: that may be down.
pid_files() {
  local target=$1 namespace pod container dir uid file
  if is_program "$target"; then
    echo "$pids/$target"
    return
  fi
  IFS=/ read -r namespace pod container <<<"$target"
  [[ -n $pod ]] || fail "$target is neither one of ${programs[*]} nor NAMESPACE/POD[/CONTAINER]"
  # Logs are kept as NAMESPACE_POD_UID, what a pod has while it lives below its whole UID.
  for dir in "$logs/pods/${namespace}_"*; do
    uid=${dir##*_}
    # shellcheck disable=SC2053 # a pattern is meant
    [[ ${dir##*/} == ${namespace}_${pod}_$uid ]] || continue
    # shellcheck disable=SC2231 # a pattern is meant
    for file in "$TESTBED_STATE/pods/$uid"*/pids/${container:-*}; do
      [[ ! -e $file ]] || echo "$file"
    done
  done
}

# holds FILE: where a held container of that pid file is noted.
hold_file() { echo "$(dirname "$(dirname "$1")")/hold/${1##*/}"; }

# send TARGET SIGNAL [--hold]
send() {
  local target=$1 signal=$2 hold=${3:-} file files sent=0
  files=$(pid_files "$target")
  while read -r file; do
    [[ -n $file ]] || continue
    if [[ $hold == --hold && $file == "$TESTBED_STATE/pods/"* ]]; then
      mkdir -p "$(dirname "$(hold_file "$file")")"
      : >"$(hold_file "$file")"
    fi
    if signal_file "$file" "$signal"; then
      sent=$((sent + 1))
      say "SIG$signal to ${file##*/} ($(cut -d' ' -f1 "$file"))"
    fi
  done <<<"$files"
  ((sent)) || fail "nothing of $target runs"
}

kill_target() {
  local target=${1:-} hold='' signal=KILL
  [[ -n $target ]] || fail "kill what? A program, or NAMESPACE/POD[/CONTAINER]"
  shift
  while (($#)); do
    case $1 in
      --hold) hold=--hold ;;
      --signal=*) signal=${1#*=} signal=${signal#SIG} ;;
      *) fail "kill: $1 is not an option" ;;
    esac
    shift
  done
  locked
  send "$target" "$signal" $hold
  if is_program "$target" && [[ $signal == KILL ]]; then stop "$target" KILL 5; fi
}

# start_target: a program that was killed; containers that were held.
start_target() {
  local target=${1:-} file
  [[ -n $target ]] || fail "start what? A program, or NAMESPACE/POD[/CONTAINER]"
  if ! is_program "$target"; then
    while read -r file; do
      [[ -n $file ]] || fail "$target is not here"
      rm -f "$(hold_file "$file")"
    done <<<"$(pid_files "$target")"
    return
  fi
  locked
  ! living "$pids/$target" >/dev/null || fail "$target runs already"
  [[ -e $netns ]] || fail "the testbed $TESTBED_NAME is not up"
  launch "$target"
  if [[ $target == kube-apiserver ]]; then await_served; fi
  say "$target started"
}
