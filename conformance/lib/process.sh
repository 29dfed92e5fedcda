# shellcheck shell=bash disable=SC2154 # variables of env.sh
# Processes of the testbed. Each is remembered as "PID STARTTIME" by itself, before it becomes its program, so that
# whatever happens to the script that started it, it can be found; and it is signalled only while both still fit, so that
# nothing else that got the same PID ever is.

# started_at PID: when the process started (ticks since boot); nothing when it has ended.
started_at() {
  local stat rest
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
  rest=${stat##*) } # the name, in parentheses, may hold anything
  # shellcheck disable=SC2086
  set -- $rest
  [[ $1 == Z || $1 == X ]] || echo "${20}"
}

# living FILE: the process that a file remembers, if it still runs.
living() {
  local pid start
  { read -r pid start <"$1"; } 2>/dev/null || return 1
  [[ -n $start && $(started_at "$pid") == "$start" ]] || return 1
  echo "$pid"
}

# signal_file FILE SIGNAL: signal the process that a file remembers.
signal_file() {
  local pid
  pid=$(living "$1") || return 1
  kill -s "$2" "$pid" 2>/dev/null
}

# daemon NAME COMMAND…: start in the node's namespace, output appended to the program's log.
daemon() {
  local name=$1
  shift
  rm -f "$pids/$name"
  # The lock (9) must not be held by what outlives us.
  # shellcheck disable=SC2016
  nsenter --net="$netns" setsid bash -c '
    read -r stat </proc/self/stat; set -- "${stat##*) }" "$@"
    read -r -a field <<<"$1"; shift
    echo "$$ ${field[19]}" >"$0.new"; mv "$0.new" "$0"
    exec "$@"' "$pids/$name" "$@" >>"$logs/$name.log" 2>&1 </dev/null 9>&- &
  disown
  local i
  for ((i = 0; i < 500; i++)); do
    [[ -e $pids/$name ]] && return
    sleep 0.02
  done
  fail "$name did not start; see $logs/$name.log"
}

# stop NAME SIGNAL SECONDS: signal it, and SIGKILL when it is still there after SECONDS.
stop() {
  local pid i
  if pid=$(living "$pids/$1"); then
    kill -s "$2" "$pid" 2>/dev/null || true
    for ((i = 0; i < $3 * 20; i++)); do
      living "$pids/$1" >/dev/null || break
      sleep 0.05
    done
    signal_file "$pids/$1" KILL || true
    for ((i = 0; i < 100; i++)); do
      living "$pids/$1" >/dev/null || break
      sleep 0.05
    done
  fi
  rm -f "$pids/$1"
}

# wait_for SECONDS WHAT COMMAND…: until the command succeeds.
wait_for() {
  local seconds=$1 what=$2 end
  shift 2
  end=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || fail "$what: not within $seconds s; see $logs"
    sleep 0.1
  done
}
