#!/usr/bin/env bash
#
# Deploy the function for dev, with its triggers: from then on, uploads to gs://<BUCKET_PREFIX>-dev are
# registered, and removals from it. Run it again after a change of the code or of a setting.
#
# Usage: deploy/dev.sh [--dry-run]
#
#   --dry-run   print the commands, ready to paste, and run nothing; needs no network
#   --help      print this
#
# Settings: deploy/config.sh. Run deploy/setup.sh first.

set -euo pipefail

# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

deployment::main dev "$@"
