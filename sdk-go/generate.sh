#!/bin/sh
# Makes the stubs in gen/ from ../proto with pinned tools, which it installs into .bin when they are missing.
#
#   ./generate.sh           writes gen/
#   ./generate.sh --check   writes to a temporary folder instead, and fails when gen/ differs
set -eu
cd "$(dirname "$0")"

BUF=v1.75.0
PROTOC_GEN_GO=v1.36.12
PROTOC_GEN_GO_GRPC=v1.6.2

bin="$PWD/.bin"
mkdir -p "$bin"

# install PROGRAM PACKAGE VERSION: the version is read from the binary, so that a changed pin acts.
install() {
    if go version -m "$bin/$1" 2>/dev/null | awk -v v="$3" '$1 == "mod" && $3 == v { ok = 1 } END { exit !ok }'; then
        return
    fi
    echo "installing $1 $3" >&2
    GOBIN="$bin" GOFLAGS=-mod=mod go install "$2@$3"
}
install buf github.com/bufbuild/buf/cmd/buf "$BUF"
install protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go "$PROTOC_GEN_GO"
install protoc-gen-go-grpc google.golang.org/grpc/cmd/protoc-gen-go-grpc "$PROTOC_GEN_GO_GRPC"
PATH="$bin:$PATH"

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$bin/buf" generate --output "$out"

case "${1:-}" in
--check)
    if ! diff -ru gen "$out/gen"; then
        echo "gen/ is not what ../proto generates: run sdk-go/generate.sh" >&2
        exit 1
    fi
    ;;
'')
    rm -rf gen
    mv "$out/gen" gen
    ;;
*)
    echo "usage: generate.sh [--check]" >&2
    exit 2
    ;;
esac
