# The form of the settings of deploy/config.sh. A service would refuse a wrong one late, and half of the
# work would be done.
# shellcheck shell=bash

# settings::check: fail unless all settings have the form that Google asks for.
settings::check() {
  settings::expect GCP_PROJECT_ID '([a-z0-9.-]+:)?[a-z][a-z0-9-]*' "the project's id"
  settings::expect REGION '[a-z]+-[a-z]+[0-9]+' "a region such as us-central1"
  settings::expect REGISTRY_TABLE '[A-Za-z0-9_]+\.[A-Za-z0-9_-]+' "<dataset>.<table>"
  # With -staging: a bucket has up to 63 characters, an account 6 to 30.
  settings::expect BUCKET_PREFIX '[a-z0-9][a-z0-9._-]{0,54}' \
    "at most 55 small letters, digits, dashes, underscores and dots"
  [[ $BUCKET_PREFIX != goog* && $BUCKET_PREFIX != *google* ]] \
    || script::fail "BUCKET_PREFIX: expected a name without goog at the start and without google, found $BUCKET_PREFIX: Cloud Storage refuses them"
  settings::expect SERVICE_ACCOUNT_PREFIX '[a-z][a-z0-9-]{1,21}' \
    "2 to 22 small letters, digits and dashes, the first a letter"
  settings::expect_account INVENTORY_SERVICE_ACCOUNT
  settings::expect_account RECONCILE_SERVICE_ACCOUNT
  settings::expect_account BUILD_SERVICE_ACCOUNT
  # With -reconcile-staging: a service of Cloud Run has up to 63 characters.
  settings::expect FUNCTION_PREFIX '[a-z][a-z0-9-]{0,44}' \
    "at most 45 small letters, digits and dashes, the first a letter"
  [[ -z $DEPLOYER ]] || settings::expect DEPLOYER '(user|group|serviceAccount|domain|principal|principalSet):[^[:space:]]+' \
    "user:, group: or serviceAccount: and an address"
  # A comma would end the variable in the deploy command.
  local part='[^[:space:],{}]' # of an address
  [[ -z $LINKS ]] || settings::expect LINKS "[[:space:]]*([^[:space:],=]+=https?://[^[:space:],{}/]+/$part*\\{value\\}$part*([[:space:]]+|\$))+" \
    "<key>=https://<host>/<path>/{value}, without commas"
}

# settings::expect NAME PATTERN WORDS
settings::expect() {
  local pattern="^($2)$"
  [[ ${!1} =~ $pattern ]] || script::fail "$1: expected $3, found ${!1:-nothing}"
}

settings::expect_account() {
  settings::expect "$1" '[a-z][a-z0-9-]{4,28}[a-z0-9]' \
    "6 to 30 small letters, digits and dashes, the first a letter"
}
