#!/bin/sh
# Runs fuzz targets, several at a time: fuzz/run.sh [SECONDS [JOBS [TARGET...]]]
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-180}
jobs=${2:-2}
if [ $# -gt 2 ]; then
    shift 2
else
    # shellcheck disable=SC2046 # names of targets have no spaces
    set -- $(cargo +nightly fuzz list)
    [ $# -gt 0 ]
fi
logs=fuzz/artifacts/logs
mkdir -p "$logs"
# The sanitizer's own memory counts too; by default it keeps 256 MB of freed memory.
export ASAN_OPTIONS="quarantine_size_mb=64${ASAN_OPTIONS:+:$ASAN_OPTIONS}"

cargo run --quiet --manifest-path fuzz/Cargo.toml --example seed
cargo +nightly fuzz build
printf '%s\n' "$@" | xargs -P "$jobs" -n 1 sh -c '
    log=$2/$3.log
    if cargo +nightly fuzz run "$3" -- -max_total_time="$1" -max_len=16384 -timeout=20 \
        -rss_limit_mb=1536 -malloc_limit_mb=128 -print_final_stats=1 >"$log" 2>&1
    then
        echo "$3 ok: $(grep -E "cov: " "$log" | tail -1)"
    else
        echo "$3 FAILED, see $log:"
        grep -E "panicked|ERROR|SUMMARY|Test unit written" "$log"
        exit 1
    fi
' sh "$seconds" "$logs"
