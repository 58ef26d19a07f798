# The bucket of an environment, whose name may be taken: names of buckets are global.
# shellcheck shell=bash

# bucket::find: set `bucket_location`, in lower case, `versioning`, and for how many seconds `bucket` keeps what
# was deleted (`soft_delete`) and refuses to delete (`retention`); return 1 if there is no such bucket. Fails if
# it belongs to another project, ours or somebody else's.
bucket::find() {
  local number taken
  taken="BUCKET_PREFIX: expected a name of your own, found the bucket $bucket in another project"
  if ! tool::look gcloud storage buckets describe "gs://$bucket" \
    --format='csv[no-heading,separator="|"](projectNumber,location,versioning.enabled,softDeletePolicy.retentionDurationSeconds,retentionPolicy.retentionPeriod)' --raw; then
    case $(answer::status "$found") in
      NOT_FOUND | DISABLED) return 1 ;;
      DENIED) script::fail "$taken: names of buckets are global, so set BUCKET_PREFIX=<another prefix>; if it is yours, ask its owner for storage.buckets.get" ;;
      '') [[ -z $dry_run ]] || return 1 ;;
    esac
    script::fail "gcloud storage buckets describe: $found$(answer::remedy "$found")"
  fi
  # shellcheck disable=SC2034 # for forget.sh
  IFS='|' read -r number bucket_location versioning soft_delete retention <<<"$found"
  bucket_location=$(tr '[:upper:]' '[:lower:]' <<<"$bucket_location")
  [[ -z $number || $number == "$project_number" ]] \
    || script::fail "$taken, whose number is $number: set BUCKET_PREFIX=<another prefix>, or GCP_PROJECT_ID to that project"
}

# bucket::make: make `bucket`, which keeps what is overwritten or deleted. One that is there stays as it is.
bucket::make() {
  if ! bucket::find; then
    tool::say "bucket $bucket"
    tool::make bucket::find gcloud storage buckets create "gs://$bucket" --project="$GCP_PROJECT_ID" \
      --location="$REGION" --uniform-bucket-level-access --public-access-prevention
    tool::run gcloud storage buckets update "gs://$bucket" --versioning
  elif [[ $versioning != True ]]; then
    tool::say "bucket $bucket keeps nothing that is overwritten or deleted. To keep it, which costs storage: gcloud storage buckets update gs://$bucket --versioning"
  fi
}

# bucket::check REMEDY: fail unless `bucket` is there.
bucket::check() {
  bucket::find || script::fail "expected the bucket gs://$bucket, found none: $1"
}
