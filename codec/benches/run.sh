#!/bin/sh
# Measures all four builds: either crc backend with either AEAD backend. Arguments go to the benchmark: a filter.
set -eu
cd "$(dirname "$0")/.."
for features in "" "crc-fast" "aws-lc-rs" "crc-fast,aws-lc-rs"; do
    cargo bench --quiet --bench codec --features "$features" -- "$@"
done
