# Every setting, once. Set a variable in the environment to change one; no script needs editing.
# shellcheck shell=bash

# The project of the buckets, the functions and the table.
export GCP_PROJECT_ID="${GCP_PROJECT_ID:-soufianesys}"
# Where the functions run, and where setup.sh makes the buckets and the dataset.
export REGION="${REGION:-us-central1}"
# The buckets are <prefix>-dev, <prefix>-staging and <prefix>-prod. Names of buckets are global, so the
# default may be taken: then choose a prefix of your own, such as acme-ml-models.
export BUCKET_PREFIX="${BUCKET_PREFIX:-ml-models}"
# The table, as <dataset>.<table>. The views are in the same dataset.
export REGISTRY_TABLE="${REGISTRY_TABLE:-ml_registry.models}"
# The functions are <prefix>-dev, <prefix>-staging and <prefix>-prod, <prefix>-inventory, and
# <prefix>-reconcile-dev, <prefix>-reconcile-staging and <prefix>-reconcile-prod.
export FUNCTION_PREFIX="${FUNCTION_PREFIX:-model-registry}"
# The functions run as the service accounts <prefix>-dev, <prefix>-staging and <prefix>-prod. An account's
# id has 30 characters at most; that holds for all accounts here.
export SERVICE_ACCOUNT_PREFIX="${SERVICE_ACCOUNT_PREFIX:-model-registry-sa}"
# The page runs as this service account.
export INVENTORY_SERVICE_ACCOUNT="${INVENTORY_SERVICE_ACCOUNT:-model-registry-inventory}"
# The reconciliation runs as this service account, in all environments.
export RECONCILE_SERVICE_ACCOUNT="${RECONCILE_SERVICE_ACCOUNT:-model-registry-reconcile}"
# Cloud Build builds the functions as this service account.
export BUILD_SERVICE_ACCOUNT="${BUILD_SERVICE_ACCOUNT:-model-registry-build}"
# Who may deploy, such as user:ada@example.com or serviceAccount:<address>. If empty: the account that
# runs the script.
export DEPLOYER="${DEPLOYER:-}"
# Where the page leads from a value of metadata: <key>=<address with {value}>, several with spaces between
# them, such as git_commit=https://git.example.com/acme/models/commit/{value}. Empty: nowhere.
export LINKS="${LINKS:-}"
