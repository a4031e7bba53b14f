#!/usr/bin/env bash
# Runs the tests of the code that has `unsafe` in it under valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."
check() { # package, test names…
    local package=$1 binary
    shift
    binary=$(cargo test --workspace --lib --no-run --message-format=json 2>/dev/null |
        python3 -c 'import json, sys
for line in sys.stdin:
    m = json.loads(line)
    if m.get("executable") and m["target"]["name"] == sys.argv[1]: print(m["executable"])' "${package//-/_}")
    valgrind -q --error-exitcode=1 --leak-check=no "$binary" "$@"
}
check thalweg-core threads:: buffer:: gemm::tests::packed gemm::tests::products gemm::tests::operands gemm::tests::a_ gemm::bf16::
check thalweg-data window::
