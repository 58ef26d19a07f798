# Every setting, once. Each can be overridden from the environment; nobody needs to edit a script.
# shellcheck shell=bash

# The project that holds the buckets, the function and the table.
export GCP_PROJECT_ID="${GCP_PROJECT_ID:-soufianesys}"
# Where the function runs, and where setup.sh makes the buckets and the dataset.
export REGION="${REGION:-us-central1}"
# The buckets are <prefix>-dev, <prefix>-staging and <prefix>-prod.
export BUCKET_PREFIX="${BUCKET_PREFIX:-ml-models}"
# <dataset>.<table>
export REGISTRY_TABLE="${REGISTRY_TABLE:-ml_registry.models}"
# The functions are <prefix>-dev, <prefix>-staging and <prefix>-prod, <prefix>-inventory, and
# <prefix>-reconcile-dev, <prefix>-reconcile-staging and <prefix>-reconcile-prod.
export FUNCTION_PREFIX="${FUNCTION_PREFIX:-model-registry}"
# The identities are <prefix>-dev, <prefix>-staging and <prefix>-prod; an account's id has 30 letters at most.
export SERVICE_ACCOUNT_PREFIX="${SERVICE_ACCOUNT_PREFIX:-model-registry-sa}"
# The identity of the inventory; also at most 30 letters.
export INVENTORY_SERVICE_ACCOUNT="${INVENTORY_SERVICE_ACCOUNT:-model-registry-inventory}"
# The identity of the reconciliation, in all environments; also at most 30 letters.
export RECONCILE_SERVICE_ACCOUNT="${RECONCILE_SERVICE_ACCOUNT:-model-registry-reconcile}"
# The identity that builds the functions.
export BUILD_SERVICE_ACCOUNT="${BUILD_SERVICE_ACCOUNT:-model-registry-build}"
# Who deploys, such as user:ada@example.com or serviceAccount:…; if empty, the account that runs setup.sh.
export DEPLOYER="${DEPLOYER:-}"
