# What the scripts that talk to Google Cloud share: the settings, and the functions of deploy/lib/.
# A function's prefix names its file. Sourcing this runs nothing.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." >/dev/null && pwd)
# shellcheck source=deploy/config.sh
source "$root/deploy/config.sh"
# shellcheck source=deploy/lib/script.sh
source "$root/deploy/lib/script.sh"
# shellcheck source=deploy/lib/settings.sh
source "$root/deploy/lib/settings.sh"
# shellcheck source=deploy/lib/answer.sh
source "$root/deploy/lib/answer.sh"
# shellcheck source=deploy/lib/tool.sh
source "$root/deploy/lib/tool.sh"
# shellcheck source=deploy/lib/iam.sh
source "$root/deploy/lib/iam.sh"
# shellcheck source=deploy/lib/project.sh
source "$root/deploy/lib/project.sh"
# shellcheck source=deploy/lib/bucket.sh
source "$root/deploy/lib/bucket.sh"
# shellcheck source=deploy/lib/object.sh
source "$root/deploy/lib/object.sh"
# shellcheck source=deploy/lib/bigquery.sh
source "$root/deploy/lib/bigquery.sh"
# shellcheck source=deploy/lib/function.sh
source "$root/deploy/lib/function.sh"
# shellcheck source=deploy/lib/deployment.sh
source "$root/deploy/lib/deployment.sh"
# shellcheck source=deploy/lib/alert.sh
source "$root/deploy/lib/alert.sh"
