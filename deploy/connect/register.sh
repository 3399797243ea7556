#!/bin/sh
# Registers the shop's connector with Kafka Connect and waits until its first
# topic is there. Registering it again changes nothing.
#   register.sh http://connect:8083
set -eu
connector=$1/connectors/shop

# Connect refuses while it settles who does what.
curl --fail --silent --show-error --output /dev/null --retry 30 --retry-delay 1 --retry-all-errors \
    --request PUT --header 'Content-Type: application/json' \
    --data "@$(dirname "$0")/shop.json" "$connector/config"

for _ in $(seq 300); do
    status=$(curl --fail --silent "$connector/status") || status=
    case $status in
        *'"FAILED"'*) break ;;
    esac
    case $(curl --silent "$connector/topics") in
        *'"cdc.public.'*) exit 0 ;;
    esac
    sleep 1
done
echo "the connector has written no topic of a table: ${status:-Kafka Connect does not answer}" >&2
exit 1
