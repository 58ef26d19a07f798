#!/usr/bin/env bash
#
# Deploy the function for staging: from then on uploads to gs://<BUCKET_PREFIX>-staging are registered. Again
# after every change of the code or of a setting.
#
# Usage: deploy/staging.sh [--dry-run]
#
#   --dry-run   print the command, ready to paste, and run nothing; needs no network
#   --help      print this
#
# Settings: deploy/config.sh. deploy/setup.sh comes first.

set -euo pipefail

# shellcheck source=deploy/cloud.sh
source "$(dirname "${BASH_SOURCE[0]}")/cloud.sh"

cloud::deploy staging "$@"
