#!/usr/bin/env bash
# Fetches the test vectors of others into a folder, at the commits that tests/VECTORS.md names:
#   bash tests/vectors.sh FOLDER && export EVERFRESH_VECTORS=FOLDER
set -euo pipefail
folder=${1:?which folder?}
mkdir -p "$folder"

# name, repository, commit
fetch() {
    git init --quiet "$folder/$1"
    git -C "$folder/$1" fetch --quiet --depth 1 "https://github.com/$2" "$3"
    git -C "$folder/$1" checkout --quiet --detach FETCH_HEAD
}

fetch wycheproof.git C2SP/wycheproof dac1dd4729fd1f8dd9e1e9f3dce51d783da6c166
fetch ietf-jose-cookbook ietf-jose/cookbook 13692b68bfc18b99557a5b1ed311fd5077bfff04
fetch JSONTestSuite nst/JSONTestSuite 1ef36fa01286573e846ac449e8683f8833c5b26a
ln -sfn wycheproof.git/testvectors_v1 "$folder/wycheproof"
