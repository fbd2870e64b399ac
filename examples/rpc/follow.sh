#!/bin/sh
# Declares an app and follows how its version is made to run, with one curl.
#   HOLDFAST_AGENT=http://127.0.0.1:7400 HOLDFAST_TOKEN=… examples/rpc/follow.sh NAME FOLDER|IMAGE
set -eu
rpc="${HOLDFAST_AGENT:-http://127.0.0.1:7400}/rpc"
name=$1
case $2 in
  [./]*) from="\"source\":\"$(cd "$2" && pwd)\"" ;;
  *) from="\"image\":\"$2\"" ;;
esac

curl --silent --show-error --fail-with-body --fail-early "$rpc" \
  --header "Authorization: Bearer $HOLDFAST_TOKEN" --header 'Content-Type: application/json' \
  --data '{"jsonrpc":"2.0","id":"apply","method":"apps.apply","params":{"apps":[{"name":"'"$name"'","path":"/'"$name"'",'"$from"'}]}}' \
  --next --silent --show-error --fail-with-body --no-buffer "$rpc" \
  --header "Authorization: Bearer $HOLDFAST_TOKEN" --header 'Content-Type: application/json' \
  --header 'Accept: application/x-ndjson' \
  --data '{"jsonrpc":"2.0","id":"ensure","method":"versions.ensure","params":{"app":"'"$name"'"}}'
