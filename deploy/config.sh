# Every setting, once. Each can be overridden from the environment; nobody needs to edit a script.
# shellcheck shell=bash

# The project that holds the buckets, the function and the table.
export GCP_PROJECT_ID="${GCP_PROJECT_ID:-soufianesys}"
# The buckets are <prefix>-dev, <prefix>-staging and <prefix>-prod.
export BUCKET_PREFIX="${BUCKET_PREFIX:-ml-models}"
# <dataset>.<table>
export REGISTRY_TABLE="${REGISTRY_TABLE:-ml_registry.models}"
