#!/usr/bin/env bash
# Send one signed request to a controller: `signed_request.sh METHOD URL [BODY]`, with curl and openssl.
# The password of root@sys comes from DAGENGINE_PASSWORD.
set -euo pipefail
method=$1 url=$2 body=${3-}
origin=$(sed -E 's|^([^:]+://[^/]+).*|\1|' <<<"$url")
target=${url#"$origin"}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
curl --silent --show-error "$origin/api/v1/secret" |
    sed -E 's/.*"public_key":"([^"]+)".*/\1/' | openssl base64 -d -A |
    openssl rsa -RSAPublicKey_in -inform DER -pubout -out "$work/key.pem" 2>"$work/log"
bits=$(openssl pkey -pubin -in "$work/key.pem" -noout -text | sed -nE 's/.*\(([0-9]+) bit.*/\1/p')

key=$(openssl rand -hex 16) iv=$(openssl rand -hex 16) # new for each request
keys=$(printf '%b' "$(printf '%s' "$key$iv" | sed 's/../\\x&/g')" | openssl base64 -A)
password=$(printf '%s' "$DAGENGINE_PASSWORD" | sed 's/\\/\\\\/g; s/"/\\"/g') # as a JSON string
printf '{"auth":"%s","ts":"%d","uri":"%s","keys":"%s"}' \
    "$password" "$(($(date +%s) + 60))" "$target" "$keys" >"$work/header"

# RSA encrypts at most the size of the key less 11 bytes.
split --bytes="$((bits / 8 - 11))" "$work/header" "$work/block."
header=$(for block in "$work"/block.*; do
    openssl pkeyutl -encrypt -pubin -inkey "$work/key.pem" -pkeyopt rsa_padding_mode:pkcs1 -in "$block"
done | openssl base64 -A)

options=(--silent --show-error --request "$method" --header "X-OCS-Header: $header" --write-out '\n')
if [ -n "$body" ]; then
    options+=(--data-raw "$(printf '%s' "$body" | openssl enc -aes-128-cbc -K "$key" -iv "$iv" -a -A)")
fi
curl --fail-with-body "${options[@]}" "$url" || exit 1
