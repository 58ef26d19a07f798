#!/usr/bin/env bash
#
# Deploy the function for staging: from then on, uploads to gs://<BUCKET_PREFIX>-staging are registered. Run it
# again after a change of the code or of a setting.
#
# Usage: deploy/staging.sh [--dry-run]
#
#   --dry-run   print the command, ready to paste, and run nothing; needs no network
#   --help      print this
#
# Settings: deploy/config.sh. Run deploy/setup.sh first.

set -euo pipefail

# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

deployment::main staging "$@"
