#!/usr/bin/env bash
# Trains the same models on every instruction set, with 1 thread and with 2, and once more with a program that was compiled
# without vector instructions; the model files must be the same bytes. Networks, whose products multiply and add with one rounding where
# the machine can, keep their bytes on any number of threads of one instruction set.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# With all targets, as the checks have built it: for the programs alone, cargo would build everything anew, without the features that tests ask of others.
cargo build -q --workspace --all-targets
# At a lower level too: it is built sooner, and what the compiler makes of the code must not matter either.
CARGO_PROFILE_DEV_OPT_LEVEL=1 RUSTFLAGS="-C no-vectorize-loops -C no-vectorize-slp" cargo build -q -p thalweg-cli --target-dir target/scalar
checked=0
compare() { # name, fit arguments…
    local name=$1 first=""
    shift
    for variant in sse2:1 sse2:2 avx2:1 avx2:2 avx512:2 scalar:1; do
        local isa=${variant%:*} threads=${variant#*:} program=target/debug/thalweg
        [ "$isa" = scalar ] && program=target/scalar/debug/thalweg
        THALWEG_ISA=$isa "$program" fit "$@" --threads "$threads" --out "$folder/$name-$isa-$threads" --no-report --quiet >/dev/null
        local model="$folder/$name-$isa-$threads/model.safetensors"
        if [ -z "$first" ]; then
            first=$model
        elif ! cmp "$first" "$model"; then
            echo "$name: $isa with $threads threads differs" >&2
            exit 1
        fi
        checked=$((checked + 1))
    done
}
compare_threads() { # name, fit arguments…
    local name=$1
    shift
    for isa in sse2 avx2 avx512; do
        for threads in 1 2 3; do
            THALWEG_ISA=$isa target/debug/thalweg fit "$@" --threads "$threads" --out "$folder/$name-$isa-$threads" --no-report --quiet >/dev/null
            if ! cmp "$folder/$name-$isa-1/model.safetensors" "$folder/$name-$isa-$threads/model.safetensors"; then
                echo "$name: $isa with $threads threads differs from 1" >&2
                exit 1
            fi
            checked=$((checked + 1))
        done
    done
}
compare cancer examples/data/breast_cancer.csv --target diagnosis
compare digits examples/data/digits.csv --target digit --batch 64 --epochs 5
compare diabetes examples/data/diabetes.csv --target progression --optimizer "clip(1) | momentum(lr=0.01) | ema(0.9)" --l1 0.01
compare penguins examples/data/penguins.csv --target body_mass_g --loss "huber(1.35)" --optimizer gd
compare poisson examples/data/diabetes.csv --target progression --loss poisson --optimizer rmsprop --epochs 100
# Rules that look at a tensor, at all parameters, at other points or at single rows.
compare lamb examples/data/breast_cancer.csv --target diagnosis --optimizer "agc | lamb(lr=0.05)" --epochs 100
compare prodigy examples/data/diabetes.csv --target progression --optimizer prodigy --epochs 100
compare muon_bf16 examples/data/digits.csv --target digit --optimizer "{ matrices: muon(bf16=true, lr=0.02); rest: adamw }" --epochs 3
compare lbfgs examples/data/digits.csv --target digit --optimizer lbfgs
compare svrg examples/data/breast_cancer.csv --target diagnosis --optimizer svrg --epochs 10
compare_threads mlp examples/data/digits.csv --target digit --model "mlp(128, 64, dropout=0.1)" --epochs 3 --batch 128
compare_threads batchnorm examples/data/penguins.csv --target species --model "dense(48) batchnorm silu residual(dense(48), layernorm, tanh)" --epochs 5
echo "$checked models compared: $checked passed, 0 failed"
